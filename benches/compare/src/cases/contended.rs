//! One limiter, two threads, as fast as they can.

use governor::clock::DefaultClock;
use rate_net::Algorithm as RateNet;
use tollgate::{MonotonicClock, TokenBucket};

use super::Case;
use crate::{
    clocks, direct,
    quota::Quota,
    rounds::{Audit, Workload},
};

const THREADS: usize = 2;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("contended/allow", THREADS, 1, || workload(Quota::AMPLE, None)),
        Case::new("contended/deny", THREADS, 1, || {
            workload(Quota::SCARCE, Some(Audit { keys: vec![()], limit: Quota::SCARCE.limit.into() }))
        }),
    ]
}

fn workload(quota: Quota, audit: Option<Audit<()>>) -> Workload<()> {
    let bucket = TokenBucket::new(quota.tollgate()).expect("a quota");
    let mut lanes = vec![
        direct::tollgate("tollgate", bucket, MonotonicClock::new()),
        direct::tollgate_bare("tollgate (bare answer)", bucket, MonotonicClock::new()),
        direct::tollgate("tollgate (coarse clock)", bucket, clocks::tollgate()),
        direct::governor("governor", quota, DefaultClock::default()),
        direct::governor("governor (upkeep clock)", quota, clocks::governor()),
        direct::rate_net("rate-net", RateNet::TokenBucket, quota, clock_lib::SystemClock::new()),
        direct::rate_net("rate-net (coarse clock)", RateNet::TokenBucket, quota, clocks::rate_net()),
        direct::ratelimit("ratelimit", quota),
        direct::leaky_bucket("leaky-bucket", quota),
    ];
    let admitted = audit.is_none();
    lanes.push(if admitted {
        direct::cas("cas", true)
    } else {
        direct::governor_with_wait("governor (with wait)", quota)
    });
    let draw = |count| vec![(); count];
    Workload { lanes, draw: Box::new(draw), expected: Some(admitted), decisions: 1, audit }
}
