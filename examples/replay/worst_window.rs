//! The most that one key got within any window, wherever it begins.

use std::time::Duration;

use tollgate::Timestamp;

use crate::trace::Request;

/// By which time an admitted request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The limiter's: the latest time at which it has admitted anything.
    ///
    /// Where a log steps back in time, its limiters do not. To them time stands still until it is past the latest that
    /// they have acted on, and it is within their own time that they promise their bounds. Where the log is in order,
    /// this is the log's time.
    Limiter,
    /// The log's: what each line says, sorted.
    ///
    /// A log that jumps ahead and back over a window's edge again and again gets a new window each time, all of which
    /// seem, by its own time, to have been used at once.
    Log,
}

/// The most of the requests `admitted` for any one key in any half-open window `[t, t + period)`.
pub(crate) fn worst_window(requests: &[Request], admitted: &[bool], period: Duration, by: By) -> u64 {
    let admitted = requests.iter().zip(admitted).filter(|&(_, &admitted)| admitted);
    let mut times: Vec<(usize, Timestamp)> = admitted.map(|(request, _)| (request.key, request.at)).collect();
    // Stable: the requests of each key stay in the order of the log.
    times.sort_by_key(|&(key, _)| key);
    match by {
        By::Limiter => raise(&mut times),
        By::Log => times.sort_unstable(),
    }
    let mut first = 0;
    let mut worst = 0;
    for (last, &(key, at)) in times.iter().enumerate() {
        while times[first].0 != key || at - times[first].1 >= period {
            first += 1;
        }
        worst = worst.max(last - first + 1);
    }
    worst as u64
}

/// Raises each time to the latest before it of the same key.
fn raise(times: &mut [(usize, Timestamp)]) {
    for nth in 1..times.len() {
        let (key, latest) = times[nth - 1];
        if times[nth].0 == key {
            times[nth].1 = times[nth].1.max(latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::SplitMix64;

    const PERIOD: Duration = Duration::from_nanos(10);

    fn worst(times: &[(usize, u64)], by: By) -> u64 {
        let request = |&(key, at)| Request { at: Timestamp::from_nanos(at), key };
        let requests: Vec<_> = times.iter().map(request).collect();
        worst_window(&requests, &vec![true; times.len()], PERIOD, by)
    }

    #[test]
    fn a_window_is_half_open() {
        assert_eq!(worst(&[], By::Log), 0);
        assert_eq!(worst(&[(0, 3)], By::Log), 1);
        assert_eq!(worst(&[(0, 3), (0, 12)], By::Log), 2);
        assert_eq!(worst(&[(0, 3), (0, 13)], By::Log), 1);
        assert_eq!(worst(&[(0, 3), (1, 3), (0, 13), (1, 12)], By::Log), 2);
    }

    #[test]
    fn a_limiter_does_not_step_back() {
        let there_and_back = [(0, 5), (0, 15), (0, 5), (0, 25), (0, 5)];
        assert_eq!(worst(&there_and_back, By::Log), 3);
        assert_eq!(worst(&there_and_back, By::Limiter), 2);
    }

    #[test]
    fn it_is_what_counting_every_window_gives() {
        let mut random = SplitMix64::new(3);
        for _ in 0..500 {
            let times: Vec<_> = (0..30).map(|_| (random.below(3) as usize, random.below(60))).collect();
            let inside = |key, start, &&(k, at): &&(usize, u64)| k == key && (start..start + 10).contains(&at);
            let count = |key, start| times.iter().filter(|time| inside(key, start, time)).count() as u64;
            let most =
                (0..3).flat_map(|key| (0..60).map(move |start| (key, start))).map(|(key, start)| count(key, start));
            assert_eq!(worst(&times, By::Log), most.max().unwrap());
        }
    }
}
