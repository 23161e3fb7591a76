//! All that can be done to a limiter, in one history: checked against the references where decisions are exact, and against
//! the bound of the algorithm everywhere.
//!
//! A history is *exact* until something is put back later than it was taken. From then on a world in which that was never
//! taken is played through from the beginning, and never is more left than there. A refund that comes between makes that
//! unknown as well; then there is the bound. A reset makes everything exact again.
#![cfg(not(loom))]

mod bound;
// Not all of it is of use here.
#[allow(dead_code, unused_imports)]
mod oracle;
#[macro_use]
#[allow(unused_macros)]
mod runner;
#[allow(dead_code)]
mod world;

use std::time::Duration;

use bound::{Each, Kind};
use oracle::{
    Adjust, Answer, CompositeOracle, FixedOracle, LeavingOracle, LogOracle, Oracle, Part, QuantisedBucket,
    SlidingOracle, within_horizon,
};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestCaseResult};
use runner::hold;
#[cfg(not(feature = "serde"))]
use tollgate::Algorithm as Kept;
#[cfg(feature = "serde")]
use tollgate::snapshot::Save as Kept;
use tollgate::{
    Booking, Carry, Clock, Composite, Counters, Denied, FixedWindow, Headroom, KeyedLimiter, LeakyBucket, Lease,
    Limiter, Line, Live, ManualClock, Quota, RateLimiter, Reserve, SlidingLog, SlidingWindow, Timestamp, TokenBucket,
    Undo, WaitError, algorithm::Adjustable,
};
use world::World;

const SECOND: u64 = 1_000_000_000;
const KEYS: usize = 3;
const LEASES: usize = 2;

/// An algorithm under test.
trait Subject: Kept + Copy + 'static {
    type Oracle: Oracle + 'static;

    const KIND: Kind;

    /// The algorithm of this quota, if it can have it, and is not too large for a test.
    fn of(quota: Quota) -> Option<Self>;
    fn oracle(quota: Quota, start: u128) -> Self::Oracle;
    fn booker<'a>() -> Option<Booker<'a, &'a RateLimiter<Self, ManualClock>>>;
    fn key_booker<'a>() -> Option<Booker<'a, Key<'a, Self>>>;
}

type Key<'a, A> = tollgate::keyed::OneKey<&'a KeyedLimiter<u64, A, ManualClock>>;

macro_rules! subjects {
    ($($algorithm:ident: $kind:ident, $oracle:ty, $new:expr, $booker:expr, $most:expr;)+) => {$(
        impl Subject for $algorithm {
            type Oracle = $oracle;

            const KIND: Kind = Kind::$kind;

            fn of(quota: Quota) -> Option<Self> {
                $algorithm::new(quota).ok().filter(|_| quota.limit() <= $most)
            }
            fn oracle(quota: Quota, start: u128) -> $oracle {
                $new(quota, start)
            }
            fn booker<'a>() -> Option<Booker<'a, &'a RateLimiter<Self, ManualClock>>> {
                $booker
            }
            fn key_booker<'a>() -> Option<Booker<'a, Key<'a, Self>>> {
                $booker
            }
        }
    )+};
}

subjects! {
    FixedWindow: Fixed, FixedOracle, |quota, _| FixedOracle::new(quota), None, u64::MAX;
    SlidingWindow: Sliding, SlidingOracle, |quota, _| SlidingOracle::new(quota), None, u64::MAX;
    SlidingLog: Log, LogOracle, |quota, _| LogOracle::new(quota), None, 1_000;
    TokenBucket: Bucket, QuantisedBucket, |quota, start| QuantisedBucket::new(quota, false, 0, start),
        Some(Booker::new()), u64::MAX;
    LeakyBucket: Bucket, QuantisedBucket, |quota, start| QuantisedBucket::new(quota, true, 0, start),
        Some(Booker::new()), u64::MAX;
}

type BookedOr<'a> = Result<Box<dyn Booked + 'a>, Denied>;

/// Books where that is possible.
struct Booker<'a, L> {
    reserve: fn(L, u64, Duration) -> BookedOr<'a>,
    charge: fn(L, u64),
}

trait Booked {
    fn cost(&self) -> u64;
    fn act_at(&self) -> Timestamp;
    fn settle(self: Box<Self>, used: u64);
}

impl<L: Reserve> Booked for Booking<L> {
    fn cost(&self) -> u64 {
        self.cost()
    }
    fn act_at(&self) -> Timestamp {
        self.act_at()
    }
    fn settle(self: Box<Self>, used: u64) {
        (*self).settle(used);
    }
}

