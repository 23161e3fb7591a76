//! The layer as a layer: readiness, clones, types, and what is passed on.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tollgate::{Composite, Limiter, ManualClock, Quota, RateLimiter, SlidingLog, TokenBucket};
use tollgate_tower::{Policy, RateLimitLayer, RateLimitService};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::*;

/// What a user writes.
#[derive(Clone)]
struct App {
    limits: RateLimitLayer,
    service: RateLimitService<Counted>,
}

/// A service that must be asked whether it is ready before each call, and counts calls. A clone was not asked.
struct Counted {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self { is_ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<()>> for Counted {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "another clone was asked whether it is ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::default()))
    }
}

fn app(limits: RateLimitLayer) -> (App, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let service = limits.layer(Counted { is_ready: false, calls: Arc::clone(&calls) });
    (App { limits, service }, calls)
}

fn status(response: &Response<impl Sized>) -> u16 {
    response.status().as_u16()
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let (mut app, calls) = app(layer([global("day", Quota::per_day(3), &ManualClock::new())]));
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(status(&app.service.ready().await.unwrap().call(Request::new(())).await.unwrap()), expected);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3, "a refused request has reached the service");
}

#[tokio::test]
async fn clones_share_what_is_left() {
    let (app, calls) = app(layer([global("day", Quota::per_day(3), &ManualClock::new())]));
    let mut left = Vec::new();
    for _ in 0..2 {
        let clone = app.clone();
        // A clone of the service, and a service of a clone of the layer.
        for service in [clone.service.clone(), clone.limits.clone().layer(clone.service.get_ref().clone())] {
            left.push(status(&service.oneshot(Request::new(())).await.unwrap()));
        }
    }
    assert_eq!((left, calls.load(Ordering::Relaxed)), (vec![200, 200, 200, 429], 3));
}

#[tokio::test]
async fn a_change_makes_another_layer_of_the_same_limits() {
    let plain = layer([global("day", Quota::per_day(3), &ManualClock::new())]);
    let costly = plain.clone().cost(|_| 2);
    assert_eq!(through(&costly, request("::1", &[])).await.list("ratelimit")[0].params["r"], "1");
    assert_eq!(through(&plain, request("::1", &[])).await.list("ratelimit")[0].params["r"], "0");
}

#[test]
fn types_can_be_shared_between_threads_and_shown() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let (app, _) = app(layer([global("day", Quota::per_day(3), &ManualClock::new())]).cost(|_| 1));
    is_shared(&app);
    is_shared(&app.limits);
    let shown = format!("{:?}", app.limits);
    assert!(shown.contains("day") && shown.contains("Structured"), "{shown}");
}

#[tokio::test]
async fn a_service_that_cannot_be_cloned_and_fails() {
    struct NoClone;
    let owned = NoClone;
    let fails = service_fn(move |_: Request<()>| {
        let _ = &owned;
        ready(Err::<Response<Full<Bytes>>, _>("out of order"))
    });
    let clock = ManualClock::new();
    let limits = layer([global("day", Quota::per_day(2), &clock)]).settle(|_, _| 0);
    let mut service = limits.layer(fails);
    for _ in 0..2 {
        assert_eq!(service.ready().await.unwrap().call(Request::new(())).await.unwrap_err(), "out of order");
    }
    // It was not a response: what was taken is taken.
    let refused = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(status(&refused), 429);
    assert!(!refused.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn for_all_routes_and_for_one() {
    let clock = ManualClock::new();
    let costly = layer([window("costly", Quota::per_day(1), &clock)]);
    let all = layer([window("all", Quota::per_day(4), &clock)]);
    let router =
        Router::new().route("/costly", route(async || "ok").layer(costly)).route("/", route(async || "ok")).layer(all);
    let server = serve(router).await;
    let mut told = Vec::new();
    for path in ["/costly", "/costly", "/", "/", "/"] {
        let answer = get(server, path).await;
        told.push((answer.status, answer.list("ratelimit-policy").len()));
    }
    assert_eq!(told, [(200, 2), (429, 2), (200, 1), (200, 1), (429, 1)]);
}

#[tokio::test]
async fn any_limiter_will_do() {
    let clock = ManualClock::new();
    let log = RateLimiter::with_clock(SlidingLog::new(Quota::per_hour(2)).unwrap(), clock.clone());
    let bucket = RateLimiter::with_clock(TokenBucket::new(Quota::per_second(5)).unwrap(), clock.clone());
    let both: Arc<dyn Limiter + Send + Sync> = Arc::new(Composite::new((log, bucket)));
    let limits = layer([Policy::custom("both", Quota::per_hour(2), Arc::clone(&both)).unwrap()]);
    let server = serve(Router::new().route("/", route(async || "ok")).layer(limits)).await;
    let answer = get(server, "/").await;
    assert_eq!(answer.list("ratelimit"), [item("both", &[("r", 1), ("t", 3_600)])]);
    assert_eq!(both.check().unwrap().remaining, 0);
    let refused = get(server, "/").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3600")));
}
