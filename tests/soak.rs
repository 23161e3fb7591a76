//! Minutes of everything at once: 8 threads on the real clock, on limiters that they share, and each admission audited against
//! the bound of its algorithm.
//!
//! It is not run unless it is asked for; `SOAK_MINUTES` says for how long, which is two if not given:
//!
//! ```sh
//! SOAK_MINUTES=3 cargo test --release --test soak -- --ignored --nocapture
//! ```
//!
//! # The audit
//!
//! [`Watched`] sits between a limiter and whoever uses it: a lease, a line, a composite. It writes down what was taken, with the time
//! that the limiter was given, and strikes out what was put back. It goes in rounds, at whose ends nothing is open: then what
//! all threads have written down is put in order, and every interval of several lengths is looked at that begins with an
//! admission. What reaches over the end of a round is kept for the next.
//!
//! A thread that is held up between the clock and the limiter is counted by the limiter as of a later time. The few that take
//! so long are left out of the intervals, and so are bookings that lie ahead, since these move when others are cancelled. They
//! are in the totals.
#![cfg(not(loom))]

mod bound;

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use bound::{Each, Kind};
use tollgate::{
    Allowed, Carry, Clock, Composite, Counters, Decision, Denied, FixedWindow, Headroom, KeyedLimiter, LeakyBucket,
    Limiter, Line, Live, MonotonicClock, Priority, Quota, RateLimiter, Reserve, SlidingLog, SlidingWindow, Timestamp,
    TokenBucket, Undo,
};

const THREADS: u64 = 8;
const ROUND: Duration = Duration::from_millis(500);
const PERIOD: u64 = 10_000_000;
/// The lengths of the intervals that are audited, in nanoseconds.
const LENGTHS: [u64; 5] = [0, 1_000_000, PERIOD - 1, 37_000_000, 400_000_000];
/// Who is held up for longer, in nanoseconds, is in no interval.
const HELD_UP: u64 = 200_000;
const KEYS: u64 = 4;

/// Units that were taken: when by the limiter, until when at the latest by the clock, and of which limiter.
#[derive(Clone, Copy)]
struct Taken {
    whose: usize,
    at: u64,
    until: u64,
    units: u64,
    /// Not to be used at once.
    ahead: bool,
    /// By a lease.
    leased: bool,
}

/// What a thread has written down in a round.
#[derive(Default)]
struct Record {
    taken: Vec<Taken>,
    refunded: Vec<Taken>,
    done: [u64; OPS],
    refused: u64,
    observed: Observed,
}

/// What the threads saw of what [`Counters`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Observed {
    admitted: u64,
    units: u64,
    refused: u64,
    put_back: u64,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

fn write_down(taken: Taken) -> usize {
    RECORD.with_borrow_mut(|record| {
        record.taken.push(taken);
        record.taken.len() - 1
    })
}

/// A limiter, all of whose admissions are written down.
#[derive(Clone, Copy, Debug)]
struct Watched<L> {
    limiter: L,
    whose: usize,
    leased: bool,
}

impl<L: Limiter> Watched<L> {
    fn taken(&self, units: u64, now: Timestamp, ahead: bool) -> usize {
        let (at, until) = (now.as_nanos(), self.limiter.now().as_nanos());
        write_down(Taken { whose: self.whose, at, until, units, ahead, leased: self.leased })
    }
}

fn strike_out(written: usize, kept: impl Fn(u64) -> u64) {
    RECORD.with_borrow_mut(|record| {
        let units = &mut record.taken[written].units;
        *units = kept(*units);
    });
}

impl<L: Limiter> Limiter for Watched<L> {
    fn now(&self) -> Timestamp {
        self.limiter.now()
    }