impl<'a, L: Reserve + Copy + 'a> Booker<'a, L> {
    fn new() -> Self {
        Self {
            reserve: |limiter, cost, longest| {
                limiter.reserve(cost, longest).map(|booking| Box::new(booking) as Box<dyn Booked + 'a>)
            },
            charge: |limiter, cost| limiter.charge(cost),
        }
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Check { key: usize, cost: Cost, form: Form },
    Peek { key: usize, cost: Cost },
    Refund { key: usize, cost: Cost },
    Reset { key: usize },
    Take { key: usize, cost: Cost },
    Undo { which: Index, units: u64 },
    Reserve { key: usize, cost: Cost, longest: Duration },
    Settle { which: Index, tenths: u64 },
    Charge { key: usize, cost: Cost },
    Lease { key: usize, which: usize, cost: Cost },
    SettleLease { key: usize, which: usize },
    Wait { key: usize, cost: Cost, longest: Duration },
    Leave { which: Index },
    Change { quota: Given },
    Later(Time),
}

/// How a check is made. Whatever is put back is so at once.
#[derive(Clone, Debug)]
enum Form {
    Plain,
    Leaving { units: u64, percent: u8 },
    Observed,
    Joint,
    TakenBack,
    BookedAndCancelled,
    LeasedAndSettled,
    InLine,
}

#[derive(Clone, Debug)]
enum Cost {
    Units(u64),
    /// What was left as of the last answer, and so many more.
    Room(i64),
    /// What can be at most, and so many more.
    Most(i64),
}

#[derive(Clone, Debug)]
enum Time {
    Nanos(u64),
    /// This share of a period.
    Sixteenths(u32),
    /// As long as the last refusal said, and so many nanoseconds more.
    Retry(i64),
}

/// What happens between two parts of a history, when nothing is open.
#[derive(Clone, Debug)]
enum Between {
    Nothing,
    /// The clock steps back.
    Earlier(u64),
    /// A restart that takes so long, without a change of clock.
    Restart(u64),
}

#[derive(Clone, Copy, Debug)]
struct Given {
    limit: u64,
    period: u64,
    burst: Option<u64>,
}

impl Given {
    fn quota(self, kind: Kind) -> Quota {
        let quota = Quota::new(self.limit, Duration::from_nanos(self.period));
        match self.burst {
            Some(burst) if kind == Kind::Bucket => quota.burst(burst),
            _ => quota,
        }
    }
}

/// Small numbers, and those around powers of two and of ten.
fn edgy() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        8 => 0..12_u64,
        2 => (0..64_u32, -1..=1_i64).prop_map(|(bits, off)| (1_u64 << bits).saturating_add_signed(off)),
        1 => (0..20_u32, -1..=1_i64).prop_map(|(digits, off)| 10_u64.pow(digits).saturating_add_signed(off)),
        1 => (0..4_u64).prop_map(|n| u64::MAX - n),
    ]
}

fn given() -> impl Strategy<Value = Given> + Clone {
    let limit = prop_oneof![6 => 1..13_u64, 1 => Just(63), 1 => Just(64), 1 => Just(1_000), 1 => Just(1_000_003)];
    let period = prop_oneof![4 => Just(SECOND), 1 => Just(60 * SECOND), 1 => Just(7 * SECOND), 1 => Just(1_000_003)];
    let burst = prop_oneof![2 => Just(None), 2 => (1..20_u64).prop_map(Some), 1 => Just(Some(1 << 20))];
    (limit, period, burst).prop_map(|(limit, period, burst)| Given { limit, period, burst })
}

fn cost() -> impl Strategy<Value = Cost> + Clone {
    prop_oneof![
        5 => edgy().prop_map(Cost::Units),
        3 => (-1..=1_i64).prop_map(Cost::Room),
        1 => (-1..=1_i64).prop_map(Cost::Most),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        4 => Just(Form::Plain),
        2 => (edgy(), 0..110_u8).prop_map(|(units, percent)| Form::Leaving { units, percent }),
        1 => Just(Form::Observed),
        3 => Just(Form::Joint),
        1 => Just(Form::TakenBack),
        1 => Just(Form::BookedAndCancelled),
        1 => Just(Form::LeasedAndSettled),
        2 => Just(Form::InLine),
    ]
}

fn longest() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        2 => (0..40_u64).prop_map(|tenths| Duration::from_millis(100 * tenths)),
        1 => edgy().prop_map(Duration::from_nanos),
        2 => Just(Duration::MAX),
    ]
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        2 => edgy().prop_map(|nanos| Time::Nanos(nanos % (1 << 45))),
        3 => (0..40_u32).prop_map(Time::Sixteenths),
        3 => (-1..=1_i64).prop_map(Time::Retry),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS;
    let which = || 0..LEASES;
    prop_oneof![
        12 => (key(), cost(), form()).prop_map(|(key, cost, form)| Step::Check { key, cost, form }),
        2 => (key(), cost()).prop_map(|(key, cost)| Step::Peek { key, cost }),
        2 => (key(), cost()).prop_map(|(key, cost)| Step::Refund { key, cost }),
        2 => key().prop_map(|key| Step::Reset { key }),
        4 => (key(), cost()).prop_map(|(key, cost)| Step::Take { key, cost }),
        4 => (any::<Index>(), edgy()).prop_map(|(which, units)| Step::Undo { which, units }),
        4 => (key(), cost(), longest()).prop_map(|(key, cost, longest)| Step::Reserve { key, cost, longest }),
        4 => (any::<Index>(), 0..13_u64).prop_map(|(which, tenths)| Step::Settle { which, tenths }),
        1 => (key(), cost()).prop_map(|(key, cost)| Step::Charge { key, cost }),
        6 => (key(), which(), cost()).prop_map(|(key, which, cost)| Step::Lease { key, which, cost }),
        2 => (key(), which()).prop_map(|(key, which)| Step::SettleLease { key, which }),
        3 => (key(), cost(), longest()).prop_map(|(key, cost, longest)| Step::Wait { key, cost, longest }),
        1 => any::<Index>().prop_map(|which| Step::Leave { which }),
        3 => given().prop_map(|quota| Step::Change { quota }),
        9 => time().prop_map(Step::Later),
    ]
}

type History = Vec<(Vec<Step>, Between)>;

fn history() -> impl Strategy<Value = History> {
    let between = prop_oneof![
        1 => Just(Between::Nothing),
        1 => edgy().prop_map(|nanos| Between::Earlier(nanos % (1 << 45))),
        1 => prop_oneof![Just(0), edgy()].prop_map(|nanos| Between::Restart(nanos % (1 << 45))),
    ];
    vec((vec(step(), 1..30), between), 1..4)
}

