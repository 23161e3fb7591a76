//! Time cut into equal bins, to count what happens when.

use std::time::Duration;

use tollgate::Timestamp;

use crate::trace::Request;

/// Equal bins from a start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(crate) start: Timestamp,
    pub(crate) bin: Duration,
    pub(crate) bins: usize,
}

/// Steps that are easy to read on an axis, in seconds; beyond, multiples of the last.
const ROUND: [u64; 20] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/// The shortest round step, in seconds, of which at most `most` fit into `seconds`.
pub(crate) fn round_step(seconds: u64, most: u64) -> u64 {
    let least = seconds.div_ceil(most);
    let longest = ROUND[ROUND.len() - 1];
    ROUND.into_iter().find(|&step| step >= least).unwrap_or_else(|| least.div_ceil(longest) * longest)
}

impl Timeline {
    /// Some hundred bins from the first request to the last, of whole seconds.
    pub(crate) fn of_log(requests: &[Request]) -> Self {
        let times = requests.iter().map(|request| request.at);
        let seconds = |time: Option<Timestamp>| time.unwrap_or_default().as_nanos() / 1_000_000_000;
        let (first, last) = (seconds(times.clone().min()), seconds(times.max()));
        let bin = round_step(last - first + 1, 120);
        let start = first / bin * bin;
        let bins = ((last - start) / bin + 1) as usize;
        Self { start: Timestamp::from_secs(start), bin: Duration::from_secs(bin), bins }
    }

    /// A count of 0 for each bin.
    pub(crate) fn empty(&self) -> Vec<u64> {
        vec![0; self.bins]
    }

    /// Counts one more at the time `at`, if that is within the timeline.
    pub(crate) fn count(&self, counts: &mut [u64], at: Timestamp) {
        if at < self.start {
            return;
        }
        let bin = (at - self.start).as_nanos() / self.bin.as_nanos();
        if let Some(count) = usize::try_from(bin).ok().and_then(|bin| counts.get_mut(bin)) {
            *count += 1;
        }
    }

    /// Where the last bin ends.
    pub(crate) fn end(&self) -> Timestamp {
        self.start + self.bin * self.bins as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Request {
        Request { at: Timestamp::from_secs(seconds), key: 0 }
    }

    #[test]
    fn every_request_has_a_bin() {
        for times in [vec![0], vec![7, 7], vec![1_000, 5], vec![0, u64::MAX / 1_000_000_000], vec![86_399, 5 * 86_400]]
        {
            let requests: Vec<Request> = times.into_iter().map(at).collect();
            let timeline = Timeline::of_log(&requests);
            let mut counts = timeline.empty();
            for request in &requests {
                timeline.count(&mut counts, request.at);
            }
            assert_eq!(counts.iter().sum::<u64>(), requests.len() as u64);
            assert!(timeline.bins <= 122 && timeline.end() > requests[0].at, "{timeline:?}");
        }
    }

    #[test]
    fn what_is_outside_is_not_counted() {
        let timeline = Timeline { start: Timestamp::from_secs(10), bin: Duration::from_secs(1), bins: 2 };
        let mut counts = timeline.empty();
        for seconds in [0, 9, 10, 11, 12, u64::MAX] {
            timeline.count(&mut counts, Timestamp::from_secs(seconds));
        }
        assert_eq!(counts, [1, 1]);
    }
}
