//! What a layer allocates for a request, by name.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::Full;
use tollgate::{KeyedLimiter, ManualClock, Quota, TokenBucket};
use tollgate_tower::{
    Dialect, Identity, Policy, RateLimitLayer,
    identity::{ClientAddress, Header, PeerAddr, TrustedProxies, Via},
};
use tower::{Layer, Service, service_fn};

/// Counts the allocations of each thread, and leaves them to the system's allocator.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the calls are passed on as they come.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn keyed<I: Identity>(name: &str, identity: I, limit: u64) -> Policy
where
    I::Key: 'static,
{
    let bucket = TokenBucket::new(Quota::per_day(limit)).unwrap();
    let limiter = KeyedLimiter::<I::Key, _, _>::with_clock(bucket, 100, ManualClock::new());
    Policy::keyed(name, identity, limiter).unwrap()
}

fn client(name: &str) -> Policy {
    keyed(name, ClientAddress::peer(), 100)
}

fn layer(policies: impl IntoIterator<Item = Policy>) -> RateLimitLayer {
    RateLimitLayer::new(policies).unwrap()
}

/// How many allocations `layer` adds to a request that is answered with `status`, once it has served others.
fn added(layer: &RateLimitLayer, status: u16) -> u64 {
    // As a server has it: a part of what it has read, that others hold too.
    let (tenant, forwarded) = (HeaderValue::from_static("acme"), HeaderValue::from_static("6.6.6.6, 192.0.2.77"));
    let request = || {
        let mut request = Request::new(());
        request.headers_mut().insert("x-tenant", tenant.clone());
        request.headers_mut().insert("x-forwarded-for", forwarded.clone());
        request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 1], 4711))));
        request
    };
    let answer = |_: Request<()>| {
        let mut response = Response::new(Full::<Bytes>::default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let (mut bare, mut kept) = (service_fn(answer), layer.layer(service_fn(answer)));
    for _ in 0..3 {
        poll(kept.call(request()));
    }
    let without = count(|| drop(poll(bare.call(request()))));
    let with = count(|| assert_eq!(poll(kept.call(request())).status().as_u16(), status));
    with.checked_sub(without).unwrap_or_else(|| panic!("{with} with the layer, {without} without"))
}

fn count(request: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    request();
    ALLOCATIONS.get() - before
}

fn poll<R>(future: impl Future<Output = Result<R, Infallible>>) -> R {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

#[test]
fn a_decision_allocates_nothing() {
    for policy in [
        client("peer"),
        keyed("tenant", Header::new(HeaderName::from_static("x-tenant")), 100),
        keyed("both", (ClientAddress::peer(), Header::new(HeaderName::from_static("x-tenant"))), 100),
        keyed(
            "proxied",
            ClientAddress::behind(TrustedProxies::new(Via::XForwardedFor).network("192.0.2.0/24".parse().unwrap())),
            100,
        ),
    ] {
        let name = policy.name().to_owned();
        assert_eq!(added(&layer([policy]).dialect(Dialect::None), 200), 0, "{name}");
    }
    assert_eq!(added(&layer([client("a"), client("b")]).dialect(Dialect::None), 200), 0);
}

#[test]
fn a_header_that_changes_allocates_its_value_and_one_that_does_not_nothing() {
    assert_eq!(added(&layer([client("a")]), 200), 1, "`RateLimit`; `RateLimit-Policy` is shared");
    assert_eq!(added(&layer([client("a"), client("b")]), 200), 1, "`RateLimit`");
    for dialect in [Dialect::ThreeFields, Dialect::XSeconds, Dialect::XEpoch] {
        assert_eq!(added(&layer([client("a")]).dialect(dialect), 200), 3, "limit, remaining, reset");
    }
}

#[test]
fn more_than_two_policies_and_a_settlement_of_several_allocate_a_list() {
    assert_eq!(added(&layer([client("a"), client("b"), client("c")]), 200), 2, "`RateLimit`, the policies' parts");
    assert_eq!(added(&layer([client("a")]).settle(|_, cost| cost), 200), 1, "`RateLimit`");
    assert_eq!(added(&layer([client("a")]).settle(|_, _| 0), 200), 1, "`RateLimit`");
    assert_eq!(added(&layer([client("a"), client("b")]).settle(|_, _| 0), 200), 2, "`RateLimit`, who is given back to");
}

#[test]
fn what_a_refusal_allocates() {
    let spent = || keyed("client", ClientAddress::peer(), 1);
    let silent = layer([spent()]).dialect(Dialect::None).respond(|_, refusal| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        response
    });
    // A label of the counter, and the list of them, even where nobody records it.
    let counted = if cfg!(feature = "metrics") { 2 } else { 0 };
    assert_eq!(added(&silent, 429), 1 + counted, "`Retry-After`");
    let of_problem =
        ["the list of the violated policies", "the detail", "the text", "the text, to be shared"].len() as u64;
    assert_eq!(added(&layer([spent()]), 429), 2 + of_problem + counted, "`Retry-After`, `RateLimit`, and the problem");
}