/// What has happened to one limiter, or one key, since it was last as new.
#[derive(Clone)]
struct Account<O> {
    kind: Kind,
    live: bool,
    proportional: bool,
    quotas: Vec<Quota>,
    /// What it was as new, and what it is now, as long as that is exact.
    new: O,
    oracle: O,
    exact: bool,
    /// Whether something was put back, or has recovered in a restart: if the clock steps back, it shows what is noted of the
    /// time at which it was taken.
    gave_back: bool,
    stepped_back: bool,
    /// Whether a world in which what was put back was never taken can be told from `events`.
    known: bool,
    events: Vec<Event>,
    admitted: Vec<Admitted>,
    /// Units that were given back without a word of which they are.
    returned: Vec<(u128, u64)>,
    /// What leases had in hand from when on.
    in_hand: Vec<(u128, u64)>,
    /// No time before this counts: the clock has stepped back.
    floor: u128,
    /// How many refunds and changes there were.
    refunds: u64,
    changes: u64,
}

#[derive(Clone, Copy)]
enum Event {
    /// Taken at one time, to be used from another on; not audited if it was charged.
    Taken {
        at: Timestamp,
        acts: u128,
        units: u64,
        audited: bool,
    },
    Refunded {
        at: Timestamp,
        units: u64,
    },
    Changed {
        at: Timestamp,
        quota: Quota,
        carry: Carry,
    },
}

/// Units that were spent.
#[derive(Clone, Copy)]
struct Admitted {
    at: u128,
    units: u64,
    /// The event that they are of, if it is not a lease's.
    event: Option<usize>,
}

/// What there is to put back.
#[derive(Clone, Copy)]
struct Open {
    key: usize,
    event: usize,
    refunds: u64,
    changes: u64,
}

type AdjustBy<O> = fn(&mut O, Quota, Carry, u128);

