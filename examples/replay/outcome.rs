//! What one algorithm makes of a trace, and how fast.

use std::time::{Duration, Instant};

use tollgate::{Algorithm, KeyedLimiter, ManualClock, SecretState, Timestamp, keyed::KeyedStats};

use crate::{
    progress::Progress,
    timeline::Timeline,
    trace::{Request, Trace},
    worst_window::{By, worst_window},
};

/// How many decisions to time at the least, but for tests, and how often to go through a trace at the least.
const FEWEST_DECISIONS: u64 = if cfg!(test) { 1 } else { 200_000 };
const FEWEST_PASSES: u64 = 5;

/// The decisions of one algorithm on all requests of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// As in `fixed_window`.
    pub(crate) name: &'static str,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    /// The most that one key got within any window of its limiter's time, and the most that it may get.
    pub(crate) worst_window: u64,
    pub(crate) bound: u64,
    /// The most that one key got within any window of the log's time.
    pub(crate) worst_window_by_log: u64,
    /// The longest that any request is told to wait before it goes ahead.
    pub(crate) longest_delay: Duration,
    /// The median over the passes; `None` if there was nothing to decide.
    pub(crate) ns_per_decision: Option<f64>,
    /// How many requests go ahead in each bin of the timeline, those that are to wait after their wait.
    pub(crate) load: Vec<u64>,
    /// How many requests of each key are admitted.
    pub(crate) by_key: Vec<u64>,
    /// What happened to keys for which there was no limiter yet.
    pub(crate) stats: KeyedStats,
}

/// How often each algorithm goes through a trace for the time that it takes.
pub(crate) fn passes(trace: &Trace) -> u64 {
    FEWEST_DECISIONS.div_ceil(trace.requests.len().max(1) as u64).max(FEWEST_PASSES)
}

impl Outcome {
    pub(crate) fn of<A: Algorithm + Copy>(
        name: &'static str,
        algorithm: A,
        bound: u64,
        (trace, capacity): (&Trace, usize),
        timeline: &Timeline,
        progress: &Progress,
    ) -> Self {
        let mut longest_delay = Duration::ZERO;
        let mut load = timeline.empty();
        let mut by_key = vec![0; trace.keys];
        let clock = clock_of(trace);
        let limiter = limiter(algorithm, capacity, &clock);
        let decide = |request: &Request| {
            let decision = limiter.check_at(&request.key, request.at);
            if let Ok(allowed) = decision {
                longest_delay = longest_delay.max(allowed.delay);
                timeline.count(&mut load, request.at + allowed.delay);
                by_key[request.key] += 1;
            }
            decision.is_ok()
        };
        let decisions: Vec<bool> = trace.requests.iter().map(decide).collect();
        progress.add(1);

        let admitted = by_key.iter().sum();
        let period = algorithm.quota().period();
        Self {
            name,
            admitted,
            refused: decisions.len() as u64 - admitted,
            worst_window: worst_window(&trace.requests, &decisions, period, By::Limiter),
            bound,
            worst_window_by_log: worst_window(&trace.requests, &decisions, period, By::Log),
            longest_delay,
            ns_per_decision: time(algorithm, (trace, capacity), &decisions, progress),
            load,
            by_key,
            stats: limiter.stats(),
        }
    }

    pub(crate) fn is_within_bound(&self) -> bool {
        self.worst_window <= self.bound
    }

    /// The admitted share of all requests, from 0 to 1; `None` if there were none.
    pub(crate) fn share(&self) -> Option<f64> {
        let requests = self.admitted + self.refused;
        (requests > 0).then(|| self.admitted as f64 / requests as f64)
    }
}

/// One limiter per key, as new. The hasher has no secret, so that every run is the same.
fn limiter<A: Algorithm>(algorithm: A, capacity: usize, clock: &ManualClock) -> KeyedLimiter<usize, A, &ManualClock> {
    KeyedLimiter::with_clock_and_hasher(algorithm, capacity, clock, SecretState::with_seed(0))
}

/// A clock that shows when the trace begins. It tells limiters when they were made; each request comes with its time.
fn clock_of(trace: &Trace) -> ManualClock {
    let start = trace.requests.iter().map(|request| request.at).min();
    ManualClock::starting_at(start.unwrap_or(Timestamp::ZERO))
}

