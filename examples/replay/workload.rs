//! A made-up trace in which the algorithms differ: five clients, one after the other, each with one habit.
//!
//! Everything is in proportion to the quota, so that the picture is the same for any. It is the same in every run, too:
//! what is random in it comes from a generator of fixed seed.

use std::time::Duration;

use tollgate::Timestamp;

use crate::{
    timeline::Timeline,
    trace::{Request, Trace},
};

/// The seed of all that is random.
const SEED: u64 = 2026;

/// How many bins a window has in the picture, unless its limit is lower.
const BINS_PER_WINDOW: u32 = 20;

/// The most that the limit can be: the workload makes some 25 times as many requests.
const MOST_LIMIT: u64 = 100_000;

/// The windows that the workload takes.
const WINDOWS: u64 = 19;

/// The window in which it begins: not the first of the clock, since no real log is at time 0.
const FIRST_WINDOW: u64 = 1_000;

/// One client of the workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// What it does, and what comes of that.
    pub(crate) habit: &'static str,
    /// The habit in three words, for the picture.
    pub(crate) caption: &'static str,
    /// When it begins and ends, in thousandths of a window.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// How many requests it makes, in multiples of the limit.
    limits: u64,
    arrivals: Arrivals,
}

/// How the requests of a client are spread over its time.
#[derive(Clone, Copy, Debug)]
enum Arrivals {
    /// All the same time apart.
    Even,
    /// One in each of as many equal intervals, anywhere in it.
    Jittered,
    /// Each at any time: a Poisson process.
    Random,
}

/// In the order in which they come.
pub(crate) const CLIENTS: [Client; 5] = [
    Client {
        name: "edge",
        habit: "twice the limit across a window's edge: only the fixed window lets it all pass",
        caption: "across an edge",
        from: 750,
        to: 1_250,
        limits: 2,
        arrivals: Arrivals::Jittered,
    },
    Client {
        name: "burst",
        habit: "idle, then twice the limit amid a window: the buckets also admit what they gain meanwhile",
        caption: "after idling",
        from: 3_300,
        to: 3_700,
        limits: 2,
        arrivals: Arrivals::Jittered,
    },
    Client {
        name: "even",
        habit: "just the limit, evenly: all pass, but the sliding window's estimate of the past costs a few",
        caption: "evenly at the rate",
        from: 5_500,
        to: 8_500,
        limits: 3,
        arrivals: Arrivals::Even,
    },
    Client {
        name: "random",
        habit: "the limit on average, at random: a bucket forgives most, a log least",
        caption: "randomly at the rate",
        from: 9_500,
        to: 12_500,
        limits: 3,
        arrivals: Arrivals::Random,
    },
    Client {
        name: "flood",
        habit: "three times the limit for four windows: a third passes, in gulps or evenly",
        caption: "3 × the rate",
        from: 13_500,
        to: 17_500,
        limits: 12,
        arrivals: Arrivals::Jittered,
    },
];

/// The workload for a quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    limit: u64,
    /// The window, in nanoseconds.
    window: u64,
}

impl Workload {
    pub(crate) fn new(limit: u64, window: Duration) -> Result<Self, String> {
        if limit > MOST_LIMIT {
            return Err(format!("--limit: {limit} is too large for the built-in workload; use at most {MOST_LIMIT}"));
        }
        let most = Duration::from_nanos(Timestamp::HORIZON.as_nanos() / (FIRST_WINDOW + WINDOWS));
        match u64::try_from(window.as_nanos()) {
            Ok(nanos) if window <= most => Ok(Self { limit, window: nanos }),
            _ => {
                let days = most.as_secs() / (24 * 60 * 60);
                Err(format!("--window: {window:?} is too long for the built-in workload; use at most {days}d"))
            }
        }
    }

    /// All requests, in order of time.
    pub(crate) fn trace(&self) -> Trace {
        let mut random = SplitMix64::new(SEED);
        let mut requests = Vec::new();
        for (key, client) in CLIENTS.iter().enumerate() {
            let mut times = self.times(client, &mut random);
            times.sort_unstable();
            requests.extend(times.into_iter().map(|at| Request { at, key }));
        }
        let lines = requests.len() as u64;
        Trace { requests, keys: CLIENTS.len(), lines, ..Trace::default() }
    }

    fn times(&self, client: &Client, random: &mut SplitMix64) -> Vec<Timestamp> {
        const ONE: u64 = 1 << 32;
        let count = client.limits * self.limit;
        let span = u128::from(self.at(client.to) - self.at(client.from));
        let mut time = |nth: u64| {
            // How far into its time, as a multiple of 2^-32 / count.
            let part = match client.arrivals {
                Arrivals::Even => nth * ONE,
                Arrivals::Jittered => nth * ONE + random.below(ONE),
                Arrivals::Random => random.below(count * ONE),
            };
            let after = span * u128::from(part) / u128::from(count * ONE);
            Timestamp::from_nanos(self.at(client.from) + after as u64)
        };
        (0..count).map(&mut time).collect()
    }

    /// The time, in nanoseconds, so many thousandths of a window after the beginning.
    pub(crate) fn at(&self, thousandths: u64) -> u64 {
        let thousandths = u128::from(FIRST_WINDOW * 1_000 + thousandths);
        (u128::from(self.window) * thousandths / 1_000) as u64
    }

    /// The whole of the workload, and what is still under way after its last request.
    pub(crate) fn timeline(&self) -> Timeline {
        let window = Duration::from_nanos(self.window);
        let bin = (window / BINS_PER_WINDOW.min(self.limit as u32)).max(Duration::from_nanos(1));
        let bins = (window.as_nanos() * u128::from(WINDOWS)).div_ceil(bin.as_nanos()) as usize;
        Timeline { start: Timestamp::from_nanos(self.at(0)), bin, bins }
    }
}

/// A generator of pseudo-random numbers: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number below `end`, each as likely as the others but for a bias of `end` in 2^64.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_order_and_the_same_every_time() {
        let workload = Workload::new(100, Duration::from_secs(60)).unwrap();
        let trace = workload.trace();
        assert!(trace.requests.is_sorted_by_key(|request| request.at));
        assert_eq!(trace.requests, workload.trace().requests);
        assert_eq!(trace.requests.len(), 22 * 100);
        let (timeline, mut counts) = (workload.timeline(), workload.timeline().empty());
        trace.requests.iter().for_each(|request| timeline.count(&mut counts, request.at));
        assert_eq!(counts.iter().sum::<u64>(), 22 * 100);
    }

    #[test]
    fn any_quota_has_a_workload() {
        for (limit, nanos) in [(1, 1), (MOST_LIMIT, 1), (1, u64::MAX / 5_000), (7, 1_000)] {
            let workload = Workload::new(limit, Duration::from_nanos(nanos)).unwrap();
            assert_eq!(workload.trace().requests.len() as u64, 22 * limit);
            assert!(workload.timeline().bins <= 20 * 20);
        }
        assert!(Workload::new(MOST_LIMIT + 1, Duration::from_secs(1)).is_err());
        assert!(Workload::new(1, Duration::MAX).is_err());
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64::new(1_234_567);
        let first = [6_457_827_717_110_365_317u64, 3_203_168_211_198_807_973];
        assert_eq!(first.map(|_| random.below(u64::MAX)), first.map(|number| number - 1));
    }
}
