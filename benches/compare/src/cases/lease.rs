//! One limiter, two threads, each with a handle of its own that takes ahead what it will spend.

use std::{cell::RefCell, sync::Arc};

use governor::clock::DefaultClock;
use rate_net::Algorithm as RateNet;
use tollgate::{Lease, Limiter, MonotonicClock, RateLimiter, TokenBucket, Undo};

use super::Case;
use crate::{
    direct,
    quota::Quota,
    rounds::{Audit, Workload},
    subject::{Lane, Subject, decide_each, whole},
};

const THREADS: usize = 2;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("lease/allow", THREADS, 1, || workload(Quota::AMPLE, None)),
        Case::new("lease/deny", THREADS, 1, || {
            workload(Quota::SCARCE, Some(Audit { keys: vec![()], limit: Quota::SCARCE.limit.into() }))
        }),
    ]
}

fn workload(quota: Quota, audit: Option<Audit<()>>) -> Workload<()> {
    let bucket = TokenBucket::new(quota.tollgate()).expect("a quota");
    let admitted = audit.is_none();
    let lanes = vec![
        leased("tollgate (lease)", bucket, whole),
        leased("tollgate (lease, bare answer)", bucket, |decision| decision),
        direct::tollgate("tollgate (limiter)", bucket, MonotonicClock::new()),
        direct::governor("governor", quota, DefaultClock::default()),
        direct::rate_net("rate-net", RateNet::TokenBucket, quota, clock_lib::SystemClock::new()),
        direct::ratelimit("ratelimit", quota),
        direct::cas("cas", admitted),
    ];
    let lanes = lanes.into_iter().filter(|lane| admitted || lane.name != "cas").collect();
    let draw = |count| vec![(); count];
    Workload { lanes, draw: Box::new(draw), expected: Some(admitted), decisions: 1, audit }
}

type Shared = Arc<RateLimiter<TokenBucket, MonotonicClock>>;

thread_local! {
    /// The leases of this thread, as a program keeps them in its workers.
    static LEASES: RefCell<Vec<Lease<Shared>>> = const { RefCell::new(Vec::new()) };
}

/// A limiter that each thread has a lease on.
struct Leased<F> {
    limiter: Shared,
    look: F,
}

fn leased(
    name: &'static str,
    bucket: TokenBucket,
    look: impl Fn(tollgate::Decision) -> tollgate::Decision + Send + Sync + 'static,
) -> Lane<()> {
    let limiter = Arc::new(RateLimiter::with_clock(bucket, MonotonicClock::new()));
    Lane { name, subject: Box::new(Leased { limiter, look }) }
}

impl<F: Fn(tollgate::Decision) -> tollgate::Decision + Send + Sync> Subject<()> for Leased<F> {
    /// The lease is looked up once for all of `keys`.
    fn decide(&self, keys: &[()], expected: Option<bool>) -> u64 {
        LEASES.with_borrow_mut(|leases| {
            let mine = |lease: &Lease<Shared>| Arc::ptr_eq(lease.limiter(), &self.limiter);
            let nth = leases.iter().position(mine).unwrap_or_else(|| {
                leases.push(self.limiter.clone().lease());
                leases.len() - 1
            });
            let lease = &leases[nth];
            decide_each(keys, expected, |()| (self.look)(lease.check()).is_ok())
        })
    }
}
