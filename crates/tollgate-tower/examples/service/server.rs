//! The service from its first request to its last, and what it does beside them.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use tokio::{net::TcpListener, task, time};
use tollgate::keys::{Refusal, Scope};
use tollgate_tower::{ApiKeyLayer, identity::ClientAddress};

use crate::{admin, app::App, config::Config, items, limits::Limits, metrics, shutdown, tiers};

/// How long requests may go on after the service was asked to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until it is asked to end; then finishes what has begun, and writes what was counted.
pub(crate) async fn run(app: App, config: &Config) -> Result<(), Box<dyn Error>> {
    let app = Arc::new(app);
    let service = router(&app, config)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("TOLLGATE_LISTEN: {}: {error}", config.listen))?;
    // Not before all else is in order: who reads it can use it.
    if let Some(issued) = app.first_key()? {
        println!("the first key, which is shown this once: {}", issued.key.expose_secret());
    }
    println!("listening on http://{}", listener.local_addr()?);

    let flusher = task::spawn(flush_every(config.flush, Arc::clone(&app)));
    let (asked, ask) = tokio::sync::oneshot::channel();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move {
        shutdown::requested().await;
        let _ = asked.send(());
    });
    let overdue = async {
        if ask.await.is_ok() {
            time::sleep(PATIENCE).await;
        }
    };
    tokio::select! {
        served = serving.into_future() => served?,
        () = overdue => eprintln!("some requests did not end within {PATIENCE:?}"),
    }
    flusher.abort();
    task::spawn_blocking(move || app.flush()).await??;
    println!("usage is written, good-bye");
    Ok(())
}

/// Writes usage again and again; what could not be written is written the next time.
async fn flush_every(period: Duration, app: Arc<App>) {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let app = Arc::clone(&app);
        match task::spawn_blocking(move || app.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("usage could not be written: {error}"),
            Err(error) => eprintln!("usage was not written: {error}"),
        }
    }
}

/// The status of a refusal: a missing key is a bad request here, and a wrong one unauthorized.
fn status(refusal: &Refusal<rusqlite::Error>) -> StatusCode {
    match refusal {
        Refusal::Missing => StatusCode::BAD_REQUEST,
        _ => StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN),
    }
}

/// From the outside: the limit of an address, the key with its limits, the limit of all, the limit of a route.
fn router(app: &Arc<App>, config: &Config) -> Result<Router, Box<dyn Error>> {
    let key =
        ApiKeyLayer::new(Arc::clone(&app.gate), ClientAddress::peer()).status(status).tell("key", tiers::WINDOW)?;
    let requires = |scope: Scope<'static>| key.clone().requires([scope]);
    let Limits { address, everybody, everybody_critical, reports } = Limits::new(config)?;
    // Of the layers in a tuple, the first is in front.
    let items = get(items::list).layer((requires(items::READ), everybody.clone()));
    let report = post(items::report).layer((requires(items::REPORT), everybody.clone(), reports));
    let alert = post(items::alert).layer((requires(items::ALERT), everybody_critical));
    let admin = admin::routes().route_layer((requires(admin::SCOPE), everybody));
    Ok(Router::new()
        .route("/items/", items)
        .route("/reports", report)
        .route("/alerts", alert)
        .merge(admin)
        .route("/metrics", get(metrics::render))
        .layer(address)
        .with_state(Arc::clone(app)))
}
