//! What a composite is made of.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::Limiter;

/// The limits of a [`Composite`](crate::Composite): tuples of up to eight limiters, arrays, slices and lists of them, or a
/// struct of yours; owned or behind a reference, a `Box` or an `Arc`.
///
/// ```
/// use tollgate::{Composite, Limiter, ManualClock, Parts, Quota, RateLimiter, SlidingWindow, TokenBucket};
///
/// struct Plan {
///     burst: RateLimiter<TokenBucket, ManualClock>,
///     hourly: RateLimiter<SlidingWindow, ManualClock>,
/// }
///
/// impl Parts for Plan {
///     fn len(&self) -> usize {
///         2
///     }
///
///     fn part(&self, index: usize) -> &dyn Limiter {
///         if index == 0 { &self.burst } else { &self.hourly }
///     }
/// }
///
/// let clock = ManualClock::new();
/// let plan = Composite::new(Plan {
///     burst: RateLimiter::with_clock(TokenBucket::new(Quota::per_second(5))?, clock.clone()),
///     hourly: RateLimiter::with_clock(SlidingWindow::new(Quota::per_hour(100))?, clock),
/// });
/// assert_eq!(plan.check().unwrap().remaining, 4);
/// assert_eq!(plan.parts().hourly.peek_n(0).unwrap().remaining, 99);
/// # Ok::<(), tollgate::QuotaError>(())
/// ```
pub trait Parts {
    /// How many there are: always the same number.
    fn len(&self) -> usize;

    /// The limit of this index, which is less than [`len`](Self::len).
    fn part(&self, index: usize) -> &dyn Limiter;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<L: Limiter> Parts for [L] {
    fn len(&self) -> usize {
        self.len()
    }

    fn part(&self, index: usize) -> &dyn Limiter {
        &self[index]
    }
}

impl<L: Limiter, const N: usize> Parts for [L; N] {
    fn len(&self) -> usize {
        N
    }

    fn part(&self, index: usize) -> &dyn Limiter {
        &self[index]
    }
}

impl<L: Limiter> Parts for Vec<L> {
    fn len(&self) -> usize {
        self.len()
    }

    fn part(&self, index: usize) -> &dyn Limiter {
        &self[index]
    }
}

/// Parts behind a pointer are parts.
macro_rules! parts_behind {
    ($($pointer:ty),+) => {$(
        impl<P: Parts + ?Sized> Parts for $pointer {
            fn len(&self) -> usize {
                (**self).len()
            }

            fn part(&self, index: usize) -> &dyn Limiter {
                (**self).part(index)
            }
        }
    )+};
}

parts_behind!(&P, Box<P>, Arc<P>);

macro_rules! tuple_of_parts {
    ($count:literal: $($limiter:ident $index:tt),+) => {
        impl<$($limiter: Limiter),+> Parts for ($($limiter,)+) {
            fn len(&self) -> usize {
                $count
            }

            fn part(&self, index: usize) -> &dyn Limiter {
                match index {
                    $($index => &self.$index,)+
                    _ => panic!("no part {index} of {}", $count),
                }
            }
        }
    };
}

tuple_of_parts!(1: A 0);
tuple_of_parts!(2: A 0, B 1);
tuple_of_parts!(3: A 0, B 1, C 2);
tuple_of_parts!(4: A 0, B 1, C 2, D 3);
tuple_of_parts!(5: A 0, B 1, C 2, D 3, E 4);
tuple_of_parts!(6: A 0, B 1, C 2, D 3, E 4, F 5);
tuple_of_parts!(7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_of_parts!(8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
