//! One limiter, one thread: every algorithm, admitted and refused, by the default clock and at a given time.
//!
//! | case | clock |
//! | --- | --- |
//! | `direct/<algorithm>/<answer>` | each crate's default; second rows by its coarse one |
//! | `direct/<algorithm>/<answer>/given_time` | none, where a limiter can do without |
//! | `direct/token_bucket/<answer>/coarse` | a thread's, told once a millisecond; governor's default beside it |

use governor::clock::DefaultClock;
use rate_net::Algorithm as RateNet;
use tollgate::{
    Algorithm, FixedWindow, LeakyBucket, MonotonicClock, QuotaError, SlidingLog, SlidingWindow, TokenBucket,
};

use super::Case;
use crate::{
    clocks,
    direct::{self, Moment},
    quota::Quota,
    rounds::{Audit, Workload},
    subject::Lane,
};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(token_bucket());
    cases.extend(algorithm("leaky_bucket", LeakyBucket::new, RateNet::LeakyBucket, Quota::AMPLE, Quota::SCARCE));
    cases.extend(algorithm("fixed_window", FixedWindow::new, RateNet::FixedWindow, Quota::AMPLE_WINDOW, Quota::SCARCE));
    cases.extend(algorithm(
        "sliding_window",
        SlidingWindow::new,
        RateNet::SlidingWindowCounter,
        Quota::AMPLE_WINDOW,
        Quota::SCARCE,
    ));
    for (name, limit) in [("sliding_log", 1_000), ("sliding_log_10", 10), ("sliding_log_50k", 50_000)] {
        let (ample, scarce) = (Quota::ample_log(limit), Quota::scarce_log(limit));
        cases.extend(algorithm(name, SlidingLog::new, RateNet::SlidingWindowLog, ample, scarce));
    }
    cases
}

/// What a case answers, and the quota that makes it.
#[derive(Clone, Copy)]
enum Answer {
    Allow(Quota),
    Deny(Quota),
}

impl Answer {
    fn name(self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(_) => "deny",
        }
    }

    fn is_allowed(self) -> bool {
        matches!(self, Self::Allow(_))
    }

    fn quota(self) -> Quota {
        let (Self::Allow(quota) | Self::Deny(quota)) = self;
        quota
    }

    fn workload<K: 'static>(self, lanes: Vec<Lane<K>>, mut nth: impl FnMut() -> K + 'static) -> Workload<K> {
        let audit = match self {
            Self::Allow(_) => None,
            Self::Deny(quota) => Some(Audit { keys: vec![nth()], limit: quota.limit.into() }),
        };
        let draw = move |count| (0..count).map(|_| nth()).collect();
        Workload { lanes, draw: Box::new(draw), expected: Some(self.is_allowed()), decisions: 1, audit }
    }

    fn clocked(self, lanes: Vec<Lane<()>>) -> Workload<()> {
        self.workload(lanes, || ())
    }

    /// Ten nanoseconds after one another.
    fn at_given_time(self, lanes: Vec<Lane<Moment>>) -> Workload<Moment> {
        let mut nanos = 0;
        self.workload(lanes, move || {
            nanos += 10;
            Moment::from_nanos(nanos)
        })
    }
}

fn token_bucket() -> Vec<Case> {
    let mut cases = Vec::new();
    for answer in [Answer::Allow(Quota::AMPLE), Answer::Deny(Quota::SCARCE)] {
        let (name, quota) = (answer.name(), answer.quota());
        let bucket = move || TokenBucket::new(quota.tollgate()).expect("a quota");
        cases.push(Case::new(format!("direct/token_bucket/{name}"), 1, 1, move || {
            let mut lanes = vec![
                direct::tollgate("tollgate", bucket(), MonotonicClock::new()),
                direct::tollgate_bare("tollgate (bare answer)", bucket(), MonotonicClock::new()),
                direct::clock("clock", answer.is_allowed()),
                direct::governor("governor", quota, DefaultClock::default()),
                direct::governor("governor (upkeep clock)", quota, clocks::governor()),
                direct::rate_net("rate-net", RateNet::TokenBucket, quota, clock_lib::SystemClock::new()),
                direct::rate_net("rate-net (coarse clock)", RateNet::TokenBucket, quota, clocks::rate_net()),
                direct::ratelimit("ratelimit", quota),
                direct::leaky_bucket("leaky-bucket", quota),
            ];
            if !answer.is_allowed() {
                lanes.push(direct::governor_with_wait("governor (with wait)", quota));
            }
            answer.clocked(lanes)
        }));
        cases.push(Case::new(format!("direct/token_bucket/{name}/coarse"), 1, 1, move || {
            answer.clocked(vec![
                direct::tollgate("tollgate", bucket(), clocks::tollgate()),
                direct::tollgate_bare("tollgate (bare answer)", bucket(), clocks::tollgate()),
                direct::cas("cas", answer.is_allowed()),
                direct::governor("governor", quota, DefaultClock::default()),
                direct::governor("governor (upkeep clock)", quota, clocks::governor()),
                direct::rate_net("rate-net (coarse clock)", RateNet::TokenBucket, quota, clocks::rate_net()),
            ])
        }));
        cases.push(Case::new(format!("direct/token_bucket/{name}/given_time"), 1, 1, move || {
            answer.at_given_time(vec![
                direct::tollgate_at("tollgate", bucket()),
                direct::tollgate_bare_at("tollgate (bare answer)", bucket()),
                direct::cas("cas", answer.is_allowed()),
                direct::governor("governor", quota, DefaultClock::default()),
                direct::rate_net_at("rate-net", quota),
            ])
        }));
    }
    cases
}

/// An algorithm that only rate-net has too, beside tollgate's token bucket.
fn algorithm<A: Algorithm + 'static>(
    algorithm: &'static str,
    new: fn(tollgate::Quota) -> Result<A, QuotaError>,
    rate_net: RateNet,
    ample: Quota,
    scarce: Quota,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for answer in [Answer::Allow(ample), Answer::Deny(scarce)] {
        let (name, quota) = (answer.name(), answer.quota());
        let rule = move || new(quota.tollgate()).expect("a quota");
        let bucket = move || TokenBucket::new(quota.tollgate()).expect("a quota");
        cases.push(Case::new(format!("direct/{algorithm}/{name}"), 1, 1, move || {
            let mut lanes = vec![
                direct::tollgate("tollgate", rule(), MonotonicClock::new()),
                direct::tollgate_bare("tollgate (bare answer)", rule(), MonotonicClock::new()),
                direct::tollgate("tollgate (token bucket)", bucket(), MonotonicClock::new()),
                direct::rate_net("rate-net", rate_net, quota, clock_lib::SystemClock::new()),
            ];
            // A log that has seen more than its limit between two ticks of a coarse clock is right to refuse.
            if rate_net != RateNet::SlidingWindowLog {
                lanes.push(direct::rate_net("rate-net (coarse clock)", rate_net, quota, clocks::rate_net()));
            }
            if rate_net == RateNet::LeakyBucket {
                lanes.push(direct::leaky_bucket("leaky-bucket", quota));
            }
            answer.clocked(lanes)
        }));
        cases.push(Case::new(format!("direct/{algorithm}/{name}/given_time"), 1, 1, move || {
            answer.at_given_time(vec![
                direct::tollgate_at("tollgate", rule()),
                direct::tollgate_bare_at("tollgate (bare answer)", rule()),
                direct::tollgate_at("tollgate (token bucket)", bucket()),
            ])
        }));
    }
    cases
}
