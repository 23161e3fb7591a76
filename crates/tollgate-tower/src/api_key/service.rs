//! The service that an [`ApiKeyLayer`](super::ApiKeyLayer) makes of another.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tollgate::{IpKey, keys::{Attempt, KeyStore, Refusal}};
use tower_service::Service;

use super::{
    Granted,
    layer::Asks,
    presented::{mark_sensitive, presented},
    refused,
};

/// A service behind an [`ApiKeyLayer`](super::ApiKeyLayer).
pub struct ApiKeyService<Inner, S: KeyStore> {
    inner: Inner,
    asks: Arc<Asks<S>>,
}

impl<Inner, S: KeyStore> ApiKeyService<Inner, S> {
    pub(super) const fn new(inner: Inner, asks: Arc<Asks<S>>) -> Self {
        Self { inner, asks }
    }
}

impl<S: KeyStore> Asks<S>
where
    S::Meta: Send + Sync + 'static,
{
    /// Marks the key of a request, and asks the gate about it.
    fn decide<B>(&self, request: &mut Request<B>) -> Result<Granted<S::Meta>, Refusal<S::Error>> {
        mark_sensitive(request.headers_mut(), &self.header);
        let from = IpKey::from(std::net::Ipv4Addr::LOCALHOST);
        let presented = presented(request.headers(), &self.header);
        let attempt = Attempt::new(presented, from, (self.now)()).requires(&self.scopes);
        self.gate.check(&attempt).map(Granted::new)
    }
}

impl<Inner, S, B, R> Service<Request<B>> for ApiKeyService<Inner, S>
where
    Inner: Service<Request<B>, Response = Response<R>>,
    S: KeyStore,
    S::Meta: Send + Sync + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = Inner::Error;
    type Future = ApiKeyFuture<Inner::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.asks.decide(&mut request) {
            Ok(granted) => {
                request.extensions_mut().insert(granted);
                // The clone that was polled, and is ready, is this one.
                ApiKeyFuture::Passed { response: self.inner.call(request) }
            }
            Err(refusal) => {
                let response = refused::answer(&refusal, (self.asks.status)(&refusal));
                ApiKeyFuture::Refused { response: Some(response) }
            }
        }
    }
}

pin_project! {
    /// The response of a service behind an [`ApiKeyLayer`](super::ApiKeyLayer), or the refusal.
    #[project = Projected]
    pub enum ApiKeyFuture<F, R> {
        Passed { #[pin] response: F },
        Refused { response: Option<Response<R>> },
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for ApiKeyFuture<F, R> {
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Passed { response } => Poll::Ready(ready!(response.poll(context))),
            Projected::Refused { response } => Poll::Ready(Ok(response.take().expect("polled after it was ready"))),
        }
    }
}

impl<Inner: Clone, S: KeyStore> Clone for ApiKeyService<Inner, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), asks: Arc::clone(&self.asks) }
    }
}

impl<Inner: fmt::Debug, S: KeyStore> fmt::Debug for ApiKeyService<Inner, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService").field("asks", &self.asks).field("inner", &self.inner).finish()
    }
}
