//! What an [`ApiKeyLayer`] adds to a request, without sockets: the same service with and without it, in turns; and what of
//! it the [`Gate`] takes when it is called alone.
//!
//! ```sh
//! cargo bench -p tollgate-tower --bench api_key
//! ```

use std::{
    convert::Infallible,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use tollgate::{
    IpKey, KeyedLimiter, Quota, TokenBucket,
    keys::{Attempt, Digester, Gate, Keyring, MemoryStore, NewKey, Prefix, Quotas, RecordLimiter, Scope, UnixTime},
};
use tollgate_tower::{
    ApiKeyLayer,
    identity::{ClientAddress, PeerAddr},
};
use tower::{Layer, Service, service_fn};

mod paired;

use paired::{answer_of, compare};

const READ: Scope<'static> = Scope::literal("orders:read");

fn main() {
    let digesters =
        [("sha256", Digester::plain()), ("hmac-sha256", Digester::peppered(1, &[7; 32]).expect("long enough"))];
    println!("{:<44} {:>12} {:>12} {:>12} {:>12}", "ns a request", "bare", "layer", "gate", "allocations");
    for (scheme, digester) in digesters {
        for (case, limits) in [("verified", 0), ("verified, throttled, limited", 1)] {
            measure(&format!("{scheme}, {case}"), gate(digester.clone(), limits), true);
        }
        let told = gate(digester.clone(), 1);
        measure(&format!("{scheme}, the same, and told of"), told, true);
        measure(&format!("{scheme}, refused: wrong secret"), gate(digester, 0), false);
    }
}

/// A gate that verifies, and may also limit failures and requests, at rates that nobody reaches.
fn gate(digester: Digester, limits: usize) -> Gate<MemoryStore> {
    let never = TokenBucket::new(Quota::per_second(1_000_000_000)).expect("a quota");
    let mut gate = Gate::new(Keyring::new(digester, MemoryStore::new()));
    if limits > 0 {
        gate = gate.throttle(KeyedLimiter::<IpKey, _>::with_capacity(never, 1_000));
    }
    for _ in 0..limits {
        gate = gate.limit(RecordLimiter::per_family([never], Quotas::new(0), 1_000).expect("one tier"));
    }
    gate
}

fn measure(name: &str, gate: Gate<MemoryStore>, right: bool) {
    let mut generator = ChaCha20Rng::seed_from_u64(1);
    let new = || NewKey::new(Prefix::literal("tg_live"), "acme").scopes("orders:*".parse().expect("scopes"));
    let issued = gate.keyring().issue(new(), &mut generator).expect("the store is empty");
    let other = new().issue(gate.keyring().digester(), &mut generator).expect("a good generator");
    let key = if right { issued.key } else { other.key };
    let header = HeaderValue::from_str(key.expose_secret()).expect("it is ASCII");
    let request = || {
        let mut request = Request::new(0_u8);
        request.headers_mut().insert(HeaderName::from_static("x-api-key"), header.clone());
        request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 1], 4711))));
        request
    };
    let answer = |request: Request<u8>| {
        let mut response = Response::new(black_box(request).into_body());
        // As responses of servers have: a type at least.
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let gate = Arc::new(gate);
    let mut layer = ApiKeyLayer::new(Arc::clone(&gate), ClientAddress::peer()).requires([READ]);
    if name.ends_with("told of") {
        layer = layer.tell("key", Duration::from_secs(1)).expect("a name");
    }
    let kept = layer.layer(service_fn(answer));
    let status = answer_of(kept.clone().call(request())).status();
    assert_eq!(status.is_success(), right, "{status}");

    let from = IpKey::from(Ipv4Addr::new(192, 0, 2, 1));
    let checked = service_fn(|request: Request<u8>| {
        let attempt = Attempt::new(header.as_bytes(), from, UnixTime::now()).requires(&[READ]);
        assert_eq!(black_box(gate.check(&attempt)).is_ok(), right);
        answer(request)
    });
    let (bare, layer) = compare(service_fn(answer), kept, request);
    let (_, gate) = compare(service_fn(answer), checked, request);
    println!("{name:<44} {:>12.0} {:>12.0} {:>12.0} {:>12}", bare.nanos, layer.nanos, gate.nanos, layer.allocations);
}
