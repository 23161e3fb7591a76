//! What is refused, how it is answered, what it costs.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get as route};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;
use tollgate::{FixedWindow, Limiter, ManualClock, Priority, Quota, RateLimiter, SlidingLog, TokenBucket};
use tollgate_tower::{LayerError, Policy, RateLimitLayer, Refusal, RequestHead, ResponseHead, identity::ClientAddress};
use tower::{Layer, Service, service_fn};

use crate::support::*;

fn app() -> Router {
    Router::new().route("/", route(async || "ok").post(async |body: Bytes| body))
}

#[tokio::test]
async fn a_refusal_says_when_to_retry_and_why() {
    let clock = ManualClock::new();
    let server = serve(app().layer(layer([global("burst", Quota::per_second(10).burst(1), &clock)]))).await;
    assert_eq!(get(server, "/").await.status, 200);
    let refused = get(server, "/").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    // A tenth of a second is a whole one, and not 0.
    assert_eq!(refused.header("retry-after"), Some("1"));
    let problem = json!({
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "status": 429,
        "detail": "Retry after 1 s.",
        "violated-policies": ["burst"],
    });
    assert_eq!(refused.json(), problem);
    clock.advance(Duration::from_millis(100));
    assert_eq!(get(server, "/").await.status, 200);
}

#[tokio::test]
async fn retry_after_is_the_truth() {
    let clock = ManualClock::new();
    let server = serve(app().layer(layer([window("w", Quota::new(2, secs(5)), &clock)]))).await;
    clock.advance(Duration::from_millis(1_001));
    for _ in 0..2 {
        assert_eq!(get(server, "/").await.status, 200);
    }
    for wait in ["4", "3", "2", "1"] {
        let refused = get(server, "/").await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some(wait)));
        clock.advance(secs(1));
    }
    assert_eq!(get(server, "/").await.status, 200);
}

