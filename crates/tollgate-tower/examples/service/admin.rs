//! Routes for whoever has the scope `admin:keys`: issue, list, rotate, revoke, move to another tier, and see the usage.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use getrandom::SysRng;
use serde::{Deserialize, Serialize};
use tollgate::keys::{ApiKey, KeyId, KeyStore, NewKey, Record, Scope, Scopes, Status, UnixTime};
use tollgate_tower::Granted;

use crate::{
    app::{App, PREFIX},
    daily,
    error::Error,
    row::status_name,
    tiers,
    usage::DayUsage,
};

/// What all of these routes require.
pub(crate) const SCOPE: Scope<'static> = Scope::literal("admin:keys");

/// In bytes.
const LONGEST_OWNER: usize = 200;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/keys", post(issue).get(list))
        .route("/admin/keys/{id}/rotate", post(rotate))
        .route("/admin/keys/{id}/revoke", post(revoke))
        .route("/admin/keys/{id}/tier", put(change_tier))
        .route("/admin/keys/{id}/usage", get(usage))
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed {
    id: String,
    owner: String,
    family: String,
    tier: String,
    scopes: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retires_at: Option<u64>,
}

impl From<&Record> for Listed {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.to_string(),
            owner: record.owner.to_string(),
            family: record.family.to_string(),
            tier: record.tier.to_string(),
            scopes: record.scopes.to_string(),
            status: status_name(record.status),
            expires_at: record.expires_at.map(UnixTime::as_secs),
            retires_at: record.retires_at.map(UnixTime::as_secs),
        }
    }
}

/// A key as it is shown once.
#[derive(Serialize)]
struct Shown {
    key: String,
    #[serde(flatten)]
    listed: Listed,
}

impl Shown {
    fn new(key: &ApiKey, record: &Record) -> Self {
        Self { key: key.expose_secret().to_owned(), listed: record.into() }
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

/// What is asked for. A name that is not known is refused: of a limit that is misspelt, nobody may think that it holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    owner: String,
    #[serde(default = "basic")]
    tier: String,
    #[serde(default)]
    scopes: String,
    expires_in_seconds: Option<NonZeroU64>,
}

fn basic() -> String {
    tiers::TIERS[0].name.to_owned()
}

async fn issue(
    State(app): State<Arc<App>>,
    granted: Granted,
    asked: Result<Json<Issue>, JsonRejection>,
) -> Result<Shown, Error> {
    let Json(asked) = asked?;
    if !(1..=LONGEST_OWNER).contains(&asked.owner.len()) {
        return Err(Error::Owner);
    }
    let tier = tiers::named(&asked.tier).ok_or(Error::Tier)?;
    let scopes: Scopes = asked.scopes.parse()?;
    not_stronger(&granted, &scopes)?;
    let now = UnixTime::now();
    let mut new = NewKey::new(PREFIX, asked.owner).tier(tier.name).scopes(scopes);
    if let Some(seconds) = asked.expires_in_seconds {
        new = new.expires_at(now + Duration::from_secs(seconds.get()));
    }
    blocking(move || {
        let issued = app.gate.keyring().issue(new, &mut SysRng)?;
        daily::open(app.gate.credits(), issued.record.family, tier.name, 0, now)?;
        Ok(Shown::new(&issued.key, &issued.record))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: String,
}

/// A hundred keys in the order of their ids, of those after `after`.
async fn list(
    State(app): State<Arc<App>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Vec<Listed>>, Error> {
    let Query(page) = page?;
    let records = blocking(move || Ok(app.gate.keyring().store().list(&page.after, 100)?)).await?;
    Ok(Json(records.iter().map(Listed::from).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    grace_seconds: u64,
}

async fn rotate(
    State(app): State<Arc<App>>,
    granted: Granted,
    Path(id): Path<String>,
    asked: Result<Json<Rotate>, JsonRejection>,
) -> Result<Shown, Error> {
    let Json(asked) = asked?;
    let id = known(&id)?;
    blocking(move || {
        // Who is shown the new key can do what it can.
        let record = app.gate.keyring().store().get(&id)?.ok_or(Error::NoSuchKey)?;
        not_stronger(&granted, &record.scopes)?;
        let grace = Duration::from_secs(asked.grace_seconds);
        let issued = app.gate.keyring().rotate(&id, grace, UnixTime::now(), &mut SysRng)?;
        Ok(Shown::new(&issued.key, &issued.record))
    })
    .await
}

async fn revoke(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let id = known(&id)?;
    blocking(move || Ok(app.gate.keyring().revoke(&id)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeTier {
    tier: String,
}

async fn change_tier(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asked: Result<Json<ChangeTier>, JsonRejection>,
) -> Result<Json<Listed>, Error> {
    let Json(asked) = asked?;
    let id = known(&id)?;
    let tier = tiers::named(&asked.tier).ok_or(Error::Tier)?;
    let listed = blocking(move || {
        let keyring = app.gate.keyring();
        // The day's quota is the family's, which goes by the tier of its newest key. Asked here, as it may be rotated just now.
        let mut is_replaced = false;
        keyring.change(&id, |record| {
            is_replaced = record.status == Status::Revoked || record.retires_at.is_some();
            if !is_replaced {
                record.tier = tier.name.into();
            }
            Ok(())
        })?;
        if is_replaced {
            return Err(Error::Replaced);
        }
        let record = keyring.store().get(&id)?.ok_or(Error::NoSuchKey)?;
        daily::change_tier(app.gate.credits(), record.family, tier.name, UnixTime::now())?;
        Ok(Listed::from(&*record))
    });
    Ok(Json(listed.await?))
}

/// What a key was used on each of its last 30 days, as far as it was written.
async fn usage(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Vec<DayUsage>>, Error> {
    let id = known(&id)?;
    let usage = blocking(move || {
        app.gate.keyring().store().get(&id)?.ok_or(Error::NoSuchKey)?;
        Ok(app.usage.of(&id, 30)?)
    });
    Ok(Json(usage.await?))
}

fn known(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(|_| Error::NoSuchKey)
}

/// Nobody makes a key that can do more than their own.
fn not_stronger(granted: &Granted, scopes: &Scopes) -> Result<(), Error> {
    if granted.record.scopes.covers(scopes) { Ok(()) } else { Err(Error::Stronger) }
}

/// Does what waits for the disk where nobody waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}
