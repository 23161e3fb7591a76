//! Who is counted: each choice, and what clients try.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{Extension, Router, routing::get as route};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Empty;
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use tollgate::{
    IpKey,
    keys::{Digester, Gate, Keyring, MemoryStore, NewKey, Prefix, UnixTime},
};
use tollgate_tower::{
    ApiKeyLayer, Identity, KeyFamily, KeyOwner, RequestHead,
    identity::{
        ClientAddress, Header, MatchedRoute, PeerAddr, RequestMethod, RouteTemplate, TrustedProxies, Unidentified, Via,
        by,
    },
};

#[path = "../raw/mod.rs"]
mod raw;

use crate::support::*;

const TENANT: HeaderName = HeaderName::from_static("x-tenant");

fn behind(via: Via) -> TrustedProxies {
    TrustedProxies::new(via).network("10.0.0.0/8".parse().unwrap())
}

/// The client's address, or the status of its absence.
fn client(proxies: &TrustedProxies, from: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
    let request = request(from, headers);
    let address = ClientAddress::behind(proxies.clone()).address(&RequestHead::from(&request));
    address.map(|address| address.to_string()).map_err(|error| error.status().as_u16())
}

#[tokio::test]
async fn clients_are_told_apart_by_their_address() {
    let server = serve(Router::new().route("/", route(async || "ok")).layer(layer([per_client(2)]))).await;
    let from = |address: [u8; 4]| {
        let client = reqwest::Client::builder().local_address(IpAddr::from(address)).build().unwrap();
        move || send(client.get(format!("http://{server}/")))
    };
    let (one, other) = (from([127, 0, 0, 1]), from([127, 0, 0, 2]));
    for expected in [200, 200, 429] {
        assert_eq!(one().await.status, expected);
    }
    assert_eq!(other().await.list("ratelimit")[0].params["r"], "1");
}

#[tokio::test]
async fn an_ipv6_client_is_its_network() {
    let limits = layer([keyed("client", ClientAddress::peer(), 1)]);
    assert_eq!(through(&limits, request("2001:db8::1", &[])).await.status, 200);
    assert_eq!(through(&limits, request("2001:db8::ffff", &[])).await.status, 429);
    assert_eq!(through(&limits, request("2001:db8:0:1::1", &[])).await.status, 200);
    assert_eq!(through(&limits, request("192.0.2.1", &[])).await.status, 200);
    assert_eq!(through(&limits, request("::ffff:192.0.2.1", &[])).await.status, 429);

    let limits = layer([keyed("client", ClientAddress::peer().ipv6_prefix(48), 1)]);
    assert_eq!(through(&limits, request("2001:db8::1", &[])).await.status, 200);
    assert_eq!(through(&limits, request("2001:db8:0:1::1", &[])).await.status, 429);
}

#[tokio::test]
async fn behind_a_proxy_what_the_client_writes_changes_nothing() {
    let proxies = TrustedProxies::new(Via::XForwardedFor).network("127.0.0.1/32".parse().unwrap());
    let limits = layer([keyed("client", ClientAddress::behind(proxies), 3)]);
    let server = serve(Router::new().route("/", route(async || "ok")).layer(limits)).await;
    let forged = [&b"6.6.6.1"[..], b"6.6.6.2, 6.6.6.3", b"\xff\xfe", b"", b",,,", &[b'x'; 10_000]];
    let mut passed = 0;
    for forged in forged {
        let line = [forged, b", 192.0.2.1"].concat();
        // The client's line and the proxy's may be one, or two.
        for request in [
            raw::Request::get("/").header("x-forwarded-for", &line),
            raw::Request::get("/").header("x-forwarded-for", forged).header("X-Forwarded-For", "192.0.2.1"),
        ] {
            let status = tokio::task::spawn_blocking(move || request.send(server).status).await.unwrap();
            passed += usize::from(status == 200);
            assert!(matches!(status, 200 | 429), "{forged:?} is answered with {status}");
        }
    }
    assert_eq!(passed, 3, "a client has made itself another");
}