impl<O: Oracle + 'static> Account<O> {
    fn new(kind: Kind, carry: Option<Carry>, quota: Quota, oracle: O) -> Self {
        Self {
            kind,
            live: carry.is_some(),
            proportional: carry == Some(Carry::Proportional),
            quotas: vec![quota],
            new: oracle.clone(),
            oracle,
            exact: true,
            gave_back: false,
            stepped_back: false,
            known: true,
            events: Vec::new(),
            admitted: Vec::new(),
            returned: Vec::new(),
            in_hand: vec![(0, 0)],
            floor: 0,
            refunds: 0,
            changes: 0,
        }
    }

    fn time(&self, at: Timestamp) -> u128 {
        within_horizon(at).max(self.floor)
    }

    /// Takes units, and says by which event.
    fn take(&mut self, units: u64, at: Timestamp, acts: Timestamp) -> usize {
        if self.exact {
            self.oracle.take(units, at);
        }
        let acts = self.time(acts);
        self.events.push(Event::Taken { at, acts, units, audited: true });
        self.events.len() - 1
    }

    fn admit(&mut self, units: u64, at: Timestamp, acts: Timestamp) -> usize {
        let event = self.take(units, at, acts);
        self.admitted.push(Admitted { at: self.time(acts), units, event: Some(event) });
        event
    }

    /// Something was given back. Whoever is booked ahead stands nearer by that, but was told when to act before: nobody knows
    /// when it will. So it is audited no more.
    fn closes_up(&mut self, at: Timestamp) {
        let now = self.time(at);
        for (number, event) in self.events.iter_mut().enumerate() {
            if let Event::Taken { acts, audited, .. } = event
                && *acts > now
            {
                *audited = false;
                self.admitted.retain(|admitted| admitted.event != Some(number));
            }
        }
    }

    fn open(&self, key: usize, event: usize) -> Open {
        Open { key, event, refunds: self.refunds, changes: self.changes }
    }

    /// So many units of what is open are put back; after a refund they may be those of others.
    fn put_back(&mut self, open: Open, units: u64, at: Timestamp) {
        if units == 0 || open.changes != self.changes {
            return; // What was taken under another quota stays.
        }
        self.exact = false;
        self.gave_back = true;
        self.known &= open.refunds == self.refunds;
        self.closes_up(at);
        if open.refunds != self.refunds {
            // A unit of a small quota is a large share.
            let worth = if self.proportional { u64::from(u32::MAX) } else { 1 };
            self.returned.push((self.time(at), units.saturating_mul(worth)));
            return;
        }
        if let Event::Taken { units: had, .. } = &mut self.events[open.event] {
            *had -= units;
        }
        for admitted in self.admitted.iter_mut().filter(|admitted| admitted.event == Some(open.event)) {
            admitted.units -= units;
        }
    }

    fn refund(&mut self, units: u64, at: Timestamp) -> TestCaseResult {
        if self.exact {
            self.oracle.refund(units, at);
        }
        self.known &= self.exact;
        self.refunds += 1;
        self.closes_up(at);
        self.returned.push((self.time(at), units));
        self.events.push(Event::Refunded { at, units });
        if self.floor > 0 || self.proportional {
            // What was latest may be gone, and a unit of a small quota is a large share.
            self.audit()?;
            self.forget_audited(self.quota());
        }
        Ok(())
    }

    fn change(&mut self, quota: Quota, carry: Carry, at: Timestamp, adjust: AdjustBy<O>) -> TestCaseResult {
        adjust(&mut self.oracle, quota, carry, within_horizon(at));
        self.changes += 1;
        self.events.push(Event::Changed { at, quota, carry });
        if self.kind != Kind::Bucket && quota.period() != self.quotas[0].period() {
            // What is in use is forgotten with the new window.
            self.audit()?;
            self.forget_audited(quota);
        }
        self.quotas.push(quota);
        Ok(())
    }

    /// From here on intervals begin anew, but not what is in use.
    fn forget_audited(&mut self, quota: Quota) {
        self.admitted.clear();
        self.returned.clear();
        self.quotas = vec![quota];
        self.floor = 0;
        self.in_hand = self.in_hand.last().map(|&(_, units)| (0, units)).into_iter().collect();
        for event in &mut self.events {
            if let Event::Taken { audited, .. } = event {
                *audited = false;
            }
        }
    }

    fn quota(&self) -> Quota {
        *self.quotas.last().unwrap()
    }

    /// A restart that took so long. Of a window that has not begun yet, and in which nothing is in use, nothing is kept: after a
    /// step back that may be the one in force.
    #[cfg(feature = "serde")]
    fn restart(&mut self, nanos: u64) -> TestCaseResult {
        self.gave_back = true;
        self.exact &= nanos == 0 && !self.stepped_back;
        self.known &= !self.stepped_back;
        if self.stepped_back {
            self.audit()?;
            self.forget_audited(self.quota());
        }
        Ok(())
    }

    /// The clock steps back: what is taken from now on is as if it were at the latest time at which something was taken.
    fn step_back(&mut self, keyed: bool) -> TestCaseResult {
        self.stepped_back = true;
        self.exact &= !self.gave_back;
        self.known &= !self.gave_back;
        self.exact &= !keyed;
        self.known &= !keyed;
        // A table forgets what has recovered by the latest time. A change goes by what is in use by the present time, and once something was given back it is not known what was latest.
        if keyed || self.live || self.refunds > 0 || self.gave_back {
            self.audit()?;
            self.forget_audited(self.quota());
            return Ok(());
        }
        let taken = self.events.iter().filter_map(|event| match *event {
            Event::Taken { at, units: 1.., .. } => Some(self.time(at)),
            _ => None,
        });
        self.floor = taken.max().unwrap_or(0);
        Ok(())
    }

    /// As new, at this time.
    fn reset(&mut self, at: Timestamp) -> TestCaseResult {
        self.audit()?;
        self.oracle.reset(at);
        let Self { live, proportional, .. } = *self;
        *self = Self { live, proportional, ..Self::new(self.kind, None, self.quota(), self.oracle.clone()) };
        Ok(())
    }

    fn holds(&mut self, in_hand: u64, at: Timestamp) {
        self.in_hand.push((self.time(at), in_hand));
    }

    /// The world in which there is but what was not put back.
    fn without(&self, adjust: AdjustBy<O>) -> O {
        self.events.iter().fold(self.new.clone(), |mut world, event| {
            match *event {
                Event::Taken { at, units, .. } => world.take(units, at),
                Event::Refunded { at, units } => world.refund(units, at),
                Event::Changed { at, quota, carry } => adjust(&mut world, quota, carry, within_horizon(at)),
            }
            world
        })
    }

    /// The most that may be admitted from one time to another, both included.
    fn bound(&self, from: u128, to: u128) -> u128 {
        let limit: u128 = self.quotas.iter().map(|quota| quota.limit()).max().unwrap().into();
        let each = Each { limit, period: self.quotas[0].period().as_nanos(), changes: self.quotas.len() > 1 };
        self.kind.bound(each, from, to, |time| self.bound_of_bucket(time))
    }

    fn bound_of_bucket(&self, time: u128) -> u128 {
        let burst = |quota: &Quota| u128::from(quota.explicit_burst().unwrap_or(quota.limit()));
        // What the documentation says of rounding: less than a nanosecond; of one that can be changed 0.12 us.
        let time = time + if self.live { 1_000 } else { 1 };
        let gained = |quota: &Quota| u128::from(quota.limit()) * time / quota.period().as_nanos();
        let most = self.quotas.iter().map(burst).max().unwrap();
        if self.proportional && self.quotas.len() > 1 {
            // Of shares at most the whole, and what is gained.
            let shares = |quota: &Quota| {
                (most * u128::from(quota.limit()) * time).div_ceil(quota.period().as_nanos() * burst(quota))
            };
            return most + self.quotas.iter().map(shares).max().unwrap();
        }
        most + self.quotas.iter().map(gained).max().unwrap()
    }

    /// In any interval: what was taken, and what was spent, and was not put back.
    fn audit(&self) -> TestCaseResult {
        let taken = self.events.iter().filter_map(|event| match *event {
            Event::Taken { acts, units, audited: true, .. } => Some((acts, units)),
            _ => None,
        });
        self.audit_of("taken", taken.collect(), |_| 0)?;
        let spent = self.admitted.iter().map(|admitted| (admitted.at, admitted.units));
        let in_hand_before =
            |from: u128| self.in_hand.iter().rev().find(|(at, _)| *at < from).unwrap_or(&self.in_hand[0]).1.into();
        self.audit_of("spent", spent.collect(), in_hand_before)
    }

    fn audit_of(&self, what: &str, mut units: Vec<(u128, u64)>, ahead: impl Fn(u128) -> u128) -> TestCaseResult {
        units.retain(|(_, units)| *units > 0);
        units.sort_unstable();
        for (nth, &(from, _)) in units.iter().enumerate() {
            let ahead = ahead(from);
            let mut sum = 0;
            for &(to, more) in &units[nth..] {
                sum += u128::from(more);
                let within = |&&(at, _): &&(u128, u64)| from <= at && at <= to;
                let returned: u128 = self.returned.iter().filter(within).map(|(_, units)| u128::from(*units)).sum();
                let bound = self.bound(from, to) + ahead + returned;
                prop_assert!(sum <= bound, "{sum} were {what} from {from} to {to}, and {bound} may be");
            }
        }
        Ok(())
    }
}

/// What one history is about.
struct Rig<'a, L, O> {
    clock: &'a ManualClock,
    book: Option<Booker<'a, L>>,
    change: Option<&'a dyn Fn(Quota, Carry) -> bool>,
    adjust: AdjustBy<O>,
    carry: Carry,
    /// The other part of composites.
    other: &'a RateLimiter<TokenBucket, ManualClock>,
    counters: &'a Counters,
}

