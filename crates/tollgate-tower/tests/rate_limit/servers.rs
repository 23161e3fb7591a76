//! Other servers than axum's: hyper alone, and tonic.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tollgate::{ManualClock, Quota};
use tollgate_tower::identity::PeerAddr;
use tonic::{Code, transport::server::TcpConnectInfo};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::*;

#[tokio::test]
async fn hyper_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let limits = layer([per_client(2)]);
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let hello = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
            });
            let service = limits.layer(hello).map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            });
            tokio::spawn(async move {
                let connection = TokioIo::new(stream);
                let builder = auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(connection, TowerToHyperService::new(service)).await
            });
        }
    });
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(get(server, "/").await);
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 429]);
    assert_eq!((&*answers[0].body, answers[0].header("content-length")), ("hello", Some("5")));
    assert_eq!(answers[1].list("ratelimit")[0].params["r"], "0");
    assert_eq!(answers[2].json()["violated-policies"], serde_json::json!(["client"]));
}

#[tokio::test]
async fn tonic_and_its_client() {
    let clock = ManualClock::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server: SocketAddr = listener.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let limits = layer([global("calls", Quota::new(2, secs(5)), &clock)]);
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let tell_peer = tower::util::MapRequestLayer::new(|mut request: Request<tonic::body::Body>| {
        if let Some(peer) = request.extensions().get().and_then(TcpConnectInfo::remote_addr) {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        request
    });
    let clients = layer([per_client(100)]);
    let server_of = tonic::transport::Server::builder();
    let router = server_of.layer(tell_peer).layer(clients).layer(limits).add_service(health);
    tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{server}")).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    for left in ["1", "0"] {
        let answer = client.check(HealthCheckRequest { service: String::new() }).await.unwrap();
        assert!(answer.metadata().get("ratelimit").unwrap().to_str().unwrap().contains(&format!(";r={left};")));
    }
    let refused = client.check(HealthCheckRequest { service: String::new() }).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, "over a limit"));
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "2500");
    // A stream of answers counts as the one call that it is.
    clock.advance(secs(5));
    let mut watch = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
}
