//! A request counted as whose key it came with.

use std::{fmt, marker::PhantomData, sync::Arc};

use tollgate::keys::KeyId;

use super::Granted;
use crate::{
    RequestHead,
    identity::{Identity, Unidentified},
};

/// The owner of the key that a request came with: all of their keys are counted together.
///
/// It is known behind an [`ApiKeyLayer`](crate::ApiKeyLayer), whose store keeps an `M` with each key. In front of one, a
/// request has not this identity. Mind the order: of axum's `layer`s, the one that is added last is in front.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::{Router, routing::get};
/// use tollgate::{KeyedLimiter, Quota, TokenBucket};
/// use tollgate_tower::{ApiKeyLayer, KeyOwner, Policy, RateLimitLayer, identity::ClientAddress};
/// # use tollgate::keys::{Digester, Gate, Keyring, MemoryStore};
/// # let gate = Arc::new(Gate::new(Keyring::new(Digester::plain(), MemoryStore::<()>::new())));
///
/// let bucket = TokenBucket::new(Quota::per_minute(100))?;
/// let owners = KeyedLimiter::<Arc<str>, _>::with_capacity(bucket, 10_000);
/// let limits = RateLimitLayer::new([Policy::keyed("owner", KeyOwner::new(), owners)?])?;
/// let keys = ApiKeyLayer::new(gate, ClientAddress::peer());
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(limits).layer(keys);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// use http::Request;
/// use tollgate_tower::{KeyOwner, RequestHead, identity::Identity};
///
/// let request = Request::new(());
/// let unidentified = KeyOwner::new().key(&RequestHead::from(&request)).unwrap_err();
/// assert_eq!(unidentified.status(), 500); // a mistake of the program: who is asking was not found out yet
/// ```
pub struct KeyOwner<M = ()>(PhantomData<fn() -> M>);

/// The key that a request came with and its rotations, all of them together.
///
/// It is known behind an [`ApiKeyLayer`](crate::ApiKeyLayer), whose store keeps an `M` with each key. In front of one, a
/// request has not this identity.
pub struct KeyFamily<M = ()>(PhantomData<fn() -> M>);

macro_rules! identity_of_a_key {
    ($name:ident, $what:literal, $key:ty, $of:expr) => {
        impl $name {
            /// Where the store keeps nothing else with each key.
            #[must_use]
            pub const fn new() -> Self {
                Self(PhantomData)
            }
        }

        impl<M> $name<M> {
            /// Where the store keeps an `M` with each key.
            #[must_use]
            pub const fn with_meta() -> Self {
                Self(PhantomData)
            }
        }

        impl<M: Send + Sync + 'static> Identity for $name<M> {
            type Key = $key;

            fn key(&self, request: &RequestHead<'_>) -> Result<$key, Unidentified> {
                let granted: Option<&Granted<M>> = request.extensions.get();
                granted.map($of).ok_or_else(|| Unidentified::unknown($what))
            }
        }

        impl<M> Clone for $name<M> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<M> Copy for $name<M> {}

        impl<M> Default for $name<M> {
            fn default() -> Self {
                Self(PhantomData)
            }
        }

        impl<M> fmt::Debug for $name<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

identity_of_a_key!(KeyOwner, "key's owner", Arc<str>, |granted| Arc::clone(&granted.record.owner));
identity_of_a_key!(KeyFamily, "key's family", KeyId, |granted| granted.record.family);
