//! What a [`RateLimitLayer`] adds to a request, without sockets.
//!
//! ```sh
//! cargo bench -p tollgate-tower --bench rate_limit
//! ```

use std::{convert::Infallible, hint::black_box, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tollgate::{IpKey, KeyedLimiter, Quota, RateLimiter, TokenBucket};
use tollgate_tower::{
    Dialect, Identity, Policy, RateLimitLayer, ResponseHead,
    identity::{ClientAddress, Header, PeerAddr, TrustedProxies, Via},
};
use tower::{Layer, service_fn};

mod paired;

fn main() {
    println!("{:<44} {:>12} {:>12} {:>12}", "ns a request", "bare", "layer", "allocations");
    let structured = |policies: Vec<Policy>| RateLimitLayer::new(policies).expect("policies");
    let client = || keyed::<IpKey, _>("client", ClientAddress::peer());
    let proxies = || TrustedProxies::new(Via::XForwardedFor).network("192.0.2.0/24".parse().expect("a network"));
    let tenant = || Header::new(HeaderName::from_static("x-tenant"));

    measure("everybody, no headers", &structured(vec![everybody()]).dialect(Dialect::None), 200);
    measure("everybody", &structured(vec![everybody()]), 200);
    measure("peer, no headers", &structured(vec![client()]).dialect(Dialect::None), 200);
    measure("peer", &structured(vec![client()]), 200);
    measure("peer, three fields", &structured(vec![client()]).dialect(Dialect::ThreeFields), 200);
    let behind = keyed::<IpKey, _>("client", ClientAddress::behind(proxies()));
    measure("client of a proxy", &structured(vec![behind]), 200);
    measure("header", &structured(vec![keyed::<HeaderValue, _>("tenant", tenant())]), 200);
    measure("peer and everybody", &structured(vec![client(), everybody()]), 200);
    let settled = |response: &ResponseHead<'_>, cost| if response.status.is_server_error() { 0 } else { cost };
    measure("peer, settled", &structured(vec![client()]).settle(settled), 200);
    let never = Policy::global("all", RateLimiter::new(TokenBucket::new(Quota::per_day(1)).expect("a quota")));
    measure_two_headers();
    measure("refused", &structured(vec![never.expect("a name")]), 429);
}

/// At a rate that nobody reaches.
fn everybody() -> Policy {
    Policy::global("everybody", RateLimiter::new(fast())).expect("a name")
}

fn keyed<K, I: Identity<Key = K>>(name: &str, identity: I) -> Policy
where
    K: std::hash::Hash + 'static,
{
    Policy::keyed(name, identity, KeyedLimiter::<K, _>::with_capacity(fast(), 1_000)).expect("a name")
}

fn fast() -> TokenBucket {
    TokenBucket::new(Quota::per_second(1_000_000_000)).expect("a quota")
}

/// What two headers cost whoever writes them, if their text is there already.
fn measure_two_headers() {
    let with_type = |request: Request<u8>| {
        black_box(request);
        let mut response = Response::new(Full::<Bytes>::default());
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    };
    let with_three = move |request| {
        let mut response = with_type(request);
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("ratelimit-policy"), HeaderValue::from_static("\"all\";q=1;w=1"));
        headers.insert(HeaderName::from_static("ratelimit"), HeaderValue::from_static("\"all\";r=0;t=1"));
        response
    };
    let (bare, added) = paired::compare(
        service_fn(move |request| std::future::ready(Ok::<_, Infallible>(with_type(request)))),
        service_fn(move |request| std::future::ready(Ok::<_, Infallible>(with_three(request)))),
        || Request::new(0_u8),
    );
    println!(
        "{:<44} {:>12.0} {:>12.0} {:>12}",
        "two headers of fixed text", bare.nanos, added.nanos, added.allocations
    );
}

fn measure(name: &str, layer: &RateLimitLayer, status: u16) {
    let tenant = HeaderValue::from_static("acme");
    let forwarded = HeaderValue::from_static("6.6.6.6, 192.0.2.77");
    let request = || {
        let mut request = Request::new(0_u8);
        request.headers_mut().insert(HeaderName::from_static("x-tenant"), tenant.clone());
        request.headers_mut().insert(HeaderName::from_static("x-forwarded-for"), forwarded.clone());
        request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 1], 4711))));
        request
    };
    let answer = |request: Request<u8>| {
        black_box(request);
        // As responses of servers have: a type at least.
        let mut response = Response::new(Full::<Bytes>::default());
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let mut kept = layer.layer(service_fn(answer));
    let warm = (0..2).map(|_| paired::answer_of(tower::Service::call(&mut kept, request())).status().as_u16());
    assert_eq!(warm.last(), Some(status));
    let (bare, added) = paired::compare(service_fn(answer), kept, request);
    println!("{name:<44} {:>12.0} {:>12.0} {:>12}", bare.nanos, added.nanos, added.allocations);
}
