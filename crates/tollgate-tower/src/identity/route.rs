//! What a request asks for.

use http::Method;

use super::{Identity, Unidentified};
use crate::RequestHead;

/// The method of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestMethod;

impl Identity for RequestMethod {
    type Key = Method;

    fn key(&self, request: &RequestHead<'_>) -> Result<Method, Unidentified> {
        Ok(request.method.clone())
    }
}

/// The template of the route that a request is for, as axum has matched it: `/items/{id}`, not `/items/17`, or a client
/// could make a new key of each number.
///
/// It is of all methods, and of all clients: make a tuple of it with [`RequestMethod`], or with a
/// [`ClientAddress`](super::ClientAddress). A request for which there is no route has not this identity: put the layer on
/// routes with axum's `Router::route_layer`, or let such requests [share a key](Identity::or_shared).
///
/// ```
/// use axum::{Router, routing::get};
/// use tollgate::{KeyedLimiter, Quota, TokenBucket};
/// use tollgate_tower::{Policy, RateLimitLayer, identity::{MatchedRoute, RequestMethod, RouteTemplate}};
/// use http::Method;
///
/// let bucket = TokenBucket::new(Quota::per_second(100))?;
/// let routes = KeyedLimiter::<(Method, RouteTemplate), _>::with_capacity(bucket, 100);
/// let policy = Policy::keyed("route", (RequestMethod, MatchedRoute), routes)?;
/// let app: Router = Router::new()
///     .route("/items/{id}", get(async || "an item"))
///     .route_layer(RateLimitLayer::new([policy])?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MatchedRoute;

/// The template of a route: the key of a [`MatchedRoute`].
#[cfg(feature = "axum")]
#[derive(Clone, Debug)]
pub struct RouteTemplate(Template);

#[cfg(feature = "axum")]
#[derive(Clone, Debug)]
enum Template {
    Matched(axum::extract::MatchedPath),
    Named(&'static str),
}

#[cfg(feature = "axum")]
impl RouteTemplate {
    /// A key for requests that [share one](Identity::or_shared): a name that no route has, as it does not begin with `/`.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self(Template::Named(name))
    }

    /// The template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Template::Matched(path) => path.as_str(),
            Template::Named(name) => name,
        }
    }
}

#[cfg(feature = "axum")]
impl std::hash::Hash for RouteTemplate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

#[cfg(feature = "axum")]
impl Identity for MatchedRoute {
    type Key = RouteTemplate;

    fn key(&self, request: &RequestHead<'_>) -> Result<RouteTemplate, Unidentified> {
        let matched = request.extensions.get().cloned();
        matched.map(|path| RouteTemplate(Template::Matched(path))).ok_or_else(|| Unidentified::absent("route"))
    }
}