/// What is known across the parts of a history.
struct Books<O> {
    accounts: Vec<Account<O>>,
    other: QuantisedBucket,
    observed: [u64; 2],
    room: u64,
    retry: Duration,
}

impl<O: Oracle + 'static> Books<O> {
    fn units(&self, key: usize, cost: &Cost) -> u64 {
        match *cost {
            Cost::Units(units) => units,
            Cost::Room(off) => self.room.saturating_add_signed(off),
            Cost::Most(off) => self.accounts[key].oracle.limit().saturating_add_signed(off),
        }
    }

    fn heard(&mut self, answer: Answer) {
        self.room = answer.remaining;
        self.retry = answer.retry_after.unwrap_or(self.retry);
    }
}

/// Whoever waits in line.
struct Waits {
    task: usize,
    key: usize,
    cost: u64,
}

fn play<'a, L: Undo + Copy + 'a, O: Oracle + 'static>(
    keys: &[L],
    rig: &Rig<'a, L, O>,
    books: &mut Books<O>,
    steps: &[Step],
) -> TestCaseResult {
    let clock = rig.clock;
    let begun = clock.now();
    let leases: Vec<Vec<Lease<L>>> =
        keys.iter().map(|&key| (1..=LEASES).map(|nth| key.lease().at_most(40 * nth as u64 - 38)).collect()).collect();
    let mut leased: Vec<Vec<Option<Open>>> = vec![vec![None; LEASES]; keys.len()];
    let lines: Vec<Line<L>> = keys.iter().map(|&key| Line::new(key, 3)).collect();
    let mut world = World::new(clock);
    let mut waits: Vec<Waits> = Vec::new();
    let mut seen = 0;
    let mut undoable: Vec<(Open, L::Taken, u64)> = Vec::new();
    let mut booked: Vec<(Open, Box<dyn Booked + 'a>)> = Vec::new();
    let in_hand = |key: usize| leases[key].iter().map(Lease::in_hand).sum::<u64>();

    for step in steps {
        let now = clock.now();
        // Only the keys that there are.
        let one = |key: &usize| key % keys.len();
        match step {
            Step::Check { key, cost, form } => {
                let key = one(key);
                let (limiter, cost) = (keys[key], books.units(key, cost));
                let account = &mut books.accounts[key];
                let oracle = account.oracle.clone();
                account.gave_back |=
                    matches!(form, Form::TakenBack | Form::BookedAndCancelled | Form::LeasedAndSettled);
                let (real, expected, keeps) = match form {
                    Form::Plain => (limiter.check_n(cost), oracle.peek(cost, now), true),
                    Form::Leaving { units, percent } => {
                        let leave = Headroom::units(*units).and(Headroom::percent(*percent));
                        let units = leave.of_limit(oracle.limit());
                        let expected = LeavingOracle { limiter: oracle, leave: units }.peek(cost, now);
                        (limiter.leaving(leave).check_n(cost), expected, true)
                    }
                    Form::Observed => {
                        let real = limiter.observed(rig.counters).check_n(cost);
                        books.observed[usize::from(real.is_err())] += 1;
                        (real, oracle.peek(cost, now), true)
                    }
                    Form::Joint => {
                        let parts = CompositeOracle::new(vec![oracle.boxed(), books.other.boxed()]);
                        let real = Composite::new((limiter, rig.other)).check_n(cost);
                        if real.is_ok() {
                            books.other.take(cost, now);
                        }
                        (real, parts.peek(cost, now), true)
                    }
                    Form::TakenBack => {
                        let taken = limiter.take(cost);
                        let real = taken.map(|(allowed, taken)| {
                            limiter.undo(taken, cost);
                            allowed
                        });
                        (real, oracle.peek(cost, now), false)
                    }
                    Form::BookedAndCancelled => {
                        let Some(booker) = &rig.book else { continue };
                        drop((booker.reserve)(limiter, cost, Duration::MAX));
                        (limiter.peek_n(cost), oracle.peek(cost, now), false)
                    }
                    Form::LeasedAndSettled => {
                        let lease = limiter.lease();
                        let real = lease.check_n(cost);
                        drop(lease);
                        let expected = oracle.peek(cost, now);
                        prop_assert!(!account.exact || real.is_ok() == expected.allowed, "{:?}: {:?}", step, real);
                        if let Ok(allowed) = real {
                            prop_assert!(!account.exact || allowed.remaining == expected.remaining);
                            account.admit(cost, now, now);
                        }
                        (limiter.peek_n(0), account.oracle.peek(0, now), false)
                    }
                    Form::InLine => {
                        let line = Line::new(limiter, 1);
                        let mut others = World::new(clock);
                        let timers = others.timers.clone();
                        let task = others.spawn(line.wait(cost, Duration::ZERO, timers));
                        let expected = oracle.peek(cost, now);
                        let passed = match others.outcome(task) {
                            Some((_, outcome)) => outcome.is_ok(),
                            None => return Err(TestCaseError::fail("waits although it must not")),
                        };
                        let right = expected.allowed && expected.delay == Duration::ZERO;
                        prop_assert!(!account.exact || passed == right, "{:?}: {} after {:?}", step, passed, expected);
                        if passed {
                            account.admit(cost, now, now);
                        }
                        (limiter.peek_n(0), account.oracle.peek(0, now), false)
                    }
                };
                let account = &mut books.accounts[key];
                let real_answer = Answer::from(real);
                if account.exact {
                    prop_assert_eq!(real_answer, expected, "{:?} at {:?}", step, now);
                }
                if keeps && real.is_ok() {
                    account.admit(cost, now, now);
                }
                books.heard(real_answer);
            }
            Step::Peek { key, cost } => {
                let key = one(key);
                let cost = books.units(key, cost);
                let real = Answer::from(keys[key].peek_n(cost));
                let account = &books.accounts[key];
                if account.exact {
                    prop_assert_eq!(real, account.oracle.peek(cost, now), "{:?} at {:?}", step, now);
                }
                books.heard(real);
            }
            Step::Refund { key, cost } => {
                let key = one(key);
                let cost = books.units(key, cost);
                keys[key].refund(cost);
                books.accounts[key].refund(cost, now)?;
            }
            Step::Reset { key } => {
                let key = one(key);
                // What is open must not be put back after it.
                undoable.retain(|(open, ..)| open.key != key);
                for (_, booking) in booked.extract_if(.., |(open, _)| open.key == key) {
                    let cost = booking.cost();
                    booking.settle(cost);
                }
                leases[key].iter().for_each(Lease::settle);
                keys[key].reset();
                books.accounts[key].reset(now)?;
            }
            Step::Take { key, cost } => {
                let key = one(key);
                let cost = books.units(key, cost);
                let account = &mut books.accounts[key];
                let taken = keys[key].take(cost);
                let expected = account.oracle.peek(cost, now);
                if account.exact {
                    prop_assert_eq!(Answer::from(taken.map(|(allowed, _)| allowed)), expected, "{:?}", step);
                }
                if let Ok((_, taken)) = taken {
                    let event = account.admit(cost, now, now);
                    undoable.push((account.open(key, event), taken, cost));
                }
            }
            Step::Undo { which, units } if !undoable.is_empty() => {
                let (open, taken, cost) = undoable.swap_remove(which.index(undoable.len()));
                keys[open.key].undo(taken, *units);
                books.accounts[open.key].put_back(open, cost.min(*units), now);
            }
            Step::Reserve { key, cost, longest } => {
                let Some(booker) = &rig.book else { continue };
                let key = one(key);
                let cost = books.units(key, cost);
                let account = &mut books.accounts[key];
                if let Ok(booking) = (booker.reserve)(keys[key], cost, *longest) {
                    prop_assert!(booking.act_at() - now <= *longest);
                    let acts = if keys[key].delays() { now } else { booking.act_at() };
                    if account.exact && booking.act_at() == now && !keys[key].delays() {
                        prop_assert!(account.oracle.peek(cost, now).allowed, "{:?}", step);
                    }
                    let event = account.admit(cost, now, acts);
                    booked.push((account.open(key, event), booking));
                } else if account.exact {
                    let expected = account.oracle.peek(cost, now);
                    let in_time = expected.allowed && expected.delay <= *longest;
                    prop_assert!(!in_time, "{:?} was refused", step);
                }
            }
            Step::Settle { which, tenths } if !booked.is_empty() => {
                let (open, booking) = booked.swap_remove(which.index(booked.len()));
                let cost = booking.cost();
                let used = (u128::from(cost) * u128::from(*tenths) / 10) as u64;
                let account = &mut books.accounts[open.key];
                booking.settle(used);
                account.put_back(open, cost.saturating_sub(used), now);
                if used > cost {
                    let event = account.take(used - cost, now, now);
                    if let Event::Taken { audited, .. } = &mut account.events[event] {
                        *audited = false;
                    }
                }
            }
            Step::Charge { key, cost } => {
                let Some(booker) = &rig.book else { continue };
                let key = one(key);
                // More than that is a debt for ever.
                let cost = books.units(key, cost).min(1 << 21);
                let account = &mut books.accounts[key];
                (booker.charge)(keys[key], cost);
                let event = account.take(cost, now, now);
                if let Event::Taken { audited, .. } = &mut account.events[event] {
                    *audited = false;
                }
            }
            Step::Lease { key, which, cost } => {
                let key = one(key);
                let cost = books.units(key, cost);
                let (lease, open) = (&leases[key][*which], &mut leased[key][*which]);
                let account = &mut books.accounts[key];
                let before = lease.in_hand();
                let expected = account.oracle.peek(cost, now);
                let real = lease.check_n(cost);
                let after = lease.in_hand();
                match real {
                    Ok(_) if cost.max(1) <= before => prop_assert_eq!(after, before - cost),
                    Ok(_) => {
                        prop_assert!(!account.exact || before > 0 || expected.allowed, "{:?}", step);
                        if before > 0 {
                            // What was in hand may have been put back, and taken once more.
                            account.exact = false;
                        }
                        let units = (cost + after).checked_sub(before);
                        prop_assert!(units.is_some(), "{} in hand after {} and {}", after, before, cost);
                        if units != Some(0) {
                            let event = account.take(units.unwrap(), now, now);
                            *open = Some(account.open(key, event));
                        }
                    }
                    Err(_) => {
                        prop_assert_eq!(after, 0);
                        if let Some(open) = open.take() {
                            account.put_back(open, before, now);
                        }
                        if account.exact {
                            prop_assert!(!expected.allowed, "{:?}", step);
                        }
                    }
                }
                if real.is_ok() {
                    account.admitted.push(Admitted { at: account.time(now), units: cost, event: None });
                }
            }
            Step::SettleLease { key, which } => {
                let key = one(key);
                let before = leases[key][*which].in_hand();
                leases[key][*which].settle();
                if let Some(open) = leased[key][*which].take() {
                    books.accounts[key].put_back(open, before, now);
                }
            }
            Step::Wait { key, cost, longest } => {
                let key = one(key);
                let cost = books.units(key, cost);
                let timers = world.timers.clone();
                let task = world.spawn(lines[key].wait(cost, *longest, timers));
                if let Some((_, Err(error))) = world.outcome(task) {
                    let account = &books.accounts[key];
                    let never = matches!(error, WaitError::Never { .. });
                    prop_assert!(!account.exact || !never || cost > account.oracle.limit() || rig.change.is_some());
                }
                waits.push(Waits { task, key, cost });
            }
            Step::Leave { which } if !waits.is_empty() => {
                let task = waits[which.index(waits.len())].task;
                if world.is_waiting(task) {
                    world.drop_task(task);
                }
            }
            Step::Change { quota } => {
                let Some(change) = rig.change else { continue };
                let before = books.accounts[0].quota();
                let kind = books.accounts[0].kind;
                let quota = quota.quota(kind);
                if change(quota, rig.carry) && quota != before {
                    for account in &mut books.accounts {
                        account.change(quota, rig.carry, now, rig.adjust)?;
                    }
                }
            }
            Step::Later(time) => {
                let later = match *time {
                    Time::Nanos(nanos) => Duration::from_nanos(nanos),
                    Time::Sixteenths(share) => books.accounts[0].quota().period() / 16 * share,
                    Time::Retry(off) if books.retry < Duration::from_secs(1 << 20) => {
                        Duration::from_nanos((books.retry.as_nanos() as u64).saturating_add_signed(off))
                    }
                    Time::Retry(_) => Duration::ZERO,
                };
                world.advance(later);
            }
            Step::Undo { .. } | Step::Settle { .. } | Step::Leave { .. } => {}
        }
        // Those in line that have passed, as it were between the steps.
        while seen < world.passed.len() {
            let task = world.passed[seen];
            seen += 1;
            let (elapsed, _) = world.outcome(task).expect("it has passed");
            let waits = waits.iter().find(|waits| waits.task == task).expect("it was in line");
            let account = &mut books.accounts[waits.key];
            let at = begun + elapsed;
            if account.exact {
                let expected = account.oracle.peek(waits.cost, at);
                let right = expected.allowed && expected.delay == Duration::ZERO;
                prop_assert!(right, "{} passed in line at {:?}: {:?}", waits.cost, at, expected);
            }
            account.admit(waits.cost, at, at);
        }
        for (key, limiter) in keys.iter().enumerate() {
            let now = clock.now();
            let account = &mut books.accounts[key];
            account.holds(in_hand(key), now);
            // A line asks a leaky bucket by taking, and gives back what would have to wait.
            let in_line = !waits.is_empty() || matches!(step, Step::Check { form: Form::InLine, .. });
            account.gave_back |= limiter.delays() && in_line;
            let left = Answer::from(limiter.peek_n(0));
            if account.exact {
                prop_assert_eq!(left, account.oracle.peek(0, now), "after {:?} at {:?}", step, now);
            } else if account.known {
                let most = account.without(rig.adjust).room(within_horizon(now));
                prop_assert!(left.remaining <= most, "after {:?} {} are left of {}", step, left.remaining, most);
            }
        }
    }
    // Nothing is open when a part ends.
    for (_, booking) in booked {
        let cost = booking.cost();
        booking.settle(cost);
    }
    drop(world);
    let now = clock.now();
    for (key, leases) in leases.iter().enumerate() {
        for (lease, open) in leases.iter().zip(&leased[key]) {
            let unspent = lease.in_hand();
            lease.settle();
            if let Some(open) = open {
                books.accounts[key].put_back(*open, unspent, now);
            }
        }
        books.accounts[key].holds(0, now);
    }
    Ok(())
}

/// What is common to all histories.
struct Setting {
    clock: ManualClock,
    other: RateLimiter<TokenBucket, ManualClock>,
    counters: Counters,
}

impl Setting {
    fn new(start: u64) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_nanos(start));
        let other = RateLimiter::with_clock(TokenBucket::new(Self::quota()).unwrap(), clock.clone());
        Self { clock, other, counters: Counters::new() }
    }

    fn quota() -> Quota {
        Quota::per_second(4).burst(9)
    }

    fn books<O: Oracle + 'static>(&self, account: Account<O>, keys: usize) -> Books<O> {
        let other = QuantisedBucket::new(Self::quota(), false, 0, within_horizon(self.clock.now()));
        Books { accounts: vec![account; keys], other, observed: [0; 2], room: 0, retry: Duration::ZERO }
    }

    fn step_back<O: Oracle + 'static>(&self, nanos: u64, books: &mut Books<O>, keyed: bool) -> TestCaseResult {
        self.clock.set(self.clock.now() - Duration::from_nanos(nanos));
        for account in &mut books.accounts {
            account.step_back(keyed)?;
        }
        Ok(())
    }

    fn finish<O: Oracle + 'static>(&self, books: &Books<O>) -> TestCaseResult {
        let counts = self.counters.read();
        prop_assert_eq!([counts.admitted.requests, counts.refused().requests], books.observed);
        books.accounts.iter().try_for_each(Account::audit)
    }
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(1_790_000_000 * SECOND + 123_456_789)]
}

