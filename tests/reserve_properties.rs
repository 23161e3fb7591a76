//! Whatever is booked, committed, settled and cancelled, and in whatever order: what is left is what the rule says, to the last
//! unit, and never more than in a world in which what was put back never was booked.
#![cfg(not(loom))]

#[allow(unused_macros)]
mod runner;

use std::time::Duration;

use proptest::{collection::vec, prelude::*, sample::Index};
use runner::hold;
use tollgate::{
    Booking, Clock, Headroom, KeyedLimiter, LeakyBucket, ManualClock, Quota, RateLimiter, Reserve, Timestamp,
    TokenBucket, Undo,
};

const SECOND: i128 = 1_000_000_000;
const START: u64 = 1_790_000_000_123_456_789;

/// A token is so many grains that a nanosecond gains as many as there are tokens in a second.
const TOKEN: i128 = SECOND;

#[derive(Clone, Debug)]
enum Op {
    Check {
        cost: u64,
    },
    Reserve {
        cost: u64,
        longest: Duration,
    },
    /// Of one that is open, so many tenths of what was booked.
    Settle {
        which: Index,
        tenths: u64,
    },
    Cancel {
        which: Index,
    },
    Charge {
        cost: u64,
    },
    /// A check that is undone later, as those of composites and leases are: past the ledger.
    Take {
        cost: u64,
    },
    Undo {
        which: Index,
    },
    Wait {
        nanos: u64,
    },
}

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(1),
        (1..30_u64).prop_map(|tenths| tenths * 100_000_000),
        1..3_000_000_000_u64,
        Just(30_000_000_000)
    ]
}

fn op(past_the_ledger: bool) -> impl Strategy<Value = Op> {
    let cost = || prop_oneof![4 => 1..6_u64, 1 => 0..13_u64];
    let longest = prop_oneof![
        1 => Just(Duration::ZERO),
        3 => nanos().prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX)
    ];
    let [others, undone] = if past_the_ledger { [6, 8] } else { [1, 0] };
    let wait = prop_oneof![nanos(), (1..13_u64).prop_map(|tenths| tenths * 100_000_000)];
    prop_oneof![
        3 => cost().prop_map(|cost| Op::Check { cost }),
        6 => (cost(), longest).prop_map(|(cost, longest)| Op::Reserve { cost, longest }),
        2 => (any::<Index>(), 0..25_u64).prop_map(|(which, tenths)| Op::Settle { which, tenths }),
        4 => any::<Index>().prop_map(|which| Op::Cancel { which }),
        1 => cost().prop_map(|cost| Op::Charge { cost }),
        4 => wait.prop_map(|nanos| Op::Wait { nanos }),
        others => cost().prop_map(|cost| Op::Take { cost }),
        undone => any::<Index>().prop_map(|which| Op::Undo { which }),
    ]
}

/// What was taken, when, and where it stands in line.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: i128,
    tokens: u64,
    /// Where its place ends, in grains since the epoch, by the rule of the ledger.
    end: i128,
}

/// Two models: the rule as it is documented, which is a list of places; and the world in which what was put back never was, which
/// is the same list, played through from the beginning.
struct Model {
    limit: i128,
    burst: i128,
    delays: bool,
    /// The word, by the rule.
    spent: i128,
    taken: Vec<Taken>,
    /// Whether nothing was ever lost: no place that time had reached was given up while others stood behind it.
    nothing_lost: bool,
}

impl Model {
    fn gained(&self, at: i128) -> i128 {
        at * self.limit
    }

    fn left(&self, spent: i128, at: i128) -> u64 {
        let used = (spent - self.gained(at)).max(0);
        ((self.burst * TOKEN - used).max(0) / TOKEN) as u64
    }

    fn take(&mut self, tokens: u64, at: i128) -> usize {
        self.spent =
            if tokens == 0 { self.spent } else { self.spent.max(self.gained(at)) + i128::from(tokens) * TOKEN };
        self.taken.push(Taken { at, tokens, end: self.spent });
        self.taken.len() - 1
    }

    /// Until when a request has to wait in order to be in time: how long after `at` it may act, and how long until it may be
    /// booked.
    fn turn(&self, cost: u64, longest: i128, at: i128) -> Option<(i128, i128)> {
        let asked = i128::from(cost.max(1));
        let time_of = |grains: i128| (grains + self.limit - 1).div_euclid(self.limit);
        let fits = (time_of(self.spent + (asked - self.burst) * TOKEN) - at).max(0);
        let turn = if self.delays { (time_of(self.spent) - at).max(0) } else { fits };
        let early = (turn - longest).max(if self.delays { fits } else { 0 }).max(0);
        (asked <= self.burst).then_some((turn, early))
    }

    /// Keeps so many tokens of the one.
    fn keep(&mut self, one: usize, tokens: u64, at: i128) {
        let Taken { end, tokens: had, .. } = self.taken[one];
        let surplus = i128::from(had.saturating_sub(tokens)) * TOKEN;
        let ahead = (end - self.gained(at)).clamp(0, surplus);
        self.nothing_lost &= ahead == surplus || surplus == 0 || self.spent == end;
        self.taken[one].tokens = had.min(tokens);
        self.spent -= ahead;
        self.taken[one..].iter_mut().for_each(|behind| behind.end -= ahead);
    }