#[tokio::test]
async fn who_is_no_proxy_is_not_believed() {
    let limits = layer([keyed("client", ClientAddress::behind(behind(Via::XForwardedFor)), 2)]);
    let server = serve(Router::new().route("/", route(async || "ok")).layer(limits)).await;
    for (forged, expected) in [("10.0.0.1", 200), ("6.6.6.6", 200), ("6.6.6.7", 429)] {
        let request = reqwest::Client::new().get(format!("http://{server}/")).header("x-forwarded-for", forged);
        assert_eq!(send(request).await.status, expected, "{forged}");
    }
}

#[test]
fn addresses_are_read_from_the_right_as_far_as_is_trusted() {
    let one = behind(Via::XForwardedFor);
    let two = one.clone().hops(2);
    let (proxy, inner) = ("10.0.0.7", "10.0.0.8");
    let line = |text: &'static str| [("x-forwarded-for", text)];
    // Not trusted: the peer, whatever it says.
    assert_eq!(client(&two, "192.0.2.9", &line("192.0.2.1")), Ok("192.0.2.9".into()));
    assert_eq!(client(&one, proxy, &line("6.6.6.6, 192.0.2.1")), Ok("192.0.2.1".into()));
    assert_eq!(client(&two, proxy, &line("6.6.6.6, 192.0.2.1, 10.0.0.8")), Ok("192.0.2.1".into()));
    // The inner proxy was called directly, by one who is none.
    assert_eq!(client(&two, proxy, &line("10.0.0.8, 192.0.2.1")), Ok("192.0.2.1".into()));
    // No further than there are proxies, even if that one is trusted too.
    assert_eq!(client(&one, proxy, &line("192.0.2.1, 10.0.0.8")), Ok(inner.into()));
    assert_eq!(client(&one, "::ffff:10.0.0.7", &line("192.0.2.1")), Ok("192.0.2.1".into()));
    assert_eq!(client(&one.clone().hops(0), proxy, &line("192.0.2.1")), Ok(proxy.into()));
    assert_eq!(client(&TrustedProxies::new(Via::XForwardedFor), proxy, &line("192.0.2.1")), Ok(proxy.into()));
    // The other header is the client's.
    assert_eq!(client(&one, proxy, &[("forwarded", "for=6.6.6.6")]), Err(400));
    assert_eq!(client(&behind(Via::Forwarded), proxy, &line("6.6.6.6")), Err(400));
    let forwarded = [("forwarded", r#"for=6.6.6.6, for="[2001:db8::1]:80";proto=https"#)];
    assert_eq!(client(&behind(Via::Forwarded), proxy, &forwarded), Ok("2001:db8::1".into()));
}

#[test]
fn a_proxy_that_tells_nothing_or_nonsense_leaves_no_identity() {
    for (via, name) in [(Via::XForwardedFor, "x-forwarded-for"), (Via::Forwarded, "forwarded")] {
        assert_eq!(client(&behind(via), "10.0.0.7", &[]), Err(400));
        let long = "x".repeat(1 << 20);
        for text in ["", " ", ",", "192.0.2.1,", "unknown", "for=unknown", "for=_hidden", "for=", "ümlaut", &long] {
            assert_eq!(client(&behind(via), "10.0.0.7", &[(name, text)]), Err(400), "{via:?}: {text:.20}");
        }
    }
    // Fewer than there are proxies.
    let two = behind(Via::XForwardedFor).hops(2);
    assert_eq!(client(&two, "10.0.0.7", &[("x-forwarded-for", "10.0.0.8")]), Err(400));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    // Whatever is left of what a proxy has added, quotes, commas and backslashes above all.
    #[test]
    fn the_left_changes_nothing(
        left in proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(&b"\",;=\\ \tfor[]:.19_"[..]), 1 => 0x80..=0xff_u8], 0..40),
        separate: bool,
        hops in 1..4_usize,
    ) {
        let chain = ["192.0.2.1", "10.0.0.1", "10.0.0.2"];
        for (via, name) in [(Via::XForwardedFor, "x-forwarded-for"), (Via::Forwarded, "forwarded")] {
            let told: Vec<String> = match via {
                Via::Forwarded => chain[..hops].iter().map(|address| {
                    format!(r#"for={address};host="a\", for=6.6.6.6;x=\"b,c""#)
                }).collect(),
                Via::XForwardedFor => chain[..hops].iter().map(|&address| address.to_owned()).collect(),
            };
            let told = told.join(", ");
            let mut request = request("10.0.0.7", &[]);
            let value = |text: &[u8]| HeaderValue::from_bytes(text).unwrap();
            if separate {
                request.headers_mut().append(name, value(&left));
                request.headers_mut().append(name, value(told.as_bytes()));
            } else {
                request.headers_mut().append(name, value(&[&left, &b","[..], told.as_bytes()].concat()));
            }
            let client = ClientAddress::behind(behind(via).hops(hops));
            let address = client.address(&RequestHead::from(&request));
            prop_assert_eq!(address, Ok("192.0.2.1".parse().unwrap()), "{:?}", via);
        }
    }

    // Whatever a proxy that is trusted sends, it is read, or refused.
    #[test]
    fn no_header_panics(text in "\\PC{0,40}|[\",;=\\\\ for\\[\\]:.0-9a-f]{0,60}", hops in 0..4_usize) {
        for (via, name) in [(Via::XForwardedFor, "x-forwarded-for"), (Via::Forwarded, "forwarded")] {
            let _ = client(&behind(via).hops(hops), "10.0.0.7", &[(name, &text)]);
        }
    }
}

#[tokio::test]
async fn a_header_counts_if_it_is_there_once() {
    let limits = layer([keyed("tenant", Header::new(TENANT), 1)]);
    let server = serve(Router::new().route("/", route(async || "ok")).layer(limits)).await;
    let status = async |lines: &[&[u8]]| {
        let request = lines.iter().fold(raw::Request::get("/"), |request, line| request.header("x-tenant", line));
        tokio::task::spawn_blocking(move || request.send(server).status).await.unwrap()
    };
    assert_eq!(status(&[b"acme"]).await, 200);
    assert_eq!(status(&[b"acme"]).await, 429);
    assert_eq!(status(&[b"other"]).await, 200);
    // Any bytes are a name.
    assert_eq!(status(&[b"\xc3\xbc\xff"]).await, 200);
    assert_eq!(status(&[b"\xc3\xbc\xff"]).await, 429);
    let malformed: [&[&[u8]]; 4] = [&[], &[b""], &[b"acme", b"acme"], &[b"", b"acme"]];
    for malformed in malformed {
        assert_eq!(status(malformed).await, 400, "{malformed:?}");
    }
    let huge = "x".repeat(1 << 20);
    let limits = layer([keyed("tenant", Header::new(TENANT), 1)]);
    assert_eq!(through(&limits, request("::1", &[("x-tenant", &huge)])).await.status, 200);
    assert_eq!(through(&limits, request("::1", &[("x-tenant", &huge)])).await.status, 429);
}

#[tokio::test]
async fn requests_without_identity_share_one_or_are_counted_otherwise() {
    let shared = layer([keyed("tenant", Header::new(TENANT).or_shared(HeaderValue::from_static("nobody")), 1)]);
    assert_eq!(through(&shared, request("::1", &[("x-tenant", "acme")])).await.status, 200);
    assert_eq!(through(&shared, request("::1", &[])).await.status, 200);
    assert_eq!(through(&shared, request("192.0.2.1", &[("x-tenant", "")])).await.status, 429, "they share one");

    let session = by(|request: &RequestHead<'_>| {
        let value = request.headers.get("x-session").ok_or_else(|| Unidentified::absent("session"))?;
        value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| Unidentified::malformed("session"))
    });
    let address = by(|request: &RequestHead<'_>| Ok(ClientAddress::peer().key(request)?.address()));
    let limits = layer([keyed("session", session.or(address), 1)]);
    for (from, session, expected) in [
        ("192.0.2.1", "2001:db8::1", 200),
        ("192.0.2.2", "2001:db8::1", 429),
        ("192.0.2.1", "nonsense", 200),
        ("192.0.2.1", "", 429),
        ("192.0.2.2", "", 200),
    ] {
        assert_eq!(through(&limits, request(from, &[("x-session", session)])).await.status, expected, "{session}");
    }
    let alone = layer([keyed("session", session, 1)]);
    let refused = through(&alone, request("::1", &[("x-session", "nonsense")])).await;
    assert_eq!(
        (refused.status, &refused.json()["detail"]),
        (400, &"the request has a malformed session, or more than one".into())
    );
}

