//! The service: asks the rules of its layer, then the service behind.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{admission::Admission, layer::Rules};
use crate::{AnswerBody, RequestHead};

/// A service behind a [`RateLimitLayer`](super::RateLimitLayer).
///
/// It is ready when the service behind is. A request is decided upon when it is called, before the service behind is.
#[derive(Clone)]
pub struct RateLimitService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> RateLimitService<S> {
    pub(super) fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }

    /// The service behind.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<AnswerBody<R>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.rules.admit(&RequestHead::from(&request)) {
            Ok(admission) => {
                let rules = Arc::clone(&self.rules);
                let future = self.inner.call(request);
                RateLimitFuture { state: State::Passed { future, admission, rules: Some(rules) } }
            }
            Err(response) => RateLimitFuture { state: State::Refused { response: Some(response) } },
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for RateLimitService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitService").field("inner", &self.inner).field("rules", &self.rules).finish()
    }
}

pin_project! {
    /// The response of a [`RateLimitService`].
    pub struct RateLimitFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StatePinned]
    enum State<F> {
        Passed { #[pin] future: F, admission: Admission, rules: Option<Arc<Rules>> },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<AnswerBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project().state.project() {
            StatePinned::Passed { future, admission, rules } => {
                let mut response = ready!(future.poll(context))?;
                // Once: what is settled twice would be given back twice.
                if let Some(rules) = rules.take() {
                    rules.conclude(admission, &mut response);
                }
                response.map(AnswerBody::inner)
            }
            StatePinned::Refused { response } => {
                response.take().expect("polled after it was ready").map(AnswerBody::answer)
            }
        }))
    }
}

impl<F> fmt::Debug for RateLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}