    fn check_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        let decision = self.limiter.check_n_leaving_at(cost, leave, now);
        if decision.is_ok() {
            self.taken(cost, now, false);
        }
        decision
    }

    fn peek_n_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Decision {
        self.limiter.peek_n_leaving_at(cost, leave, now)
    }

    fn forecast_at(&self, ahead: u64, cost: u64, leave: Headroom, now: Timestamp) -> Option<Duration> {
        self.limiter.forecast_at(ahead, cost, leave, now)
    }

    fn check_and(
        &self,
        cost: u64,
        leave: Headroom,
        now: Timestamp,
        agree: &mut dyn FnMut(&Allowed) -> bool,
    ) -> Decision {
        self.limiter.check_and(cost, leave, now, &mut |allowed| {
            let written = self.taken(cost, now, false);
            let agreed = agree(allowed);
            if !agreed {
                strike_out(written, |_| 0);
            }
            agreed
        })
    }

    fn refund_at(&self, cost: u64, now: Timestamp) {
        self.limiter.refund_at(cost, now);
        let (at, until) = (now.as_nanos(), self.limiter.now().as_nanos());
        let refunded = Taken { whose: self.whose, at, until, units: cost, ahead: false, leased: false };
        RECORD.with_borrow_mut(|record| record.refunded.push(refunded));
    }

    fn reset_at(&self, _now: Timestamp) {
        unreachable!("nothing could be audited after it");
    }
}

impl<L: Undo> Undo for Watched<L> {
    type Taken = (L::Taken, usize);

    fn take_leaving_at(&self, cost: u64, leave: Headroom, now: Timestamp) -> Result<(Allowed, Self::Taken), Denied> {
        let (allowed, taken) = self.limiter.take_leaving_at(cost, leave, now)?;
        Ok((allowed, (taken, self.taken(cost, now, false))))
    }

    fn undo_at(&self, (taken, written): Self::Taken, cost: u64, now: Timestamp) {
        self.limiter.undo_at(taken, cost, now);
        strike_out(written, |units| units.saturating_sub(cost));
    }

    fn delays(&self) -> bool {
        self.limiter.delays()
    }
}

impl<L: Reserve> Reserve for Watched<L> {
    type Booked = (L::Booked, usize);

    fn book_leaving_at(
        &self,
        cost: u64,
        leave: Headroom,
        longest: Duration,
        now: Timestamp,
    ) -> Result<(Allowed, Self::Booked), Denied> {
        let (allowed, booked) = self.limiter.book_leaving_at(cost, leave, longest, now)?;
        Ok((allowed, (booked, self.taken(cost, now, allowed.delay > Duration::ZERO))))
    }

    fn close_at(&self, (booked, written): Self::Booked, kept: u64, now: Timestamp) {
        self.limiter.close_at(booked, kept, now);
        strike_out(written, |units| units.min(kept));
    }

    fn charge_at(&self, _cost: u64, _now: Timestamp) {
        unreachable!("a debt is no admission");
    }
}

/// The next of a row of random numbers, less than `below`.
fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ mixed >> 31) % below
}

const OPS: usize = 10;
const NAMES: [&str; OPS] =
    ["checks", "leaving", "undone", "leases", "composites", "waits", "bookings", "observed", "refunds", "changes"];

fn did(op: usize) {
    RECORD.with_borrow_mut(|record| record.done[op] += 1);
}

fn refused<T, E>(answer: Result<T, E>) -> Option<T> {
    if answer.is_err() {
        RECORD.with_borrow_mut(|record| record.refused += 1);
    }
    answer.ok()
}

/// What all limiters have in common.
struct Shared {
    global: Watched<RateLimiter<TokenBucket>>,
    counters: Counters,
}