#[tokio::test]
async fn what_can_never_pass_is_forbidden_and_not_told_to_retry() {
    let clock = ManualClock::new();
    let limits = layer([global("bytes", Quota::per_second(10), &clock)])
        .cost(|request: &RequestHead<'_>| request.content_length().unwrap_or(1));
    let server = serve(app().layer(limits)).await;
    let client = reqwest::Client::new();
    let post = |length: usize| send(client.post(format!("http://{server}/")).body("x".repeat(length)));
    let refused = post(11).await;
    assert_eq!((refused.status, refused.header("retry-after")), (403, None));
    assert_eq!(refused.json()["violated-policies"], json!(["bytes"]));
    assert_eq!(refused.json()["status"], 403);
    assert_eq!(refused.list("ratelimit"), [item("bytes", &[("r", 10), ("t", 0)])]);
    // Nothing was taken.
    assert_eq!(post(10).await.status, 200);
    assert_eq!(post(10).await.status, 429);
}

#[tokio::test]
async fn all_policies_or_none_are_charged_and_all_that_refuse_are_named() {
    let clock = ManualClock::new();
    let hour =
        std::sync::Arc::new(RateLimiter::with_clock(FixedWindow::new(Quota::per_hour(100)).unwrap(), clock.clone()));
    let limits = layer([
        window("minute", Quota::per_minute(2), &clock),
        Policy::global("hour", hour.clone()).unwrap(),
        window("day", Quota::per_day(2), &clock),
    ]);
    let server = serve(app().layer(limits)).await;
    for _ in 0..2 {
        assert_eq!(get(server, "/").await.status, 200);
    }
    let refused = get(server, "/").await;
    assert_eq!(refused.json()["violated-policies"], json!(["minute", "day"]));
    // That which refuses for longest.
    assert_eq!(refused.header("retry-after"), Some("86400"));
    assert_eq!(refused.list("ratelimit"), [item("day", &[("r", 0), ("t", 86_400)])]);
    clock.advance(secs(60));
    assert_eq!(get(server, "/").await.json()["violated-policies"], json!(["day"]));
    assert_eq!(hour.peek_n(0).unwrap().remaining, 98, "a refusal has charged another policy");
}

#[tokio::test]
async fn a_responder_of_ones_own() {
    let clock = ManualClock::new();
    let limits = layer([global("day", Quota::per_day(1), &clock)]).respond(|request, refusal| {
        let mut response = Response::new(Bytes::from(format!("{} {}", request.method, refusal.status())));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        if request.uri.query().is_some() {
            response.headers_mut().insert("retry-after", HeaderValue::from_static("7"));
        }
        response
    });
    let server = serve(app().layer(limits)).await;
    get(server, "/").await;
    let refused = get(server, "/").await;
    assert_eq!((refused.status, &*refused.body), (503, "GET 429 Too Many Requests"));
    assert_eq!((refused.header("retry-after"), refused.header("content-type")), (Some("86400"), None));
    assert_eq!(refused.list("ratelimit").len(), 1);
    assert_eq!(get(server, "/?own").await.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn a_responder_may_leave_it_to_us() {
    let clock = ManualClock::new();
    let limits = layer([global("day", Quota::per_day(1), &clock)]).respond(|_, refusal: Refusal<'_>| {
        let mut response = refusal.into_response();
        response.headers_mut().insert("x-help", HeaderValue::from_static("/limits"));
        response
    });
    let server = serve(app().layer(limits)).await;
    get(server, "/").await;
    let refused = get(server, "/").await;
    assert_eq!((refused.status, refused.header("x-help")), (429, Some("/limits")));
    assert_eq!(refused.json()["violated-policies"], json!(["day"]));
}

#[tokio::test]
async fn a_failure_can_be_free_and_a_size_can_be_charged() {
    let clock = ManualClock::new();
    let bytes =
        std::sync::Arc::new(RateLimiter::with_clock(TokenBucket::new(Quota::per_day(100)).unwrap(), clock.clone()));
    let policies = [Policy::global("bytes", bytes.clone()).unwrap(), global("other", Quota::per_day(1_000), &clock)];
    let limits = layer(policies).cost(|_| 10).settle(|response: &ResponseHead<'_>, cost| {
        if response.status.is_server_error() { 0 } else { response.content_length().unwrap_or(cost) }
    });
    let router = Router::new()
        .route("/fails", route(async || StatusCode::BAD_GATEWAY))
        .route("/size/{size}", route(async |axum::extract::Path(size): axum::extract::Path<usize>| "x".repeat(size)));
    let server = serve(router.layer(limits)).await;
    let left = || bytes.peek_n(0).map_or(0, |allowed| allowed.remaining);

    let told = |answer: &Answer| answer.list("ratelimit")[0].params["r"].parse::<u64>().unwrap();
    let answer = get(server, "/fails").await;
    assert_eq!((answer.status, left(), told(&answer)), (502, 100, 100), "it is given back, and told so");
    for (size, expected) in [(4, 96), (10, 86), (36, 50)] {
        let answer = get(server, &format!("/size/{size}")).await;
        assert_eq!((answer.body.len() as u64, left(), told(&answer)), (size, expected, expected), "{size}");
    }
    // More than is left: what is left, and no more.
    assert_eq!((get(server, "/size/5000").await.status, left()), (200, 0));
    assert_eq!(get(server, "/size/1").await.status, 429);
}

/// Requests that are kept waiting, window for window, to have all of them given back in one.
#[tokio::test]
async fn what_time_has_regained_is_not_given_back() {
    let five = secs(5);
    let policy = |number| -> (ManualClock, Policy) {
        let (clock, quota) = (ManualClock::new(), Quota::new(2, five));
        let policy = match number {
            0 => window("q", quota, &clock),
            1 => global("q", quota, &clock),
            _ => Policy::global("q", RateLimiter::with_clock(SlidingLog::new(quota).unwrap(), clock.clone())).unwrap(),
        };
        (clock, policy)
    };
    for number in 0..3 {
        let (clock, policy) = policy(number);
        let limits = layer([policy])
            .settle(|response: &ResponseHead<'_>, cost| if response.status.is_server_error() { 0 } else { cost });
        let service = limits.layer(service_fn(async |answer: Request<oneshot::Receiver<u16>>| {
            let status = StatusCode::from_u16(answer.into_body().await.unwrap()).unwrap();
            Ok::<_, Infallible>(Response::builder().status(status).body(Body::empty()).unwrap())
        }));
        let begin = || {
            let (answer, waits) = oneshot::channel();
            (answer, service.clone().call(Request::new(waits)))
        };
        let status = async |answered: u16| {
            let (answer, response) = begin();
            let _ = answer.send(answered);
            response.await.unwrap().status().as_u16()
        };

        let kept: Vec<_> = (0..3)
            .flat_map(|_| {
                let both = [begin(), begin()];
                clock.advance(five);
                both
            })
            .collect();
        assert_eq!([status(200).await, status(200).await, status(200).await], [200, 200, 429], "{number}");
        for (answer, response) in kept {
            answer.send(500).unwrap();
            assert_eq!(response.await.unwrap().status(), 500);
        }
        assert_eq!(status(200).await, 429, "{number}: units of others were given back");

        // In time, all of it is.
        clock.advance(five);
        assert_eq!([status(500).await, status(500).await, status(500).await], [500; 3], "{number}");
    }
}

#[tokio::test]
async fn background_requests_leave_some_for_critical_ones() {
    let clock = ManualClock::new();
    let limits = layer([window("day", Quota::per_day(10), &clock)]).priority(|request: &RequestHead<'_>| {
        if request.headers.contains_key("x-batch") { Priority::Background } else { Priority::Critical }
    });
    let server = serve(app().layer(limits)).await;
    let client = reqwest::Client::new();
    let batch = || send(client.get(format!("http://{server}/")).header("x-batch", "1"));
    for left in (0..5).rev() {
        assert_eq!(batch().await.list("ratelimit")[0].params["r"], left.to_string());
    }
    assert_eq!(batch().await.status, 429);
    assert_eq!(get(server, "/").await.list("ratelimit")[0].params["r"], "4");
}

#[tokio::test]
async fn a_free_request_takes_nothing() {
    let clock = ManualClock::new();
    let limits = layer([window("day", Quota::per_day(1), &clock)])
        .cost(|request: &RequestHead<'_>| u64::from(request.uri.query().is_none()));
    let server = serve(app().layer(limits)).await;
    for _ in 0..3 {
        assert_eq!(get(server, "/?free").await.status, 200);
    }
    assert_eq!(get(server, "/").await.status, 200);
    assert_eq!(get(server, "/").await.status, 429);
}

#[tokio::test]
async fn a_call_of_grpc_is_refused_in_its_own_words() {
    let clock = ManualClock::new();
    let limits = layer([global("q", Quota::per_second(2).burst(1), &clock)])
        .cost(|request: &RequestHead<'_>| if request.uri.query().is_some() { 2 } else { 1 });
    let server = serve(app().layer(limits)).await;
    get(server, "/").await;
    let client = reqwest::Client::new();
    let call = |path: &str| {
        send(client.post(format!("http://{server}{path}")).header("content-type", "application/grpc+proto"))
    };
    let refused = call("/").await;
    assert_eq!((refused.status, refused.header("grpc-status"), &*refused.body), (200, Some("8"), ""));
    assert_eq!((refused.header("grpc-retry-pushback-ms"), refused.header("retry-after")), (Some("500"), Some("1")));
    assert_eq!(call("/?two").await.header("grpc-retry-pushback-ms"), Some("-1"), "it can never pass");
}

/// A refusal with the status 200 that a cache keeps, and gives to others in place of what they ask for.
#[tokio::test]
async fn who_only_says_so_makes_no_call_of_grpc() {
    let limits = layer([global("q", Quota::per_second(1), &ManualClock::new())]);
    let server = serve(app().layer(limits)).await;
    get(server, "/").await;
    let client = reqwest::Client::new();
    let url = format!("http://{server}/");
    for (request, kind) in [
        (client.get(&url), "application/grpc"),
        (client.head(&url), "application/grpc+proto"),
        (client.post(&url), "application/grpcs"),
        (client.post(&url), "application/json"),
    ] {
        let refused = send(request.header("content-type", kind)).await;
        assert_eq!((refused.status, refused.header("grpc-status")), (429, None), "{kind}");
    }
}

#[test]
fn bad_configuration_is_refused_with_what_would_be_right() {
    let clock = ManualClock::new();
    let bucket = || RateLimiter::with_clock(TokenBucket::new(Quota::per_day(1)).unwrap(), clock.clone());
    for name in ["", "tab\there", "line\r\nx-evil: 1", "grün", "\u{7f}", &"x".repeat(65)] {
        let error = Policy::global(name, bucket()).unwrap_err();
        assert!(error.to_string().contains("1 to 64 printable ASCII characters"), "{error}");
        assert!(Policy::global("fine", bucket()).unwrap().unit(name).is_err());
    }
    assert!(Policy::global(&"x".repeat(64), bucket()).is_ok());
    assert_eq!(RateLimitLayer::new([]).unwrap_err(), LayerError::NoPolicy);
    let twice = [global("a", Quota::per_day(1), &clock), per_client(1), global("a", Quota::per_day(2), &clock)];
    assert_eq!(RateLimitLayer::new(twice).unwrap_err(), LayerError::SameName { name: "a".to_owned() });
}

#[tokio::test]
async fn head_and_options_are_limited_as_well() {
    let clock = ManualClock::new();
    let limits = layer([global("day", Quota::per_day(1), &clock)]);
    let server = serve(app().layer(limits)).await;
    let client = reqwest::Client::new();
    let head = || send(client.head(format!("http://{server}/")));
    assert_eq!(head().await.status, 200);
    let refused = head().await;
    assert_eq!((refused.status, &*refused.body), (429, ""));
    assert_eq!(refused.header("retry-after"), Some("86400"));
}

#[tokio::test]
async fn a_request_without_identity_never_reaches_the_service() {
    let reached = async || -> Response<Body> { panic!("it has passed uncounted") };
    let app = Router::new().route("/", route(reached));
    let limits = layer([keyed("tenant", tollgate_tower::identity::Header::new("x-tenant".parse().unwrap()), 5)]);
    let server = serve(app.layer(limits)).await;
    let refused = get(server, "/").await;
    assert_eq!((refused.status, refused.header("retry-after")), (400, None));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem = json!({ "type": "about:blank", "title": "Bad Request", "status": 400, "detail": "the request has no x-tenant" });
    assert_eq!(refused.json(), problem);
    // The server should know the address; that it does not is no fault of the client.
    let unknown = through(&layer([keyed("client", ClientAddress::peer(), 5)]), http::Request::default()).await;
    assert_eq!((unknown.status, &unknown.json()["title"]), (500, &json!("Internal Server Error")));
}