    /// The word in a world in which there is but what is kept.
    fn spent_without(&self) -> i128 {
        self.taken
            .iter()
            .filter(|taken| taken.tokens > 0)
            .fold(0, |spent: i128, taken| spent.max(self.gained(taken.at)) + i128::from(taken.tokens) * TOKEN)
    }
}

fn holds<L: Reserve + Undo + Copy>(
    limiter: L,
    clock: &ManualClock,
    (limit, burst, delays): (u64, u64, bool),
    past_the_ledger: bool,
    ops: Vec<Op>,
) -> Result<(), TestCaseError> {
    let (limit, burst) = (limit.into(), burst.into());
    let mut model = Model { limit, burst, delays, spent: 0, taken: Vec::new(), nothing_lost: true };
    let mut open: Vec<(usize, Booking<L>)> = Vec::new();
    let mut undoable: Vec<(usize, <L as Undo>::Taken)> = Vec::new();
    for op in ops {
        let now = clock.now();
        let at = i128::from(now.as_nanos());
        // Once something went past the ledger, the rule says only what there is at most.
        match op {
            Op::Check { cost } => {
                if limiter.check_n_at(cost, now).is_ok() {
                    model.take(cost, at);
                }
            }
            Op::Reserve { cost, longest } => {
                let nanos = i128::try_from(longest.as_nanos()).unwrap();
                let expected = model.turn(cost, nanos, at);
                match limiter.reserve(cost, longest) {
                    Ok(booking) => {
                        if !past_the_ledger {
                            let (turn, early) = expected.expect("no more than the burst");
                            prop_assert_eq!((booking.delay().as_nanos() as i128, 0), (turn, early));
                        }
                        open.push((model.take(cost, at), booking));
                    }
                    Err(denied) => {
                        let early = denied.retry_after.map(|wait| wait.as_nanos() as i128);
                        prop_assert_ne!(early, Some(0));
                        if !past_the_ledger {
                            prop_assert_eq!(early, expected.map(|(_, early)| early));
                        }
                    }
                }
            }
            Op::Settle { which, tenths } if !open.is_empty() => {
                let (one, booking) = open.remove(which.index(open.len()));
                let had = booking.cost();
                let used = had * tenths / 10;
                booking.settle(used);
                model.keep(one, used, at);
                if used > had {
                    model.take(used - had, at);
                }
            }
            Op::Cancel { which } if !open.is_empty() => {
                let (one, booking) = open.remove(which.index(open.len()));
                drop(booking);
                model.keep(one, 0, at);
            }
            Op::Charge { cost } => {
                limiter.charge(cost);
                model.take(cost, at);
            }
            Op::Take { cost } => {
                if let Ok((_, taken)) = limiter.take_leaving_at(cost, Headroom::NONE, now) {
                    undoable.push((model.take(cost, at), taken));
                }
            }
            Op::Undo { which } if !undoable.is_empty() => {
                let (one, taken) = undoable.remove(which.index(undoable.len()));
                limiter.undo(taken, u64::MAX);
                model.keep(one, 0, at);
            }
            Op::Wait { nanos } => clock.advance(Duration::from_nanos(nanos)),
            Op::Settle { .. } | Op::Cancel { .. } | Op::Undo { .. } => {}
        }
        let at = i128::from(clock.now().as_nanos());
        for later in [0, 1, 99_999_999, 500_000_000, 2_000_000_000] {
            let found = match limiter.peek_n_at(0, clock.now() + Duration::from_nanos(later)) {
                Ok(allowed) => allowed.remaining,
                Err(denied) => denied.remaining,
            };
            let at = at + i128::from(later);
            let without = model.left(model.spent_without(), at);
            prop_assert!(found <= without, "{found} are left, and without what was put back {without}");
            if !past_the_ledger {
                prop_assert_eq!(found, model.left(model.spent, at), "by the rule");
                if model.nothing_lost {
                    prop_assert_eq!(found, without, "nothing was lost");
                }
            }
        }
    }
    Ok(())
}

fn in_any_order(past_the_ledger: bool) {
    let quotas = (prop_oneof![Just(1_u64), Just(2), Just(5), Just(8), Just(10)], 1..13_u64);
    let kinds = (any::<bool>(), any::<bool>());
    hold(
        if past_the_ledger { 8_000 } else { 2_000 },
        (quotas, kinds, vec(op(past_the_ledger), 1..24)),
        |((limit, burst), (leaky, keyed), ops)| {
            let quota = Quota::per_second(limit).burst(burst);
            let clock = ManualClock::starting_at(Timestamp::from_nanos(START));
            macro_rules! with {
                ($algorithm:expr) => {
                    if keyed {
                        let many: KeyedLimiter<str, _, _> = KeyedLimiter::with_clock($algorithm, 10, clock.clone());
                        holds(many.key("one"), &clock, (limit, burst, leaky), past_the_ledger, ops)
                    } else {
                        let one = RateLimiter::with_clock($algorithm, clock.clone());
                        holds(&one, &clock, (limit, burst, leaky), past_the_ledger, ops)
                    }
                };
            }
            if leaky { with!(LeakyBucket::new(quota).unwrap()) } else { with!(TokenBucket::new(quota).unwrap()) }
        },
    );
}

#[test]
fn what_is_left_is_what_the_rule_says() {
    in_any_order(false);
}

#[test]
fn never_more_is_left_than_if_it_had_not_been_booked_whatever_others_undo() {
    in_any_order(true);
}
