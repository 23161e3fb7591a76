//! Counters as Prometheus reads them.

use std::{error::Error, sync::Arc};

use axum::{extract::State, http::header::CONTENT_TYPE, response::IntoResponse};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::app::App;

/// Has the counters of this process kept, from now on.
pub(crate) fn install() -> Result<PrometheusHandle, Box<dyn Error>> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}

/// `GET /metrics`
pub(crate) async fn render(State(app): State<Arc<App>>) -> impl IntoResponse {
    let keys = app.gate.keyring().store().len();
    let text = format!("{}# TYPE service_keys gauge\nservice_keys {keys}\n", app.metrics.render());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
