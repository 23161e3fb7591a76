//! What a handler is told of the key that its request came with.

use std::{fmt, ops::Deref};

use tollgate::keys::Grant;

/// The [`Grant`] of a request that has passed an [`ApiKeyLayer`](super::ApiKeyLayer), as an extension of the request.
///
/// With the feature `axum` it is an extractor too. `M` is what the store keeps with each key.
///
/// ```
/// use tollgate_tower::Granted;
///
/// async fn whoami(granted: Granted) -> String {
///     format!("{}, tier {}", granted.record.owner, granted.record.tier)
/// }
/// ```
pub struct Granted<M = ()>(Grant<M>);

impl<M> Granted<M> {
    pub(super) const fn new(grant: Grant<M>) -> Self {
        Self(grant)
    }
}

impl<M> Deref for Granted<M> {
    type Target = Grant<M>;

    fn deref(&self) -> &Grant<M> {
        &self.0
    }
}

impl<M> Clone for Granted<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: fmt::Debug> fmt::Debug for Granted<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