#[tokio::test]
async fn a_combination_counts_each_pair_alone() {
    let limits = layer([keyed("both", (ClientAddress::peer(), Header::new(TENANT)), 1)]);
    let pairs = [("192.0.2.1", "a"), ("192.0.2.1", "b"), ("192.0.2.2", "a")];
    for expected in [200, 429] {
        for (from, tenant) in pairs {
            assert_eq!(through(&limits, request(from, &[("x-tenant", tenant)])).await.status, expected);
        }
    }
    assert_eq!(through(&limits, request("192.0.2.1", &[])).await.status, 400);
}

#[tokio::test]
async fn a_route_is_its_template_and_not_the_path() {
    let ok = async || "ok";
    let app = Router::new()
        .route("/items/{id}", route(ok).delete(ok))
        .route("/", route(ok))
        .route_layer(layer([keyed("route", (RequestMethod, MatchedRoute), 1)]));
    let server = serve(app).await;
    assert_eq!(get(server, "/items/1").await.status, 200);
    assert_eq!(get(server, "/items/2").await.status, 429, "each path has a quota of its own");
    assert_eq!(get(server, "/").await.status, 200);
    let delete = reqwest::Client::new().delete(format!("http://{server}/items/1"));
    assert_eq!(send(delete).await.status, 200);
    assert_eq!(get(server, "/nowhere").await.status, 404);
}

