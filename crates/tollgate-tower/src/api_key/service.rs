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
use tollgate::keys::{Attempt, KeyStore, Refusal, UnixTime};
use tower_service::Service;

use super::{
    Granted,
    layer::Asks,
    observe,
    presented::{mark_sensitive, presented},
    refused,
    told::Told,
};
use crate::{AnswerBody, Dialect, RequestHead, grpc};

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

/// What a request was granted, and what its response is to say of the limits.
type Passed<M> = (Granted<M>, Option<Told>);

impl<S: KeyStore> Asks<S>
where
    S::Meta: Send + Sync + 'static,
{
    /// What the gate says to a request, or the answer to one that may not pass.
    #[expect(clippy::result_large_err, reason = "the answer is on its way out, and not passed on for long")]
    fn decide(&self, request: &RequestHead<'_>) -> Result<Passed<S::Meta>, Response<Bytes>> {
        let from = (self.from)(request).map_err(|error| refused::unidentified(request, &error))?;
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
                let told = Told::allowed(&self.named, &grant.limits, attempt.now, self.dialect);
                Ok((Granted::new(grant), told))
            }
            Err(refusal) => Err(self.answer(request, &refusal, attempt.now)),
        }
    }

    #[cold]
    fn answer(&self, request: &RequestHead<'_>, refusal: &Refusal<S::Error>, now: UnixTime) -> Response<Bytes> {
        observe::refused(refusal);
        if grpc::is_call(request) {
            return refused::grpc_answer(refusal);
        }
        let limited = match refusal {
            Refusal::Limited { limit, denied } => self.named.get(*limit).map(|named| (named, denied)),
            _ => None,
        };
        let asked = self.status.as_ref().map(|status| status(refusal));
        let mut response = refused::answer(refusal, asked, &self.scopes, limited.map(|(named, _)| named.name.plain()));
        if let Some((named, denied)) = limited {
            Told::denied(named, denied, now).write(self.dialect, response.headers_mut());
        }
        response
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
            Ok((granted, told)) => {
                mark_sensitive(request.headers_mut(), &self.asks.header);
                request.extensions_mut().insert(granted);
                // The service that is called is the one that said it is ready.
                Kind::Passed { response: self.inner.call(request), told: told.map(|told| (told, self.asks.dialect)) }
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
        Passed { #[pin] response: F, told: Option<(Told, Dialect)> },
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
            Projected::Passed { response, told } => {
                let mut response = ready!(response.poll(context))?;
                if let Some((told, dialect)) = told {
                    told.write(*dialect, response.headers_mut());
                }
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