fn no_change<O>(_: &mut O, _: Quota, _: Carry, _: u128) {}

/// A wall clock, that goes on as the other does.
#[cfg(feature = "serde")]
fn wall(clock: &ManualClock) -> Option<Timestamp> {
    Some(clock.now())
}

fn direct<S: Subject>() {
    hold(110, (given(), start(), history()), |(given, start, history)| {
        let quota = given.quota(S::KIND);
        let Some(algorithm) = S::of(quota) else { return Ok(()) };
        let setting = Setting::new(start);
        let oracle = S::oracle(quota, start.into());
        let mut books = setting.books(Account::new(S::KIND, None, quota, oracle), 1);
        let mut limiter = RateLimiter::with_clock(algorithm, setting.clock.clone());
        for (steps, between) in history {
            let rig = Rig {
                clock: &setting.clock,
                book: S::booker(),
                change: None,
                adjust: no_change,
                carry: Carry::Absolute,
                other: &setting.other,
                counters: &setting.counters,
            };
            play(&[&limiter], &rig, &mut books, &steps)?;
            match between {
                Between::Nothing => {}
                Between::Earlier(nanos) => setting.step_back(nanos, &mut books, false)?,
                Between::Restart(nanos) => {
                    #[cfg(feature = "serde")]
                    {
                        let snapshot = limiter.snapshot(wall(&setting.clock));
                        setting.clock.advance(Duration::from_nanos(nanos));
                        let clock = setting.clock.clone();
                        limiter = RateLimiter::restore(algorithm, clock, &snapshot, wall(&setting.clock)).unwrap();
                        books.accounts[0].restart(nanos)?;
                    }
                    let _ = (nanos, &mut limiter);
                }
            }
        }
        setting.finish(&books)
    });
}

