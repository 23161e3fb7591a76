//! The limiters without keys, as subjects: a function a crate.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    NotUntil,
    clock::{Clock as _, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tollgate::{Algorithm, Clock, Limiter, ManualClock, RateLimiter, Timestamp};

use crate::{
    quota::Quota,
    subject::{Lane, whole},
};

/// A time that is handed in, in the forms that limiters take it in.
pub struct Moment {
    timestamp: Timestamp,
    since_start: Duration,
}

impl Moment {
    pub fn from_nanos(nanos: u64) -> Self {
        Self { timestamp: Timestamp::from_nanos(nanos), since_start: Duration::from_nanos(nanos) }
    }
}

pub fn tollgate<A, C>(name: &'static str, algorithm: A, clock: C) -> Lane<()>
where
    A: Algorithm + 'static,
    C: Clock + Send + Sync + 'static,
{
    let limiter = RateLimiter::with_clock(algorithm, clock);
    Lane::new(name, move |()| whole(limiter.check()).is_ok())
}

/// Of which only whether the request passes is looked at: what governor's answer says.
pub fn tollgate_bare<A, C>(name: &'static str, algorithm: A, clock: C) -> Lane<()>
where
    A: Algorithm + 'static,
    C: Clock + Send + Sync + 'static,
{
    let limiter = RateLimiter::with_clock(algorithm, clock);
    Lane::new(name, move |()| limiter.check().is_ok())
}

pub fn tollgate_at<A: Algorithm + 'static>(name: &'static str, algorithm: A) -> Lane<Moment> {
    let limiter = RateLimiter::with_clock(algorithm, ManualClock::new());
    Lane::new(name, move |moment: &Moment| whole(limiter.check_at(moment.timestamp)).is_ok())
}

pub fn tollgate_bare_at<A: Algorithm + 'static>(name: &'static str, algorithm: A) -> Lane<Moment> {
    let limiter = RateLimiter::with_clock(algorithm, ManualClock::new());
    Lane::new(name, move |moment: &Moment| limiter.check_at(moment.timestamp).is_ok())
}

type Governor<C> =
    governor::RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as governor::clock::Clock>::Instant>>;

pub fn governor<K, C>(name: &'static str, quota: Quota, clock: C) -> Lane<K>
where
    K: 'static,
    C: governor::clock::Clock + Send + Sync + 'static,
    C::Instant: Send + Sync,
{
    let limiter: Governor<C> = governor::RateLimiter::direct_with_clock(quota.governor(), clock);
    Lane::new(name, move |_: &K| whole(limiter.check()).is_ok())
}

/// Its refusal is bare: the wait is worked out when it is asked for, and that takes another reading of the clock.
pub fn governor_with_wait(name: &'static str, quota: Quota) -> Lane<()> {
    let clock = DefaultClock::default();
    let limiter: Governor<DefaultClock> = governor::RateLimiter::direct_with_clock(quota.governor(), clock.clone());
    let wait = move |refusal: NotUntil<_>| refusal.wait_time_from(clock.now());
    Lane::new(name, move |()| whole(limiter.check().map_err(&wait)).is_ok())
}

pub fn rate_net<C>(name: &'static str, algorithm: rate_net::Algorithm, quota: Quota, clock: C) -> Lane<()>
where
    C: clock_lib::Clock + Clone + Send + Sync + 'static,
{
    let limiter = rate_net::DirectLimiter::with_quota(quota.rate_net()).with_algorithm(algorithm).with_clock(clock);
    Lane::new(name, move |()| whole(limiter.check()).is_allow())
}

pub fn rate_net_at(name: &'static str, quota: Quota) -> Lane<Moment> {
    let limiter = rate_net::Gcra::new(quota.rate_net());
    Lane::new(name, move |moment: &Moment| whole(limiter.check_at(moment.since_start)).is_allow())
}

pub fn ratelimit(name: &'static str, quota: Quota) -> Lane<()> {
    let limiter = quota.ratelimit();
    Lane::new(name, move |()| whole(limiter.try_wait()).is_ok())
}

pub fn leaky_bucket(name: &'static str, quota: Quota) -> Lane<()> {
    let limiter = quota.leaky_bucket();
    Lane::new(name, move |()| whole(limiter.try_acquire(1)))
}

/// Not a limiter: a reading of the processor's counter, in nanoseconds. It answers `answer`.
pub fn clock(name: &'static str, answer: bool) -> Lane<()> {
    let clock = quanta::Clock::new();
    Lane::new(name, move |()| (whole(clock.delta_as_nanos(0, clock.raw())) > 0) == answer)
}

/// Not a limiter: a compare-and-swap loop on one word. It answers `answer`.
pub fn cas<K: 'static>(name: &'static str, answer: bool) -> Lane<K> {
    let word = AtomicU64::new(0);
    Lane::new(name, move |_: &K| {
        let mut current = word.load(Ordering::Relaxed);
        while let Err(found) = word.compare_exchange_weak(current, current + 1, Ordering::Relaxed, Ordering::Relaxed) {
            current = found;
        }
        answer
    })
}
