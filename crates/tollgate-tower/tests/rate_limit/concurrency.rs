//! 200 connections at once against 2 per 5 seconds.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate::{
    Algorithm, FixedWindow, IpKey, KeyedLimiter, LeakyBucket, ManualClock, Quota, RateLimiter, SlidingLog,
    SlidingWindow, TokenBucket,
};
use tollgate_tower::{Policy, RateLimitLayer, identity::ClientAddress};

use crate::support::*;

const QUOTA: Quota = Quota::new(2, Duration::from_secs(5));
const CONNECTIONS: usize = 200;

/// A server with all algorithms as routes, each as one limit for all and as one for each address.
async fn server(clock: &ManualClock) -> SocketAddr {
    fn both<A: Algorithm + Copy + 'static>(algorithm: A, clock: &ManualClock) -> [RateLimitLayer; 2] {
        let direct = RateLimiter::with_clock(algorithm, clock.clone());
        let keyed = KeyedLimiter::<IpKey, _, _>::with_clock(algorithm, 1_000, clock.clone());
        [
            layer([Policy::global("all", direct).unwrap()]),
            layer([Policy::keyed("client", ClientAddress::peer(), keyed).unwrap()]),
        ]
    }
    let mut app = Router::new();
    for (name, layers) in [
        ("fixed", both(FixedWindow::new(QUOTA).unwrap(), clock)),
        ("log", both(SlidingLog::new(QUOTA).unwrap(), clock)),
        ("sliding", both(SlidingWindow::new(QUOTA).unwrap(), clock)),
        ("token", both(TokenBucket::new(QUOTA).unwrap(), clock)),
        ("leaky", both(LeakyBucket::new(QUOTA).unwrap(), clock)),
    ] {
        for (kind, limits) in ["direct", "keyed"].into_iter().zip(layers) {
            app = app.route(&format!("/{name}/{kind}"), route(async || "ok").layer(limits));
        }
    }
    serve(app).await
}

/// 200 connections that stay open.
struct Clients(Vec<SendRequest<Empty<Bytes>>>);

impl Clients {
    async fn connect(server: SocketAddr) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TokioIo::new(TcpStream::connect(server).await.unwrap());
            let (client, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            clients.push(client);
        }
        Self(clients)
    }

    /// How many of the requests pass that all of them send at once.
    async fn passed(&mut self, path: &str) -> usize {
        let all = self.0.iter_mut().map(async |client| {
            client.ready().await.unwrap();
            let request = Request::get(path).header("host", "localhost").body(Empty::new()).unwrap();
            let response = client.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            assert!(status == 200 || status == 429 && response.headers()["retry-after"] != "0", "{response:?}");
            response.into_body().collect().await.unwrap();
            status == 200
        });
        futures_util::future::join_all(all).await.into_iter().filter(|&passed| passed).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_pass_in_each_window() {
    let clock = ManualClock::new();
    let mut clients = Clients::connect(server(&clock).await).await;
    for window in 0..3 {
        for kind in ["direct", "keyed"] {
            // At the end of a period all but the sliding window are as new, and that after another.
            for name in ["fixed", "log", "token", "leaky", "sliding"].into_iter().take(5 - window % 2) {
                assert_eq!(clients.passed(&format!("/{name}/{kind}")).await, 2, "{name}, {kind}, window {window}");
            }
        }
        clock.advance(secs(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_than_the_bound_in_between() {
    let clock = ManualClock::new();
    let mut clients = Clients::connect(server(&clock).await).await;
    // The most that any 5 seconds may admit: see the table of algorithms.
    for (name, bound) in [("fixed", 4), ("log", 2), ("sliding", 3), ("token", 3), ("leaky", 3)] {
        let mut admitted = Vec::new();
        for _ in 0..5 {
            admitted.push(clients.passed(&format!("/{name}/keyed")).await);
            clock.advance(Duration::from_millis(1_900));
        }
        // Three rounds are within 5 seconds.
        for three in admitted.windows(3) {
            let sum: usize = three.iter().sum();
            assert!(sum <= bound, "{name}: {admitted:?}");
        }
        assert!(admitted.iter().sum::<usize>() >= 2, "{name}: {admitted:?}");
        clock.advance(secs(10));
    }
}