/// Many requests of one thread to one limiter, of all kinds but bookings. At the end nothing is open.
fn mix<L: Undo + Copy>(limiter: Watched<L>, line: &Line<Watched<L>>, shared: &Shared, seed: &mut u64) {
    let begun = RECORD.with_borrow(|record| record.taken.len());
    let most = 1 << random(seed, 8);
    let lease = Watched { leased: true, ..limiter }.lease().at_most(most);
    let mut spent = 0;
    let mut undoable = Vec::new();
    let observed = limiter.observed(&shared.counters);
    for _ in 0..40 {
        let cost = [1, 1, 1, 2, 3, 7][random(seed, 6) as usize];
        match random(seed, 32) {
            0..8 => {
                did(0);
                refused(limiter.check_n(cost));
            }
            8..11 => {
                did(1);
                refused(limiter.leaving(Priority::Background).check_n(cost));
            }
            11..15 => {
                did(2);
                undoable.extend(refused(limiter.take(cost)).map(|(_, taken)| (taken, cost)));
            }
            15..17 => {
                if !undoable.is_empty() {
                    let (taken, cost) = undoable.swap_remove(random(seed, undoable.len() as u64) as usize);
                    limiter.undo(taken, cost - random(seed, cost));
                }
            }
            17..24 => {
                did(3);
                if refused(lease.check_n(cost)).is_some() {
                    spent += cost;
                }
                assert!(lease.in_hand() <= most, "{} in hand of at most {most}", lease.in_hand());
            }
            24..26 => {
                did(4);
                refused(Composite::new((limiter, &shared.global)).check_n(cost));
            }
            26..28 => {
                did(4);
                refused(Composite::new((&shared.global, limiter)).check_n(cost));
            }
            28 => {
                did(5);
                refused(line.wait_blocking(cost, Duration::from_micros(random(seed, 3_000))));
            }
            _ => {
                did(7);
                let taken = observed.take(cost);
                let mut seen = Observed::default();
                match taken {
                    Ok((_, taken)) => {
                        (seen.admitted, seen.units) = (1, cost);
                        if random(seed, 2) == 0 {
                            observed.undo(taken, cost);
                            seen.put_back = cost;
                        }
                    }
                    Err(_) => seen.refused = 1,
                }
                RECORD.with_borrow_mut(|record| record.observed.add(seen));
            }
        }
    }
    for (taken, cost) in undoable {
        if random(seed, 2) == 0 {
            limiter.undo(taken, cost);
        }
    }
    drop(lease);
    let taken: u64 = RECORD
        .with_borrow(|record| record.taken[begun..].iter().filter(|taken| taken.leased).map(|taken| taken.units).sum());
    assert_eq!(spent, taken, "a lease has spent what it has taken and not put back");
}

impl Observed {
    fn add(&mut self, more: Self) {
        self.admitted += more.admitted;
        self.units += more.units;
        self.refused += more.refused;
        self.put_back += more.put_back;
    }
}

/// Some bookings, which are closed in any order.
fn book<L: Reserve + Copy>(limiter: L, seed: &mut u64) {
    let mut open = Vec::new();
    for _ in 0..random(seed, 4) + 1 {
        did(6);
        open.extend(refused(limiter.reserve(random(seed, 4), Duration::from_micros(random(seed, 2_000)))));
    }
    while !open.is_empty() {
        // Until time has reached some of them.
        thread::sleep(Duration::from_micros(random(seed, 1_000)));
        let booking = open.swap_remove(random(seed, open.len() as u64) as usize);
        match random(seed, 3) {
            0 => booking.commit(),
            1 => booking.cancel(),
            _ => {
                let used = random(seed, booking.cost() + 1);
                booking.settle(used);
            }
        }
    }
}

/// Checks and refunds, and nothing else: what an undo puts back is not what a refund leaves.
fn check_and_refund(limiter: &impl Limiter, seed: &mut u64) {
    for _ in 0..40 {
        did(0);
        let cost = random(seed, 4);
        if refused(limiter.check_n(cost)).is_some() && random(seed, 4) == 0 {
            did(8);
            limiter.refund(cost);
        }
    }
}

/// What a limiter may admit, and what it has.
struct Account {
    name: String,
    kind: Kind,
    /// The largest there was.
    quota: Quota,
    changes: bool,
    /// From the round before.
    kept: Vec<Taken>,
    kept_refunded: Vec<Taken>,
    total: u64,
    refunded: u64,
    /// How much of the bound was used at most, in thousandths.
    most: u64,
}

impl Account {
    fn window(at: u64) -> u64 {
        at / PERIOD
    }

