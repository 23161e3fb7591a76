//! Limits by a clock that stands still, servers, and what they answer.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, time::Duration};

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::net::TcpListener;
use tollgate::{FixedWindow, KeyedLimiter, ManualClock, Quota, RateLimiter, TokenBucket};
use tollgate_tower::{
    Identity, Policy, RateLimitLayer,
    identity::{ClientAddress, PeerAddr},
};
use tower::{Layer, ServiceExt, service_fn};

/// The server of `app`, on a port of its own.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// One `GET` by a real client.
pub(crate) async fn get(server: SocketAddr, path: &str) -> Answer {
    send(reqwest::Client::new().get(format!("http://{server}{path}"))).await
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

/// A response, all of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header that is there once, or not at all.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// The items of a structured list, read by a parser of others.
    pub(crate) fn list(&self, name: &str) -> Vec<Item> {
        let text = self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        let list: sfv::List = sfv::Parser::new(text).parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let item = |entry: sfv::ListEntry| match entry {
            sfv::ListEntry::Item(sfv::Item { bare_item: sfv::BareItem::String(name), params }) => {
                let params = params.into_iter().map(|(name, value)| (name.as_str().to_owned(), shown(&value)));
                Item { name: name.as_str().to_owned(), params: params.collect() }
            }
            other => panic!("{other:?} is no string"),
        };
        list.into_iter().map(item).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn shown(value: &sfv::BareItem) -> String {
    match value {
        sfv::BareItem::Integer(number) => number.to_string(),
        sfv::BareItem::String(text) => text.as_str().to_owned(),
        other => panic!("{other:?} is neither a number nor a text"),
    }
}

/// A string of a structured list, with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) params: BTreeMap<String, String>,
}

/// As [`Answer::list`] has it.
pub(crate) fn item(name: &str, params: &[(&str, u64)]) -> Item {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
    Item { name: name.to_owned(), params: params.collect() }
}

pub(crate) fn global(name: &str, quota: Quota, clock: &ManualClock) -> Policy {
    Policy::global(name, RateLimiter::with_clock(TokenBucket::new(quota).unwrap(), clock.clone())).unwrap()
}

pub(crate) fn window(name: &str, quota: Quota, clock: &ManualClock) -> Policy {
    Policy::global(name, RateLimiter::with_clock(FixedWindow::new(quota).unwrap(), clock.clone())).unwrap()
}

/// `limit` a day for each key of `identity`.
pub(crate) fn keyed<I: Identity>(name: &str, identity: I, limit: u64) -> Policy
where
    I::Key: 'static,
{
    let bucket = TokenBucket::new(Quota::per_day(limit)).unwrap();
    let limiter = KeyedLimiter::<I::Key, _, _>::with_clock(bucket, 1_000, ManualClock::new());
    Policy::keyed(name, identity, limiter).unwrap()
}

pub(crate) fn per_client(limit: u64) -> Policy {
    keyed("client", ClientAddress::peer(), limit)
}

pub(crate) fn layer(policies: impl IntoIterator<Item = Policy>) -> RateLimitLayer {
    RateLimitLayer::new(policies).unwrap()
}

/// What `layer` in front of a service that answers everything with `ok` answers to `request`, without a connection.
pub(crate) async fn through(layer: &RateLimitLayer, request: Request<Empty<Bytes>>) -> Answer {
    let ok = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok"))));
    let (head, body) = layer.layer(ok).oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// A request from this address, with these headers.
pub(crate) fn request(from: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    request.extensions_mut().insert(PeerAddr(SocketAddr::new(from.parse().unwrap(), 4711)));
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