#[tokio::test]
async fn requests_for_no_route_are_refused_or_share_one() {
    let app = |limits| Router::new().route("/", route(async || "ok")).layer(layer([limits]));
    let server = serve(app(keyed("route", MatchedRoute, 1))).await;
    assert_eq!((get(server, "/").await.status, get(server, "/nowhere").await.status), (200, 400));
    let identity = MatchedRoute.or_shared(RouteTemplate::named("no route"));
    let server = serve(app(keyed("route", identity, 1))).await;
    let mut statuses = Vec::new();
    for path in ["/", "/nowhere", "/elsewhere"] {
        statuses.push(get(server, path).await.status);
    }
    assert_eq!(statuses, [200, 404, 429]);
}

#[tokio::test]
async fn all_keys_of_an_owner_and_all_rotations_of_a_key() {
    let mut generator = ChaCha20Rng::seed_from_u64(1);
    let keyring = Keyring::new(Digester::plain(), MemoryStore::new());
    let mut issue = || keyring.issue(NewKey::new(Prefix::literal("tg_test"), "acme"), &mut generator).unwrap();
    let [one, other] = [issue(), issue()];
    let rotated = keyring.rotate(&one.record.id, secs(3_600), UnixTime::now(), &mut generator).unwrap();
    let texts = [&one.key, &rotated.key, &other.key].map(|key| key.expose_secret().to_owned());

    let gate: Arc<Gate<_>> = Arc::new(Gate::new(keyring));
    for (policy, expected) in
        [(keyed("owner", KeyOwner::new(), 2), [200, 200, 429]), (keyed("family", KeyFamily::new(), 1), [200, 429, 200])]
    {
        let keys = ApiKeyLayer::new(Arc::clone(&gate), ClientAddress::peer());
        let server = serve(Router::new().route("/", route(async || "ok")).layer(layer([policy])).layer(keys)).await;
        for (text, expected) in texts.iter().zip(expected) {
            let request = reqwest::Client::new().get(format!("http://{server}/")).header("x-api-key", text);
            assert_eq!(send(request).await.status, expected);
        }
    }
    // In front of the layer that verifies, nobody has a key.
    let refused =
        through(&layer([keyed("owner", KeyOwner::new(), 1)]), request("::1", &[("x-api-key", &texts[0])])).await;
    assert_eq!(refused.status, 500);
}

#[tokio::test]
async fn the_address_of_a_server_without_axum() {
    let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let app =
        Router::new().route("/", route(async || "ok")).layer(layer([per_client(1)])).layer(Extension(PeerAddr(peer)));
    let request = Request::new(Empty::<bytes::Bytes>::new());
    let response = tower::ServiceExt::oneshot(app, request.map(axum::body::Body::new)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        IpKey::from(peer.ip()),
        ClientAddress::peer().key(&RequestHead::from(&self::request("192.0.2.1", &[]))).unwrap()
    );
}