    /// The most within an interval, both ends included.
    fn bound(&self, from: u64, to: u64) -> u64 {
        let limit = u128::from(self.quota.limit());
        let bucket = |time| {
            // Who is not held up may be counted so much later, in a table that has forgotten what has recovered.
            let time = time + u128::from(HELD_UP);
            let burst = self.quota.explicit_burst().map_or(limit, u128::from);
            burst + time * limit / self.quota.period().as_nanos()
        };
        let each = Each { limit, period: PERIOD.into(), changes: self.changes };
        self.kind.bound(each, from.into(), to.into(), bucket) as u64
    }

    fn is_certain(&self, taken: &Taken) -> bool {
        let window = match self.kind {
            Kind::Fixed | Kind::Sliding => Self::window(taken.at) == Self::window(taken.until),
            Kind::Log | Kind::Bucket => true,
        };
        window && taken.until - taken.at <= HELD_UP && !taken.ahead
    }

    /// Audits a round, and says how many were left out.
    fn audit(&mut self, mut round: Vec<Taken>, refunded: Vec<Taken>, end: u64) -> usize {
        self.total += round.iter().map(|taken| taken.units).sum::<u64>();
        self.refunded += refunded.iter().map(|refunded| refunded.units).sum::<u64>();
        let all = round.len();
        round.retain(|taken| self.is_certain(taken));
        let left_out = all - round.len();
        round.extend(std::mem::take(&mut self.kept));
        round.sort_unstable_by_key(|taken| taken.at);
        self.kept_refunded.extend(refunded);
        for length in LENGTHS {
            let (mut last, mut sum) = (0, 0);
            for first in &round {
                let to = first.at + length;
                while last < round.len() && round[last].at <= to {
                    sum += round[last].units;
                    last += 1;
                }
                let within = |refunded: &&Taken| refunded.until >= first.at && refunded.at <= to;
                let refunded: u64 = match self.kept_refunded.is_empty() {
                    true => 0,
                    false => self.kept_refunded.iter().filter(within).map(|refunded| refunded.units).sum(),
                };
                let bound = self.bound(first.at, to) + refunded;
                assert!(
                    sum <= bound,
                    "{}: {sum} were admitted from {} on within {length} ns, and {bound} may be",
                    self.name,
                    first.at
                );
                self.most = self.most.max(1_000 * sum / bound);
                sum -= first.units;
            }
        }
        let longest = LENGTHS.into_iter().max().unwrap_or(0);
        round.retain(|taken| taken.at + longest >= end);
        self.kept = round;
        self.kept_refunded.retain(|refunded| refunded.until + longest >= end);
        left_out
    }
}

/// The limiters that there are, as they come to be.
#[derive(Default)]
struct Accounts(Vec<Account>);

impl Accounts {
    fn open(&mut self, name: String, kind: Kind, quota: Quota, changes: bool) -> usize {
        let (kept, kept_refunded) = (Vec::new(), Vec::new());
        self.0.push(Account { name, kind, quota, changes, kept, kept_refunded, total: 0, refunded: 0, most: 0 });
        self.0.len() - 1
    }

    fn watch<L>(&mut self, limiter: L, name: String, kind: Kind, quota: Quota, changes: bool) -> Watched<L> {
        Watched { limiter, whose: self.open(name, kind, quota, changes), leased: false }
    }
}

/// What a thread may do next.
type Turn<'a> = Box<dyn Fn(&Shared, &mut u64) + Sync + 'a>;

fn quota(limit: u64) -> Quota {
    Quota::new(limit, Duration::from_nanos(PERIOD))
}

/// Of which one is the quota at a time.
const LIMITS: [u64; 4] = [20, 35, 50, 60];

fn any_quota(seed: &mut u64) -> Quota {
    quota(LIMITS[random(seed, 4) as usize])
}

