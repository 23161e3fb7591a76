//! The clocks that are told the time by a thread of their own, once a millisecond: one of each crate for all cases.

use std::{sync::LazyLock, time::Duration};

use governor::clock::QuantaUpkeepClock;

const TICK: Duration = Duration::from_millis(1);

pub fn tollgate() -> tollgate::CoarseClock {
    static CLOCK: LazyLock<(tollgate::CoarseClock, tollgate::Ticker)> = LazyLock::new(|| {
        let clock = tollgate::CoarseClock::new();
        let ticker = clock.start_ticker(TICK).expect("a thread");
        (clock, ticker)
    });
    CLOCK.0.clone()
}

pub fn governor() -> QuantaUpkeepClock {
    static CLOCK: LazyLock<QuantaUpkeepClock> =
        LazyLock::new(|| QuantaUpkeepClock::from_interval(TICK).expect("a thread"));
    CLOCK.clone()
}

pub fn rate_net() -> rate_net::CoarseClock {
    static CLOCK: LazyLock<rate_net::CoarseClock> =
        LazyLock::new(|| rate_net::CoarseClock::spawn(TICK).expect("a thread"));
    CLOCK.clone()
}
