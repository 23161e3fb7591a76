//! The most that an algorithm admits within an interval, as its documentation says.

/// What decides how much may pass in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fixed,
    Sliding,
    Log,
    Bucket,
}

/// A limit in each period, and whether it has changed in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Each {
    pub(crate) limit: u128,
    pub(crate) period: u128,
    pub(crate) changes: bool,
}

impl Kind {
    /// The most units from one time to another, both included; a bucket's are what `bucket` says of the time between.
    pub(crate) fn bound(self, each: Each, from: u128, to: u128, bucket: impl FnOnce(u128) -> u128) -> u128 {
        let Each { limit, period, changes } = each;
        let windows = to / period - from / period + 1;
        let periods = (to - from) / period + 1;
        match self {
            Self::Fixed => limit * windows,
            Self::Sliding if changes => limit * windows,
            Self::Sliding => (limit * windows).min((2 * limit - 1) * periods),
            Self::Log => limit * periods,
            Self::Bucket => bucket(to - from),
        }
    }
}
