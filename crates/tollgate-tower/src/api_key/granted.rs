//! What a handler is told of the key that its request came with.

use std::{fmt, ops::Deref, sync::Arc};

use tollgate::keys::Grant;

/// The [`Grant`] of a request that has passed an [`ApiKeyLayer`](super::ApiKeyLayer), as an extension of the request.
///
/// With the feature `axum` it is an extractor too. `M` is what the store keeps with each key. A clone is a count.
///
/// ```
/// use tollgate_tower::Granted;
///
/// async fn whoami(granted: Granted) -> String {
///     format!("{}, tier {}", granted.record.owner, granted.record.tier)
/// }
/// ```
pub struct Granted<M = ()>(Arc<Grant<M>>);

impl<M> Granted<M> {
    pub(super) fn new(grant: Grant<M>) -> Self {
        Self(Arc::new(grant))
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
        Self(Arc::clone(&self.0))
    }
}

impl<M: fmt::Debug> fmt::Debug for Granted<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