fn keyed<S: Subject>() {
    hold(70, (given(), start(), history()), |(given, start, history)| {
        let quota = given.quota(S::KIND);
        let Some(algorithm) = S::of(quota) else { return Ok(()) };
        let setting = Setting::new(start);
        let oracle = S::oracle(quota, start.into());
        let mut books = setting.books(Account::new(S::KIND, None, quota, oracle), KEYS);
        let mut limiter: KeyedLimiter<u64, S, _> = KeyedLimiter::with_clock(algorithm, 50, setting.clock.clone());
        for (steps, between) in history {
            let rig = Rig {
                clock: &setting.clock,
                book: S::key_booker(),
                change: None,
                adjust: no_change,
                carry: Carry::Absolute,
                other: &setting.other,
                counters: &setting.counters,
            };
            let keys: Vec<_> = (0..KEYS as u64).map(|key| limiter.key(&key)).collect();
            play(&keys, &rig, &mut books, &steps)?;
            match between {
                Between::Nothing => {}
                Between::Earlier(nanos) => setting.step_back(nanos, &mut books, true)?,
                Between::Restart(nanos) => {
                    #[cfg(feature = "serde")]
                    {
                        let snapshot = limiter.snapshot(wall(&setting.clock));
                        setting.clock.advance(Duration::from_nanos(nanos));
                        let (clock, wall) = (setting.clock.clone(), wall(&setting.clock));
                        limiter = KeyedLimiter::restore(algorithm, 50, clock, &snapshot, wall).unwrap();
                        books.accounts.iter_mut().try_for_each(|account| account.restart(nanos))?;
                    }
                    let _ = (nanos, &mut limiter);
                }
            }
        }
        setting.finish(&books)
    });
}