/// The median time of a decision, in nanoseconds: `check_at` of a key, on a request that has been parsed already, by one
/// thread.
fn time<A: Algorithm + Copy>(
    algorithm: A,
    (trace, capacity): (&Trace, usize),
    expected: &[bool],
    progress: &Progress,
) -> Option<f64> {
    if expected.is_empty() {
        return None;
    }
    let clock = clock_of(trace);
    let mut decisions = vec![false; expected.len()];
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..passes(trace) {
        let limiter = limiter(algorithm, capacity, &clock);
        let started = Instant::now();
        for (request, decision) in trace.requests.iter().zip(&mut decisions) {
            *decision = limiter.check_at(&request.key, request.at).is_ok();
        }
        times.push(started.elapsed());
        assert_eq!(decisions, expected, "the same requests were decided differently");
        progress.add(1);
    }
    times.sort_unstable();
    Some(times[times.len() / 2].as_nanos() as f64 / expected.len() as f64)
}

#[cfg(test)]
mod tests {
    use tollgate::Quota;

    use super::*;
    use crate::{algorithms::Algorithms, workload::SplitMix64};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    fn outcomes(limit: u64, burst: u64, period_ms: u64, requests: Vec<Request>) -> [Outcome; 5] {
        let keys = requests.iter().map(|request| request.key + 1).max().unwrap_or(0);
        let trace = Trace { requests, keys, ..Trace::default() };
        let algorithms = Algorithms::new(&Quota::new(limit, Duration::from_millis(period_ms)).burst(burst)).unwrap();
        algorithms.replay(&trace, keys, &Timeline::of_log(&trace.requests))
    }

    /// Far more clients than there is room for: some are refused early, and none gets more than its bound.
    #[test]
    fn no_flood_breaks_a_bound() {
        let mut random = SplitMix64::new(12);
        let requests: Vec<Request> =
            (0..20_000).map(|nth| Request { at: at(nth / 20), key: random.below(500) as usize }).collect();
        let trace = Trace { requests, keys: 500, ..Trace::default() };
        let algorithms = Algorithms::new(&Quota::new(3, Duration::from_millis(100)).burst(3)).unwrap();
        let timeline = Timeline::of_log(&trace.requests);
        let [roomy, crowded] = [500, 1].map(|capacity| algorithms.replay(&trace, capacity, &timeline));
        for (roomy, crowded) in roomy.iter().zip(&crowded) {
            assert_eq!(roomy.stats.overflowed, 0);
            assert!(crowded.stats.overflowed > 0 && crowded.stats.taken_over > 0);
            assert!(crowded.is_within_bound());
            assert!(crowded.admitted < roomy.admitted, "{crowded:?}");
        }
    }

    /// Times in any order, often before the one before.
    #[test]
    fn no_order_of_the_requests_breaks_a_bound() {
        let mut random = SplitMix64::new(11);
        for round in 0..300 {
            let (limit, burst, period) = (1 + random.below(5), 1 + random.below(8), 8 + random.below(60));
            let span = period * (1 + random.below(6));
            let origin = random.below(1 << 40);
            let mut request = || Request { at: at(origin + random.below(span)), key: random.below(2) as usize };
            let mut requests: Vec<Request> = (0..300).map(|_| request()).collect();
            if round % 3 == 0 {
                requests.sort_by_key(|request| request.at);
            }
            for outcome in outcomes(limit, burst, period, requests) {
                assert!(outcome.is_within_bound(), "{limit} per {period}, burst {burst}: {outcome:?}");
                if round % 3 == 0 {
                    assert_eq!(outcome.worst_window, outcome.worst_window_by_log);
                }
                if outcome.name.ends_with("bucket") {
                    assert!(outcome.worst_window_by_log <= outcome.bound, "buckets hold by any order: {outcome:?}");
                }
            }
        }
    }

    /// Each jump ahead gives the windows room that the step back then uses, so by the log's own time they admit more
    /// than their bound; by the limiter's own, they do not.
    #[test]
    fn jumping_ahead_and_back_renews_windows_but_not_buckets() {
        let there_and_back = (1..=5).flat_map(|jump| [jump * 100, 0, 0]);
        let requests = there_and_back.map(|millis| Request { at: at(millis), key: 0 }).collect();
        for outcome in outcomes(3, 3, 100, requests) {
            assert!(outcome.is_within_bound());
            let renewed = !outcome.name.ends_with("bucket");
            assert_eq!(outcome.worst_window_by_log > outcome.bound, renewed, "{outcome:?}");
        }
    }

    #[test]
    fn nothing_to_decide_takes_no_time() {
        for outcome in outcomes(1, 1, 1, Vec::new()) {
            assert_eq!((outcome.share(), outcome.ns_per_decision, outcome.worst_window), (None, None, 0));
        }
    }

    #[test]
    fn one_too_many_is_told() {
        let mut outcome = outcomes(1, 1, 1, Vec::new())[0].clone();
        outcome.worst_window = outcome.bound + 1;
        assert!(!outcome.is_within_bound());
    }
}
