//! Booking ahead and cancelling, and waiting in line where there is no need to.
//!
//! | case | what |
//! | --- | --- |
//! | `reserve/commit` | a booking that is kept, beside a check |
//! | `reserve/cancel` | a booking that is put back, beside a check and a refund |
//! | `reserve/wait` | a future that is ready at once, polled once |
//!
//! The peers can wait, but not book.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tollgate::{Limiter, Line, RateLimiter, Reserve, Timer, TokenBucket};

use super::Case;
use crate::{
    quota::Quota,
    rounds::Workload,
    subject::{Lane, whole},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("reserve/commit", 1, 1, || {
            let limiter = bucket();
            of(vec![
                Lane::new("tollgate", move |()| {
                    let booking = whole(Arc::clone(&limiter).reserve(1, Duration::ZERO));
                    booking.map(|booking| booking.commit()).is_ok()
                }),
                check(),
            ])
        }),
        Case::new("reserve/cancel", 1, 1, || {
            let (limiter, refunded) = (bucket(), bucket());
            of(vec![
                Lane::new("tollgate", move |()| whole(Arc::clone(&limiter).reserve(1, Duration::ZERO)).is_ok()),
                Lane::new("tollgate (check and refund)", move |()| {
                    let passes = whole(refunded.check()).is_ok();
                    refunded.refund(1);
                    passes
                }),
            ])
        }),
        Case::new("reserve/wait", 1, 1, || {
            let line = Line::new(bucket(), 100);
            let governor = governor::RateLimiter::direct(Quota::AMPLE.governor());
            let leaky_bucket = Quota::AMPLE.leaky_bucket();
            of(vec![
                Lane::new("tollgate", move |()| at_once(line.wait(1, Duration::MAX, Never)).is_some_and(|w| w.is_ok())),
                check(),
                Lane::new("governor", move |()| at_once(governor.until_ready()).is_some()),
                Lane::new("leaky-bucket", move |()| at_once(leaky_bucket.acquire(1)).is_some()),
            ])
        }),
    ]
}

fn bucket() -> Arc<RateLimiter<TokenBucket>> {
    Arc::new(RateLimiter::new(TokenBucket::new(Quota::AMPLE.tollgate()).expect("a quota")))
}

fn check() -> Lane<()> {
    let limiter = bucket();
    Lane::new("tollgate (check)", move |()| whole(limiter.check()).is_ok())
}

fn of(lanes: Vec<Lane<()>>) -> Workload<()> {
    let draw = |count| vec![(); count];
    Workload { lanes, draw: Box::new(draw), expected: Some(true), decisions: 1, audit: None }
}

/// What a future has to say when it is polled once.
#[inline(always)]
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(whole(output)),
        Poll::Pending => None,
    }
}

/// A timer that is not needed.
struct Never;

impl Timer for Never {
    type Sleep = std::future::Pending<()>;

    fn sleep(&self, _: Duration) -> Self::Sleep {
        std::future::pending()
    }
}
