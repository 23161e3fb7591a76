//! Identities made of others, and of closures.

use std::{fmt, hash::Hash};

use super::{Identity, Unidentified};
use crate::RequestHead;

/// What a closure says: see [`by`].
#[derive(Clone, Copy)]
pub struct By<F>(F);

/// Counts a request as what `key` says, which is not borrowed from the request: a `String`, say, as the key of a
/// `KeyedLimiter<String, _>`.
pub const fn by<F, K>(key: F) -> By<F>
where
    F: Fn(&RequestHead<'_>) -> Result<K, Unidentified> + Send + Sync + 'static,
    K: Hash,
{
    By(key)
}

impl<F, K> Identity for By<F>
where
    F: Fn(&RequestHead<'_>) -> Result<K, Unidentified> + Send + Sync + 'static,
    K: Hash,
{
    type Key = K;

    fn key(&self, request: &RequestHead<'_>) -> Result<K, Unidentified> {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for By<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("By(..)")
    }
}

/// One identity, and a key for the requests that do not have it: see [`Identity::or_shared`].
#[derive(Clone, Copy, Debug)]
pub struct OrShared<I, K> {
    identity: I,
    shared: K,
}

impl<I, K> OrShared<I, K> {
    pub(super) const fn new(identity: I, shared: K) -> Self {
        Self { identity, shared }
    }
}

impl<I: Identity<Key = K>, K: Hash + Clone + Send + Sync + 'static> Identity for OrShared<I, K> {
    type Key = K;

    fn key(&self, request: &RequestHead<'_>) -> Result<K, Unidentified> {
        Ok(self.identity.key(request).unwrap_or_else(|_| self.shared.clone()))
    }
}

/// One identity, and another for the requests that do not have it: see [`Identity::or`].
#[derive(Clone, Copy, Debug)]
pub struct Or<I, J> {
    first: I,
    second: J,
}

impl<I, J> Or<I, J> {
    pub(super) const fn new(first: I, second: J) -> Self {
        Self { first, second }
    }
}

impl<I: Identity, J: Identity<Key = I::Key>> Identity for Or<I, J> {
    type Key = I::Key;

    fn key(&self, request: &RequestHead<'_>) -> Result<I::Key, Unidentified> {
        self.first.key(request).or_else(|_| self.second.key(request))
    }
}

macro_rules! tuple_of_identities {
    ($($identity:ident $index:tt),+) => {
        impl<$($identity: Identity),+> Identity for ($($identity,)+) {
            type Key = ($($identity::Key,)+);

            fn key(&self, request: &RequestHead<'_>) -> Result<Self::Key, Unidentified> {
                Ok(($(self.$index.key(request)?,)+))
            }
        }
    };
}

tuple_of_identities!(A 0, B 1);
tuple_of_identities!(A 0, B 1, C 2);
tuple_of_identities!(A 0, B 1, C 2, D 3);
