//! 200 connections at once against 2 per 5 seconds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Barrier};
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

/// How many of 200 requests pass that come over as many connections at once.
async fn passed(server: SocketAddr, path: &str) -> usize {
    let barrier = Arc::new(Barrier::new(CONNECTIONS));
    let requests = (0..CONNECTIONS).map(|_| {
        let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
        let barrier = Arc::clone(&barrier);
        tokio::spawn(async move {
            let stream = TokioIo::new(TcpStream::connect(server).await.unwrap());
            let (mut sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            // Nobody asks before all are connected.
            barrier.wait().await;
            let response = sender.send_request(request).await.unwrap();
            match response.status().as_u16() {
                200 => true,
                429 => {
                    assert_ne!(response.headers()["retry-after"], "0");
                    false
                }
                other => panic!("{other}"),
            }
        })
    });
    let answers = futures_util::future::join_all(requests.collect::<Vec<_>>()).await;
    answers.into_iter().filter(|passed| *passed.as_ref().unwrap()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_pass_in_each_window() {
    let clock = ManualClock::new();
    let server = server(&clock).await;
    for window in 0..3 {
        for kind in ["direct", "keyed"] {
            // At the end of a period all but the sliding window are as new.
            for name in ["fixed", "log", "token", "leaky"] {
                assert_eq!(passed(server, &format!("/{name}/{kind}")).await, 2, "{name}, {kind}, window {window}");
            }
        }
        clock.advance(secs(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_than_the_bound_in_between() {
    let clock = ManualClock::new();
    let server = server(&clock).await;
    // The most that any 5 seconds may admit: see the table of algorithms.
    for (name, bound) in [("fixed", 4), ("log", 2), ("sliding", 3), ("token", 3), ("leaky", 3)] {
        let mut admitted = Vec::new();
        for _ in 0..5 {
            admitted.push(passed(server, &format!("/{name}/keyed")).await);
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
