//! Who a request is counted as.
//!
//! | identity | key | who it is | spoofed by |
//! | --- | --- | --- | --- |
//! | [`ClientAddress::peer`] | [`IpKey`](tollgate::IpKey) | the other end of the connection | nobody |
//! | [`ClientAddress::behind`] | [`IpKey`](tollgate::IpKey) | the client of your proxies | nobody, if the proxies are as said |
//! | [`Header`] | [`HeaderValue`](http::HeaderValue) | what a header says | anybody, unless a proxy sets it |
//! | [`RequestMethod`] | [`Method`](http::Method) | nobody: what is asked for | |
//! | `MatchedRoute` (feature `axum`) | `RouteTemplate` | the same | |
//! | `KeyOwner`, `KeyFamily` (feature `keys`) | `Arc<str>`, `KeyId` | whose key was verified | nobody |
//! | [`by`] | any | what a closure says | as the closure |
//!
//! A tuple of identities is an identity: each combination of their keys is counted alone. A request without the identity is
//! refused, or counted as a key that you name with [`or_shared`](Identity::or_shared); never is it let through uncounted.

mod address;
mod combined;
mod forwarded;
mod header;
mod route;
mod unidentified;

use std::hash::Hash;

pub use {
    address::{ClientAddress, PeerAddr},
    combined::{By, Or, OrShared, by},
    forwarded::{TrustedProxies, Via},
    header::Header,
    route::RequestMethod,
    unidentified::Unidentified,
};

#[cfg(feature = "axum")]
pub use route::{MatchedRoute, RouteTemplate};

use crate::RequestHead;

/// Says who a request is counted as.
///
/// ```
/// use http::Request;
/// use tollgate_tower::{RequestHead, identity::{Header, Identity, Unidentified, by}};
///
/// const TENANTS: [&str; 2] = ["acme", "globex"];
///
/// // The first part of the path, if there is such a tenant.
/// let tenant = by(|request| {
///     let told = request.uri.path().split('/').nth(1);
///     TENANTS.into_iter().find(|&known| Some(known) == told).ok_or_else(|| Unidentified::absent("known tenant"))
/// });
/// let request = Request::get("/acme/orders").body(())?;
/// assert_eq!(tenant.key(&RequestHead::from(&request)), Ok("acme"));
/// # Ok::<(), http::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who a request is counted as",
    note = "a closure does if it is wrapped: `identity::by(|request| ..)`"
)]
pub trait Identity: Send + Sync + 'static {
    /// What is counted: the key of a [`KeyedLimiter`](tollgate::KeyedLimiter).
    type Key: Hash;

    /// The key that `request` is counted as.
    ///
    /// # Errors
    ///
    /// [`Unidentified`] if it has none; it is refused then.
    fn key(&self, request: &RequestHead<'_>) -> Result<Self::Key, Unidentified>;

    /// The same, but requests without this identity are all counted as `key`: they share what it is given.
    fn or_shared(self, key: Self::Key) -> OrShared<Self, Self::Key>
    where
        Self: Sized,
        Self::Key: Clone + Send + Sync + 'static,
    {
        OrShared::new(self, key)
    }

    /// The same, but requests without this identity are counted as `other` says.
    fn or<I>(self, other: I) -> Or<Self, I>
    where
        Self: Sized,
        I: Identity<Key = Self::Key>,
    {
        Or::new(self, other)
    }
}
