//! The service that an [`ApiKeyLayer`](super::ApiKeyLayer) makes of another.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tollgate::keys::{Attempt, KeyStore, Refusal};
use tower_service::Service;

use super::{
    Granted,
    layer::Asks,
    observe,
    presented::{mark_sensitive, presented},
    refused,
};
use crate::{AnswerBody, RequestHead};

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
    /// What the gate says to a request, or the answer to one that may not pass.
    #[expect(clippy::result_large_err, reason = "the answer is on its way out, and not passed on for long")]
    fn decide(&self, request: &RequestHead<'_>) -> Result<Granted<S::Meta>, Response<Bytes>> {
        let from = (self.from)(request).map_err(|error| refused::unidentified(&error))?;
        let attempt = Attempt {
            presented: presented(request.headers, &self.header),
            from,
            scopes: &self.scopes,
            cost: self.cost.as_ref().map_or(1, |cost| cost(request)),
            now: (self.now)(),
        };
        match self.gate.check(&attempt) {
            Ok(grant) => {
                observe::allowed();
                Ok(Granted::new(grant))
            }
            Err(refusal) => Err(self.answer(&refusal)),
        }
    }

    #[cold]
    fn answer(&self, refusal: &Refusal<S::Error>) -> Response<Bytes> {
        observe::refused(observe::reason(refusal));
        let status = self.status.as_ref().map(|status| status(refusal));
        refused::answer(refusal, status, &self.scopes)
    }
}

impl<Inner, S, B, R> Service<Request<B>> for ApiKeyService<Inner, S>
where
    Inner: Service<Request<B>, Response = Response<R>>,
    S: KeyStore,
    S::Meta: Send + Sync + 'static,
{
    type Response = Response<AnswerBody<R>>;
    type Error = Inner::Error;
    type Future = ApiKeyFuture<Inner::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let kind = match self.asks.decide(&RequestHead::from(&request)) {
            Ok(granted) => {
                mark_sensitive(request.headers_mut(), &self.asks.header);
                request.extensions_mut().insert(granted);
                // The service that is called is the one that said it is ready.
                Kind::Passed { response: self.inner.call(request) }
            }
            Err(answer) => Kind::Refused { answer: Some(answer) },
        };
        ApiKeyFuture { kind }
    }
}

pin_project! {
    /// The response of a service behind an [`ApiKeyLayer`](super::ApiKeyLayer), or the refusal.
    pub struct ApiKeyFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<F> {
        Passed { #[pin] response: F },
        Refused { answer: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for ApiKeyFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<AnswerBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            Projected::Passed { response } => {
                let response = ready!(response.poll(context))?;
                Poll::Ready(Ok(response.map(AnswerBody::inner)))
            }
            Projected::Refused { answer } => {
                let answer = answer.take().expect("a future is not polled once it has answered");
                Poll::Ready(Ok(answer.map(AnswerBody::answer)))
            }
        }
    }
}

impl<F> fmt::Debug for ApiKeyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyFuture").finish_non_exhaustive()
    }
}

impl<Inner: Clone, S: KeyStore> Clone for ApiKeyService<Inner, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), asks: Arc::clone(&self.asks) }
    }
}

impl<Inner: fmt::Debug, S: KeyStore> fmt::Debug for ApiKeyService<Inner, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyService")
            .field("scopes", &self.asks.scopes)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
