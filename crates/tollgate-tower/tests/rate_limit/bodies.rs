//! Bodies, streams and upgrades pass as they are.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::sse::{Event, Sse},
    routing::{any, get as route},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};
use tollgate::{ManualClock, Quota};

use crate::support::*;

/// So that a test of what must come at once does not wait for ever.
const SOON: Duration = Duration::from_secs(10);

fn limited(app: Router) -> Router {
    app.layer(layer([global("day", Quota::per_day(100), &ManualClock::new())]))
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece() {
    let (sender, receiver) = mpsc::channel::<&str>(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let handler = async move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        Body::from_stream(stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|piece| (Ok::<_, Infallible>(piece), receiver))
        }))
    };
    let server = serve(limited(Router::new().route("/", route(handler)))).await;
    let mut response = reqwest::get(format!("http://{server}/")).await.unwrap();
    assert!(response.headers().contains_key("ratelimit"));
    assert_eq!(response.content_length(), None);
    for piece in ["first", "second"] {
        // The next is not sent before the last has arrived.
        sender.send(piece).await.unwrap();
        assert_eq!(timeout(SOON, response.chunk()).await.unwrap().unwrap().unwrap(), piece);
    }
    drop(sender);
    assert_eq!(timeout(SOON, response.chunk()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let events = async || {
        let events = stream::iter([1, 2]).chain(stream::pending());
        Sse::new(events.map(|number| Ok::<_, Infallible>(Event::default().data(number.to_string()))))
    };
    let server = serve(limited(Router::new().route("/", route(events)))).await;
    let mut response = reqwest::get(format!("http://{server}/")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert!(response.headers().contains_key("ratelimit-policy"));
    let mut text = Vec::new();
    while !text.ends_with(b"data: 2\n\n") {
        text.extend(timeout(SOON, response.chunk()).await.expect("both events, and no end").unwrap().unwrap());
    }
    assert_eq!(text, b"data: 1\n\ndata: 2\n\n");
}

#[tokio::test]
async fn a_connection_can_be_upgraded() {
    // As a handshake for a WebSocket is, and then bytes of no HTTP.
    let handler = async |mut request: Request<Body>| {
        assert_eq!(request.headers()["upgrade"], "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 5];
            stream.read_exact(&mut word).await.unwrap();
            word.reverse();
            stream.write_all(&word).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response.header("connection", "upgrade").header("upgrade", "websocket").body(Body::empty()).unwrap()
    };
    let server = serve(limited(Router::new().route("/", any(handler)))).await;
    let request = reqwest::Client::new().get(format!("http://{server}/"));
    let response = request.header("connection", "upgrade").header("upgrade", "websocket").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["ratelimit"], r#""day";r=99;t=864"#);
    let mut stream = response.upgrade().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut word = [0; 5];
    timeout(SOON, stream.read_exact(&mut word)).await.unwrap().unwrap();
    assert_eq!(&word, b"olleh");
}

#[tokio::test]
async fn http_2_is_limited_alike() {
    let clock = ManualClock::new();
    let app = Router::new().route("/", route(async |request: Request<Body>| format!("{:?}", request.version())));
    let server = serve(app.layer(layer([global("day", Quota::per_day(2), &clock)]))).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let all = (0..5).map(|_| client.get(format!("http://{server}/")).send());
    let responses: Vec<_> = futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
    assert!(responses.iter().all(|response| response.version() == Version::HTTP_2));
    let passed: Vec<_> = responses.into_iter().filter(|response| response.status().is_success()).collect();
    assert_eq!(passed.len(), 2);
    for response in passed {
        assert_eq!(response.text().await.unwrap(), "HTTP/2.0");
    }
}

#[tokio::test]
async fn a_body_goes_in_and_comes_out() {
    let echo = async |request: Request<Body>| request.into_body();
    let server = serve(limited(Router::new().route("/", any(echo)))).await;
    let sent: Vec<u8> = (0..1 << 20).map(|number: u32| (number % 251) as u8).collect();
    let response = reqwest::Client::new().post(format!("http://{server}/")).body(sent.clone()).send().await.unwrap();
    // What was known of its length still is.
    assert_eq!(response.content_length(), Some(1 << 20));
    assert_eq!(response.bytes().await.unwrap(), sent);
}

#[tokio::test]
async fn the_body_of_a_refused_request_need_not_be_sent() {
    let clock = ManualClock::new();
    let echo = async |request: Request<Body>| request.into_body();
    let limits = layer([global("day", Quota::per_day(1), &clock)]);
    let server = serve(Router::new().route("/", any(echo)).layer(limits)).await;
    get(server, "/").await;
    // One piece, and no end.
    let endless = stream::iter([Ok::<_, Infallible>("piece")]).chain(stream::pending());
    let request = reqwest::Client::new().post(format!("http://{server}/")).body(reqwest::Body::wrap_stream(endless));
    let response = timeout(SOON, request.send()).await.expect("an answer while the body is under way").unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn trailers_and_failures_in_the_middle_pass() {
    let service = tower::service_fn(async |_: Request<()>| {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
        let frames = [Ok(Frame::data(Bytes::from("data"))), Ok(Frame::trailers(trailers)), Err("broken")];
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream::iter(frames))))
    });
    let limits = layer([global("day", Quota::per_day(1), &ManualClock::new())]);
    let mut service = tower::Layer::layer(&limits, service);
    let response = tower::Service::call(&mut service, Request::new(())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data");
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap()["x-sum"], "7");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
    assert!(body.frame().await.is_none());
}
