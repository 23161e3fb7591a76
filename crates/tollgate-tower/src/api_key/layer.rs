//! The layer: what it asks of a request, and how it answers.

use std::{fmt, sync::Arc};

use http::{HeaderName, StatusCode};
use tollgate::keys::{Gate, KeyStore, Refusal, Scope, UnixTime};
use tower_layer::Layer;

use super::ApiKeyService;

/// API keys in front of a service.
///
/// The key is the value of the header `X-API-Key`, or the bearer token of `Authorization`; in both, or in one of them
/// twice, it is refused. It is never looked for in the query string, which ends up in logs. Both headers are marked
/// sensitive, so that nobody behind the layer prints them by accident.
///
/// The layer is a handle: clones share the gate, and so do the layers that [`requires`](Self::requires) and the other
/// methods make of one, so that each route can have its own.
///
/// A look-up of the gate's store happens where other requests are waiting. It must not block for long: keep the records
/// in memory, or in front of the database.
pub struct ApiKeyLayer<S: KeyStore> {
    asks: Arc<Asks<S>>,
}

/// What a layer asks of each request, and how it answers.
pub(super) struct Asks<S: KeyStore> {
    pub(super) gate: Arc<Gate<S>>,
    pub(super) header: HeaderName,
    pub(super) scopes: Vec<Scope<'static>>,
    pub(super) status: StatusOf<S::Error>,
    pub(super) now: Arc<dyn Fn() -> UnixTime + Send + Sync>,
}

type StatusOf<E> = Arc<dyn Fn(&Refusal<E>) -> StatusCode + Send + Sync>;

impl<S: KeyStore> ApiKeyLayer<S> {
    /// The header that a key may be in, beside `Authorization`.
    pub const HEADER: HeaderName = HeaderName::from_static("x-api-key");

    /// Asks `gate` about each request.
    #[must_use]
    pub fn new(gate: Arc<Gate<S>>) -> Self
    where
        S::Error: 'static,
    {
        let asks = Asks {
            gate,
            header: Self::HEADER,
            scopes: Vec::new(),
            status: Arc::new(status_of),
            now: Arc::new(UnixTime::now),
        };
        Self { asks: Arc::new(asks) }
    }

    /// The same layer, but requests must have all of these scopes.
    #[must_use]
    pub fn requires(self, scopes: impl IntoIterator<Item = Scope<'static>>) -> Self {
        self.with(|asks| asks.scopes = scopes.into_iter().collect())
    }

    /// Answers a refusal with the status that `status` says of it, in place of [`Refusal::status`].
    ///
    /// A refusal is an error whatever it says: a status that is none of 4xx and 5xx is not used.
    #[must_use]
    pub fn status(self, status: impl Fn(&Refusal<S::Error>) -> StatusCode + Send + Sync + 'static) -> Self {
        self.with(|asks| asks.status = Arc::new(status))
    }

    fn with(mut self, change: impl FnOnce(&mut Asks<S>)) -> Self {
        change(Arc::make_mut(&mut self.asks));
        self
    }
}

/// The status that [`Refusal::status`] says.
fn status_of<E>(refusal: &Refusal<E>) -> StatusCode {
    StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN)
}

impl<S: KeyStore> Clone for ApiKeyLayer<S> {
    fn clone(&self) -> Self {
        Self { asks: Arc::clone(&self.asks) }
    }
}

impl<S: KeyStore> Clone for Asks<S> {
    fn clone(&self) -> Self {
        Self {
            gate: Arc::clone(&self.gate),
            header: self.header.clone(),
            scopes: self.scopes.clone(),
            status: Arc::clone(&self.status),
            now: Arc::clone(&self.now),
        }
    }
}

impl<S: KeyStore, Inner> Layer<Inner> for ApiKeyLayer<S> {
    type Service = ApiKeyService<Inner, S>;

    fn layer(&self, inner: Inner) -> Self::Service {
        ApiKeyService::new(inner, Arc::clone(&self.asks))
    }
}

impl<S: KeyStore> fmt::Debug for ApiKeyLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asks.fmt(f)
    }
}

impl<S: KeyStore> fmt::Debug for Asks<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayer").field("header", &self.header).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}
