//! Dates of the Gregorian calendar and days since 1970-01-01, both ways.

/// A day that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u32,
    /// From 1 to 12.
    pub(crate) month: u32,
    /// From 1 to the month's last.
    pub(crate) day: u32,
}

/// The names that logs use.
pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Date {
    /// `None` for a 31st of February and the like.
    pub(crate) fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let last = match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        (1..=last).contains(&day).then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01.
    ///
    /// Years are made to begin in March, so that a leap day is a year's last; see H. Hinnant, "chrono-Compatible
    /// Low-Level Date Algorithms" (2013), `days_from_civil`.
    pub(crate) fn days_since_1970(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
    }

    /// The date that is `days` after 1970-01-01; `civil_from_days` of the same paper.
    pub(crate) fn after_1970(days: u32) -> Self {
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self { year: era * 400 + year_of_era + next_year, month, day }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All days from 1970 to 2600, by counting.
    #[test]
    fn the_days_are_counted_without_a_gap() {
        let mut count = 0;
        for year in 1970..2600 {
            for month in 1..=12 {
                for date in (1..=31).filter_map(|day| Date::new(year, month, day)) {
                    assert_eq!(date.days_since_1970(), i64::from(count));
                    assert_eq!(Date::after_1970(count), date);
                    count += 1;
                }
            }
        }
    }

    #[test]
    fn the_day_before_1970_is_the_day_before() {
        assert_eq!(Date::new(1969, 12, 31).unwrap().days_since_1970(), -1);
    }

    #[test]
    fn days_that_do_not_exist() {
        for (year, month, day) in
            [(2000, 2, 30), (1900, 2, 29), (2023, 2, 29), (2024, 2, 31), (2024, 4, 31), (2024, 13, 1), (2024, 1, 0)]
        {
            assert_eq!(Date::new(year, month, day), None);
        }
        assert!(Date::new(2000, 2, 29).is_some() && Date::new(2024, 2, 29).is_some());
    }
}
