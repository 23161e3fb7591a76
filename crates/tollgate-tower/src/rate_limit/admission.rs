//! One request: from who it is counted as to what the response says of it.

use std::{cmp::Reverse, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::Body;
use smallvec::SmallVec;
use tollgate::{Allowed, Composite, Decision, Denied, Headroom, Limiter, Timestamp};

use super::{Refusal, layer::Rules};
use crate::{
    Dialect, RequestHead, ResponseHead,
    dialect::{self, Standing},
    observe,
    policy::{Part, Seat},
};

/// What is kept of a request that has passed until its response begins.
#[derive(Debug)]
pub(super) struct Admission {
    /// What the tightest of the policies has said, and which it is.
    tightest: Left,
    /// What the header of all policies says, where keys have quotas of their own.
    told: Option<HeaderValue>,
    /// Whom to give back to, and take from, if that is settled.
    charged: SmallVec<[Charged; 1]>,
    cost: u64,
    leave: Headroom,
}

/// Who was charged by one of the policies.
#[derive(Clone, Copy, Debug)]
struct Charged {
    seat: Seat,
    /// When time has regained what was taken: later, what is in use was taken by others.
    regained_at: Timestamp,
}

impl Charged {
    fn of(part: &Part<'_>, now: Timestamp) -> Self {
        let Left { reset, .. } = part.said.get().map_or(Left::NOTHING, |said| Left::of(0, said));
        Self { seat: part.seat, regained_at: now + reset }
    }
}

/// What is left by one of the policies.
#[derive(Clone, Copy, Debug)]
struct Left {
    policy: usize,
    limit: u64,
    remaining: u64,
    reset: Duration,
}

type PartsOf<'a> = SmallVec<[Part<'a>; 2]>;

impl Rules {
    /// Decides whether `request` may pass, and takes what it costs if so; otherwise it is answered.
    #[expect(clippy::result_large_err, reason = "the response goes into a future that is as large")]
    pub(super) fn admit(&self, request: &RequestHead<'_>) -> Result<Admission, Response<Bytes>> {
        let mut parts = PartsOf::new();
        for policy in self.policies.iter() {
            match Part::new(policy, request) {
                Ok(part) => parts.push(part),
                Err(error) => {
                    let refusal = Refusal::Unidentified { policy: policy.name(), error: &error };
                    return Err(self.answer(request, refusal));
                }
            }
        }
        let cost = self.cost.as_ref().map_or(1, |cost| cost(request));
        let leave = self.leave.as_ref().map_or(Headroom::NONE, |leave| leave(request));
        let now = parts[0].now();
        let decision = match &*parts {
            [part] => part.check_n_leaving_at(cost, leave, now),
            parts => Composite::new(parts).check_n_leaving_at(cost, leave, now),
        };
        if let Err(denied) = decision {
            return Err(self.refuse(request, &parts, denied));
        }
        observe::allowed();
        let is_to_be_told = self.told.is_none() && self.dialect == Dialect::Structured;
        Ok(Admission {
            tightest: tightest(&parts),
            told: is_to_be_told.then(|| self.tell(&parts)),
            charged: if self.settle.is_some() {
                parts.iter().map(|part| Charged::of(part, now)).collect()
            } else {
                SmallVec::new()
            },
            cost,
            leave,
        })
    }

    /// The answer to a request that some of its `parts` refuse, all in all with `joint`.
    #[cold]
    fn refuse(&self, request: &RequestHead<'_>, parts: &PartsOf<'_>, joint: Denied) -> Response<Bytes> {
        let refusing = || {
            let said = parts.iter().enumerate();
            said.filter_map(|(index, part)| Some((index, part.said.get()?.err()?)))
        };
        let longest = refusing().max_by_key(|(_, denied)| denied.retry_after.unwrap_or(Duration::MAX));
        let (policy, denied) = longest.unwrap_or((0, joint));
        let names: SmallVec<[&str; 4]> = refusing().map(|(index, _)| self.policies[index].name()).collect();
        let mut response = self.answer(request, Refusal::Limited { policies: &names, denied });
        let left = Left {
            policy,
            limit: denied.limit,
            remaining: denied.remaining,
            // No later than `Retry-After`, as the draft has it.
            reset: denied.retry_after.unwrap_or(denied.reset_after),
        };
        self.write(&mut response, left, || self.told.clone().or_else(|| Some(self.tell(parts))));
        response
    }

