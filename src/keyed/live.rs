//! Quotas that can be changed, of all keys or of a tier's.

use super::{KeyedLimiter, Plan, Tiers};
use crate::{Carry, Clock, Live, Quota, QuotaError, algorithm::Adjustable};

impl<K: ?Sized, A: Adjustable, C: Clock, S> KeyedLimiter<K, Live<A>, C, S> {
    /// Changes the quota of all keys, all of its fields at once, and keeps what each of them has consumed as `carry` says.
    ///
    /// To those who check a key meanwhile it happens at one instant, which need not be the same for all keys; when this
    /// returns it has for all. It looks at every slot, which took 37 ms for a million keys. [`Live`] says more.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the algorithm cannot have such a quota; then nothing is changed.
    ///
    /// ```
    /// use tollgate::{Carry, KeyedLimiter, Live, ManualClock, Quota, TokenBucket};
    ///
    /// let bucket = Live::<TokenBucket>::new(Quota::per_second(10))?;
    /// let limiter: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(bucket, 1_000, ManualClock::new());
    /// assert!(limiter.check_n("alice", 10).is_ok());
    ///
    /// limiter.set_quota(Quota::per_second(30), Carry::Absolute)?;
    /// assert_eq!(limiter.peek_n("alice", 0)?.remaining, 20);
    /// assert_eq!(limiter.peek_n("bob", 0)?.remaining, 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota(&self, quota: Quota, carry: Carry) -> Result<(), QuotaError> {
        self.set_quota_of(0, self.table.plan(), quota, carry)
    }
}

impl<K: ?Sized, A: Adjustable, R, C: Clock, S> KeyedLimiter<K, Tiers<Live<A>, R>, C, S> {
    /// Changes the quota of one tier, as [`set_quota`](KeyedLimiter::set_quota) does that of all keys.
    ///
    /// A number past the last tier is taken for 0, as it is everywhere.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if the algorithm cannot have such a quota; then nothing is changed.
    ///
    /// ```
    /// use tollgate::{Carry, KeyedLimiter, Live, ManualClock, Quota, Tiers, TokenBucket};
    ///
    /// let [free, paid] = [2, 10].map(|limit| Live::<TokenBucket>::new(Quota::per_second(limit)));
    /// let tiers = Tiers::new([free?, paid?], |name: &str| usize::from(name.starts_with("paid-")))?;
    /// let limiter: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock(tiers, 1_000, ManualClock::new());
    /// assert!(limiter.check_n("paid-bob", 4).is_ok());
    ///
    /// limiter.set_tier_quota(1, Quota::per_second(20), Carry::Proportional)?;
    /// assert_eq!(limiter.peek_n("paid-bob", 0)?.remaining, 12);
    /// assert_eq!(limiter.peek_n("alice", 0)?.remaining, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_tier_quota(&self, tier: usize, quota: Quota, carry: Carry) -> Result<(), QuotaError> {
        let tiers = self.table.plan().algorithms();
        let tier = if tier < tiers.len() { tier } else { 0 };
        self.set_quota_of(tier as u64, &tiers[tier], quota, carry)
    }
}

impl<K: ?Sized, A: Plan, C: Clock, S> KeyedLimiter<K, A, C, S> {
    /// Changes the quota of the keys of this tag, whose algorithm is `live`.
    fn set_quota_of<L: Adjustable>(
        &self,
        tag: u64,
        live: &Live<L>,
        quota: Quota,
        carry: Carry,
    ) -> Result<(), QuotaError> {
        live.change(quota, carry, || {
            self.table.bring_over(tag, |place| live.bring_over(place, || self.clock.now()));
        })
    }
}
