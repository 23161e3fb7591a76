//! One service five times, each on a port of its own: as it is, behind tollgate's layers, and behind tower_governor's.
//!
//! `run`, beside this crate, calls them in turns. All limits are higher than anybody reaches, and all of them that have
//! headers send them.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Json, Router, routing::get};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde::Serialize;
use tokio::net::TcpListener;
use tollgate::{
    IpKey, KeyedLimiter, Quota, TokenBucket,
    keys::{Digester, Gate, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter, Scope},
};
use tollgate_tower::{ApiKeyLayer, Policy, RateLimitLayer, identity::ClientAddress};
use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};

const READ: Scope<'static> = Scope::literal("items:read");

#[derive(Serialize)]
struct Item {
    id: u32,
    name: &'static str,
}

fn service() -> Router {
    let list = async || Json([Item { id: 1, name: "turnstile" }, Item { id: 2, name: "token" }]);
    Router::new().route("/items/", get(list))
}

fn never() -> TokenBucket {
    TokenBucket::new(Quota::per_second(1_000_000_000)).expect("a quota")
}

/// The limit of each address.
fn addresses() -> Result<RateLimitLayer, Box<dyn Error>> {
    let limiter = KeyedLimiter::<IpKey, _>::with_capacity(never(), 10_000);
    Ok(RateLimitLayer::new([Policy::keyed("address", ClientAddress::peer(), limiter)?])?)
}

/// Keys with a pepper, a limit of failures and a limit of each key; and a key.
fn keys() -> Result<(ApiKeyLayer<MemoryStore>, String), Box<dyn Error>> {
    let gate = Gate::new(Keyring::new(Digester::peppered(1, &[7; 32])?, MemoryStore::new()))
        .throttle(KeyedLimiter::<IpKey, _>::with_capacity(never(), 10_000))
        .limit(RecordLimiter::per_family([never()], Quotas::new(0), 10_000)?);
    let new = NewKey::new(Prefix::literal("tg_live"), "acme").scopes("items:*".parse()?);
    let issued = gate.keyring().issue(new, &mut ChaCha20Rng::seed_from_u64(1))?;
    let layer = ApiKeyLayer::new(Arc::new(gate), ClientAddress::peer()).requires([READ]);
    Ok((layer, issued.key.expose_secret().to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (keys, key) = keys()?;
    let mut governor =
        GovernorConfigBuilder::default().period(Duration::from_nanos(1)).burst_size(u32::MAX).use_headers();
    let governor = GovernorLayer::new(governor.finish().ok_or("a quota")?);
    let services = [
        ("bare", service()),
        ("both", service().layer((addresses()?, keys.clone().tell("key", Duration::from_secs(1))?))),
        ("keys", service().layer(keys)),
        ("rate", service().layer(addresses()?)),
        ("governor", service().layer(governor)),
    ];
    println!("key {key}");
    let mut running = tokio::task::JoinSet::new();
    for (name, service) in services {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{name} http://{}/items/", listener.local_addr()?);
        running
            .spawn(async { axum::serve(listener, service.into_make_service_with_connect_info::<SocketAddr>()).await });
    }
    println!("ready");
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}