/// An algorithm whose quota can be changed.
trait Changes: Adjustable + 'static {
    type Oracle: Adjust + 'static;

    const KIND: Kind;

    fn oracle(quota: Quota, start: u128) -> Self::Oracle;
}

macro_rules! changes {
    ($($algorithm:ident: $kind:ident, $oracle:ty, $new:expr;)+) => {$(
        impl Changes for $algorithm {
            type Oracle = $oracle;

            const KIND: Kind = Kind::$kind;

            fn oracle(quota: Quota, start: u128) -> $oracle {
                $new(quota, start)
            }
        }
    )+};
}

const LIVE_BITS: u32 = QuantisedBucket::LIVE_BITS;

changes! {
    FixedWindow: Fixed, FixedOracle, |quota, _| FixedOracle::new(quota);
    SlidingWindow: Sliding, SlidingOracle, |quota, _| SlidingOracle::new(quota);
    TokenBucket: Bucket, QuantisedBucket, |quota, start| QuantisedBucket::within(quota, LIVE_BITS, false, 0, start);
    LeakyBucket: Bucket, QuantisedBucket, |quota, start| QuantisedBucket::within(quota, LIVE_BITS, true, 0, start);
}

fn changed<S: Changes>() {
    let carry = prop_oneof![Just(Carry::Absolute), Just(Carry::Proportional)];
    hold(110, (given(), start(), carry, any::<bool>(), history()), |(given, start, carry, keyed, history)| {
        let quota = given.quota(S::KIND);
        let Ok(algorithm) = Live::<S>::new(quota) else { return Ok(()) };
        let setting = Setting::new(start);
        let account = Account::new(S::KIND, Some(carry), quota, S::oracle(quota, start.into()));
        let mut books = setting.books(account, if keyed { KEYS } else { 1 });
        macro_rules! play_with {
            ($limiter:expr, $keys:expr) => {
                for (steps, between) in history {
                    let rig = Rig {
                        clock: &setting.clock,
                        book: None,
                        change: Some(&|quota, carry| $limiter.set_quota(quota, carry).is_ok()),
                        adjust: S::Oracle::set_quota,
                        carry,
                        other: &setting.other,
                        counters: &setting.counters,
                    };
                    play($keys, &rig, &mut books, &steps)?;
                    if let Between::Earlier(nanos) = between {
                        setting.step_back(nanos, &mut books, keyed)?;
                    }
                }
            };
        }
        if keyed {
            let limiter: KeyedLimiter<u64, _, _> = KeyedLimiter::with_clock(algorithm, 50, setting.clock.clone());
            let keys: Vec<_> = (0..KEYS as u64).map(|key| limiter.key(&key)).collect();
            play_with!(limiter, &keys);
        } else {
            let limiter = RateLimiter::with_clock(algorithm, setting.clock.clone());
            play_with!(limiter, &[&limiter]);
        }
        setting.finish(&books)
    });
}

for_all_algorithms!(one_limiter, direct);
for_all_algorithms!(keys_of_a_table, keyed);

mod changed_quotas {
    use super::*;

    #[test]
    fn fixed_window() {
        changed::<FixedWindow>();
    }
    #[test]
    fn sliding_window() {
        changed::<SlidingWindow>();
    }
    #[test]
    fn token_bucket() {
        changed::<TokenBucket>();
    }
    #[test]
    fn leaky_bucket() {
        changed::<LeakyBucket>();
    }
}