#[test]
#[ignore = "it takes minutes; see CONTRIBUTING.md"]
fn everything_at_once_stays_within_its_bound() {
    let minutes: f64 = std::env::var("SOAK_MINUTES").map_or(2.0, |minutes| minutes.parse().expect("a number"));
    let clock = MonotonicClock::new();
    let mut accounts = Accounts::default();
    let everybody = Quota::per_second(15_000).burst(150);
    let global = RateLimiter::with_clock(TokenBucket::new(everybody).unwrap(), clock.clone());
    let global = accounts.watch(global, "global".to_owned(), Kind::Bucket, everybody, false);
    let shared = Shared { global, counters: Counters::new() };
    let fifty = quota(50);

    macro_rules! limiters {
        ($turns:ident: $($one:ident, $table:ident, $refunded:ident: $algorithm:ident, $kind:ident, $book:expr, $book_key:expr;)+) => {
            $(
                let name = stringify!($algorithm);
                let new = || $algorithm::new(fifty).unwrap();
                let $one = RateLimiter::with_clock(new(), clock.clone());
                let $one = accounts.watch(&$one, name.to_owned(), Kind::$kind, fifty, false);
                let $refunded = RateLimiter::with_clock(new(), clock.clone());
                let $refunded = accounts.watch($refunded, format!("{name}, refunded"), Kind::$kind, fifty, false);
                let $table: KeyedLimiter<u64, _> = KeyedLimiter::with_clock(new(), 64, clock.clone());
            )+
            let mut $turns: Vec<Turn<'_>> = Vec::new();
            $(
                let line = Line::new($one, 4);
                $turns.push(Box::new(move |shared, seed| mix(*line.limiter(), &line, shared, seed)));
                let booked = $one;
                $turns.push(Box::new(move |_, seed| ($book)(booked, seed)));
                let refunded = &$refunded;
                $turns.push(Box::new(move |_, seed| check_and_refund(refunded, seed)));
                let table = &$table;
                let keys = (0..KEYS).map(|key| {
                    let name = format!("{}, key {key}", stringify!($algorithm));
                    Line::new(accounts.watch(table.key(&key), name, Kind::$kind, fifty, false), 4)
                });
                let keys: Vec<_> = keys.collect();
                $turns.push(Box::new(move |shared, seed| {
                    let line = &keys[random(seed, KEYS) as usize];
                    mix(*line.limiter(), line, shared, seed);
                    ($book_key)(*line.limiter(), &mut *seed);
                    // And those that come once and never again.
                    for _ in 0..8 {
                        let _ = table.check(&random(seed, u64::MAX));
                    }
                }));
            )+
        };
    }
    macro_rules! live_limiters {
        ($turns:ident: $($one:ident, $table:ident: $algorithm:ident, $kind:ident, $carry:ident;)+) => {
            $(
                let largest = quota(LIMITS[3]);
                let line = Line::new($one, 4);
                $turns.push(Box::new(move |shared, seed| {
                    mix(*line.limiter(), &line, shared, seed);
                    did(9);
                    line.limiter().limiter.set_quota(any_quota(seed), Carry::$carry).unwrap();
                }));
                let table = &$table;
                let keys = (0..KEYS).map(|key| {
                    let name = format!("live {}, key {key}", stringify!($algorithm));
                    Line::new(accounts.watch(table.key(&key), name, Kind::$kind, largest, true), 4)
                });
                let keys: Vec<_> = keys.collect();
                $turns.push(Box::new(move |shared, seed| {
                    let line = &keys[random(seed, KEYS) as usize];
                    mix(*line.limiter(), line, shared, seed);
                    did(9);
                    table.set_quota(any_quota(seed), Carry::$carry).unwrap();
                }));
            )+
        };
    }
    macro_rules! live {
        ($($one:ident, $table:ident: $algorithm:ident, $kind:ident;)+) => {$(
            let largest = quota(LIMITS[3]);
            let new = || Live::<$algorithm>::new(largest).unwrap();
            let $one = RateLimiter::with_clock(new(), clock.clone());
            let $one = accounts.watch(&$one, format!("live {}", stringify!($algorithm)), Kind::$kind, largest, true);
            let $table: KeyedLimiter<u64, _> = KeyedLimiter::with_clock(new(), 64, clock.clone());
        )+};
    }
    live! {
        live_fixed, live_fixed_table: FixedWindow, Fixed;
        live_sliding, live_sliding_table: SlidingWindow, Sliding;
        live_token, live_token_table: TokenBucket, Bucket;
        live_leaky, live_leaky_table: LeakyBucket, Bucket;
    }
    limiters! {
        turns: fixed, fixed_table, fixed_refunded: FixedWindow, Fixed, |_, _| (), |_, _| ();
        sliding, sliding_table, sliding_refunded: SlidingWindow, Sliding, |_, _| (), |_, _| ();
        log, log_table, log_refunded: SlidingLog, Log, |_, _| (), |_, _| ();
        token, token_table, token_refunded: TokenBucket, Bucket, book, book;
        leaky, leaky_table, leaky_refunded: LeakyBucket, Bucket, book, book;
    }
    live_limiters! {
        turns: live_fixed, live_fixed_table: FixedWindow, Fixed, Absolute;
        live_sliding, live_sliding_table: SlidingWindow, Sliding, Proportional;
        live_token, live_token_table: TokenBucket, Bucket, Proportional;
        live_leaky, live_leaky_table: LeakyBucket, Bucket, Absolute;
    }

    let seeds = AtomicU64::new(1);
    let (begun, start) = (Instant::now(), clock.now().as_nanos());
    let mut accounts = accounts.0;
    let (mut done, mut admissions, mut refusals, mut left_out, mut rounds) = ([0_u64; OPS], 0, 0_u64, 0, 0);
    let mut observed = Observed::default();
    while begun.elapsed().as_secs_f64() < 60.0 * minutes {
        rounds += 1;
        let worker = || {
            let mut seed = seeds.fetch_add(1, Ordering::Relaxed) << 32;
            let round = Instant::now();
            while round.elapsed() < ROUND {
                let turn = &turns[random(&mut seed, turns.len() as u64) as usize];
                turn(&shared, &mut seed);
            }
            RECORD.take()
        };
        let records: Vec<Record> = thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker has nothing to panic at")).collect()
        });
        let end = clock.now().as_nanos();
        let mut taken = vec![(Vec::new(), Vec::new()); accounts.len()];
        for record in records {
            admissions += record.taken.len();
            refusals += record.refused;
            observed.add(record.observed);
            done.iter_mut().zip(record.done).for_each(|(sum, more)| *sum += more);
            record.taken.into_iter().filter(|one| one.units > 0).for_each(|one| taken[one.whose].0.push(one));
            record.refunded.into_iter().for_each(|one| taken[one.whose].1.push(one));
        }
        for (account, (taken, refunded)) in accounts.iter_mut().zip(taken) {
            left_out += account.audit(taken, refunded, end);
            // The longest that anything was booked ahead.
            let bound = account.bound(start, end + 2_000_000) + account.refunded;
            assert!(account.total <= bound, "{}: {} in all, of {bound}", account.name, account.total);
        }
        let counts = shared.counters.read();
        let counted = Observed {
            admitted: counts.admitted.requests,
            units: counts.admitted.units,
            refused: counts.refused().requests,
            put_back: counts.put_back,
        };
        assert_eq!(counted, observed, "what was counted, and what the threads saw");
    }

    println!("{rounds} rounds, {admissions} admissions, {refusals} refusals; {left_out} in no interval");
    NAMES.iter().zip(done).for_each(|(name, done)| println!("{name:>12}: {done}"));
    for account in &accounts {
        let Account { name, total, refunded, most, .. } = account;
        println!("{name:>24}: {total} units, {refunded} refunded, {most} thousandths of the bound");
        assert!(*total > 0, "nothing passed");
    }
    assert!(done.iter().all(|&done| done > 0) && refusals > 0);
    assert!(left_out * 10 < admissions, "too many were held up for this to say anything");
}
