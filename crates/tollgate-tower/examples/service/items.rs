//! What the service is for: things that are cheap, costly, or must come through.

use axum::Json;
use axum::http::StatusCode;
use serde::Serialize;
use tollgate::keys::Scope;
use tollgate_tower::Granted;

/// What `GET /items/` requires.
pub(crate) const READ: Scope<'static> = Scope::literal("items:read");
/// What `POST /reports` requires.
pub(crate) const REPORT: Scope<'static> = Scope::literal("reports:write");
/// What `POST /alerts` requires.
pub(crate) const ALERT: Scope<'static> = Scope::literal("alerts:write");

#[derive(Serialize)]
pub(crate) struct Item {
    id: u32,
    name: &'static str,
}

/// `GET /items/`
pub(crate) async fn list() -> Json<[Item; 2]> {
    Json([Item { id: 1, name: "turnstile" }, Item { id: 2, name: "token" }])
}

#[derive(Serialize)]
pub(crate) struct Report {
    owner: String,
    pages: u32,
}

/// `POST /reports`, which is costly.
pub(crate) async fn report(granted: Granted) -> (StatusCode, Json<Report>) {
    (StatusCode::CREATED, Json(Report { owner: granted.record.owner.to_string(), pages: 120 }))
}

/// `POST /alerts`, which must come through when everything else is refused.
pub(crate) async fn alert() -> StatusCode {
    StatusCode::ACCEPTED
}