    fn answer(&self, request: &RequestHead<'_>, refusal: Refusal<'_>) -> Response<Bytes> {
        observe::refused(&refusal);
        let retry_after = refusal.retry_after_secs();
        let mut response = (self.respond)(request, refusal);
        if let Some(seconds) = retry_after {
            response.headers_mut().entry(header::RETRY_AFTER).or_insert_with(|| dialect::number(seconds));
        }
        response
    }

    /// What the header of all policies says of these seats.
    fn tell(&self, parts: &PartsOf<'_>) -> HeaderValue {
        let list = self.policies.iter().zip(parts);
        dialect::policies(list.map(|(policy, part)| policy.told(policy.counter.quota(part.seat))))
    }

    /// Settles what `admission` has cost, and tells of it in the headers of the response.
    pub(super) fn conclude<B: Body>(&self, admission: &mut Admission, response: &mut Response<B>) {
        let Admission { tightest, told, charged, cost, leave } = admission;
        if let Some(settle) = &self.settle {
            let settled = settle(&ResponseHead::from(&*response), *cost);
            if settled != *cost {
                *tightest = self.settle(charged, *cost, settled, *leave);
            }
        }
        self.write(response, *tightest, || told.take().or_else(|| self.told.clone()));
    }

    /// Gives back or takes what is between `taken` and `settled`; what is left then.
    ///
    /// What time has regained meanwhile is not given back: of requests that are kept waiting over many windows, and fail in
    /// one, it would be given back all at once.
    fn settle(&self, charged: &[Charged], taken: u64, settled: u64, leave: Headroom) -> Left {
        let parts: PartsOf<'_> =
            self.policies.iter().zip(charged).map(|(policy, charged)| Part::of(policy, charged.seat)).collect();
        for (part, charged) in parts.iter().zip(charged) {
            let now = part.now();
            if settled < taken {
                if now < charged.regained_at {
                    part.refund_at(taken - settled, now);
                }
            } else {
                let Left { remaining, .. } = Left::of(0, part.peek_n_at(0, now));
                // It may be refused, as another may have come before; then there is nothing left to take.
                let _ = part.check_n_at(remaining.min(settled - taken), now);
            }
            let _ = part.peek_n_leaving_at(0, leave, now);
        }
        tightest(&parts)
    }

    fn write<B>(&self, response: &mut Response<B>, left: Left, told: impl FnOnce() -> Option<HeaderValue>) {
        let Left { policy, limit, remaining, reset } = left;
        let standing = Standing { policy: self.policies[policy].name.quoted(), limit, remaining, reset };
        self.dialect.write(response.headers_mut(), standing, told, &*self.calendar);
    }
}

impl Left {
    const NOTHING: Self = Self { policy: 0, limit: 0, remaining: 0, reset: Duration::ZERO };

    fn of(policy: usize, said: Decision) -> Self {
        let (Ok(Allowed { limit, remaining, reset_after: reset, .. })
        | Err(Denied { limit, remaining, reset_after: reset, .. })) = said;
        Self { policy, limit, remaining, reset }
    }
}

/// What that part has said of which the fewest units are left; of several such, the one that recovers last.
fn tightest(parts: &PartsOf<'_>) -> Left {
    let said = parts.iter().enumerate().filter_map(|(index, part)| Some(Left::of(index, part.said.get()?)));
    said.min_by_key(|left| (left.remaining, Reverse(left.reset))).unwrap_or(Left::NOTHING)
}
