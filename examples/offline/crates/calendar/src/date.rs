use crate::{Month, Weekday};
use std::ops::{Add, Sub};

/// A day, from the year -9999 to 9999.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Date {
    /// Days since 1970-01-01.
    days: i32,
}

/// Days in 400 years, after which the calendar repeats.
const ERA: i32 = 146_097;

impl Date {
    /// The day of that year, month and day of the month; `None` if there is none.
    pub fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let last = Month::from_number(month)?.days(year);
        ((1..=last).contains(&day) && (-9999..=9999).contains(&year)).then(|| Self::from_parts(year, month, day))
    }

    /// Counts in years that start in March, so that the leap day comes last.
    fn from_parts(year: i32, month: u32, day: u32) -> Self {
        let year = if month <= 2 { year - 1 } else { year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month = (month as i32 + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + day as i32 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Self { days: era * ERA + day_of_era - 719_468 }
    }

    /// Year, month and day of the month.
    pub fn parts(self) -> (i32, u32, u32) {
        let days = self.days + 719_468;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, month as u32, day as u32)
    }

    /// The day this many days after 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self { days }
    }

    /// The days since 1970-01-01.
    pub const fn days(self) -> i32 {
        self.days
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.parts().0
    }

    /// The month, from 1.
    pub fn month(self) -> u32 {
        self.parts().1
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u32 {
        self.parts().2
    }

    /// The day of the week.
    pub fn weekday(self) -> Weekday {
        // 1970-01-01 was a Thursday.
        Weekday::from_index(self.days.wrapping_add(3).rem_euclid(7) as usize)
    }

    /// The day of the year, from 1.
    pub fn ordinal(self) -> u32 {
        (self.days - Self::from_parts(self.year(), 1, 1).days) as u32 + 1
    }

    /// The ISO 8601 week and the year it belongs to.
    pub fn iso_week(self) -> (i32, u32) {
        let thursday = self + (3 - self.weekday().index() as i32);
        (thursday.year(), (thursday.ordinal() - 1) / 7 + 1)
    }

    /// The same day that many months later, or the last day of that month if it is shorter.
    #[must_use]
    pub fn add_months(self, months: i32) -> Self {
        let (year, month, day) = self.parts();
        let months = year * 12 + month as i32 - 1 + months;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let last = Month::from_number(month).map_or(28, |month| month.days(year));
        Self::from_parts(year, month, day.min(last))
    }

    /// The last day of the month.
    #[must_use]
    pub fn end_of_month(self) -> Self {
        let (year, month, _) = self.parts();
        Self::from_parts(year, month, 1).add_months(1) - 1
    }

    /// Whole years from an earlier day to this one, as one counts an age.
    pub fn years_since(self, earlier: Self) -> i32 {
        let (year, month, day) = self.parts();
        let (then, then_month, then_day) = earlier.parts();
        year - then - i32::from((month, day) < (then_month, then_day))
    }
}

impl Add<i32> for Date {
    type Output = Self;

    fn add(self, days: i32) -> Self {
        Self { days: self.days + days }
    }
}

impl Sub<i32> for Date {
    type Output = Self;

    fn sub(self, days: i32) -> Self {
        Self { days: self.days - days }
    }
}

impl Sub for Date {
    type Output = i32;

    fn sub(self, other: Self) -> i32 {
        self.days - other.days
    }
}

#[cfg(test)]
mod tests {
    use super::Date;
    use crate::Weekday;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        let mut expected = Date::new(1800, 1, 1).unwrap();
        for _ in 0..146_097 {
            let (year, month, day) = expected.parts();
            assert_eq!(Date::new(year, month, day), Some(expected));
            expected = expected + 1;
        }
        assert_eq!(expected, Date::new(2200, 1, 1).unwrap());
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 13, 1), (2024, 0, 1), (2024, 4, 31)] {
            assert_eq!(Date::new(year, month, day), None);
        }
    }

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        assert_eq!(date("2021-01-03").iso_week(), (2020, 53));
        assert_eq!(date("2024-12-30").iso_week(), (2025, 1));
        assert_eq!(date("2000-02-29").weekday(), Weekday::Tuesday);
    }

    #[test]
    fn months_are_added_without_leaving_them() {
        assert_eq!(date("2024-01-31").add_months(1), date("2024-02-29"));
        assert_eq!(date("2024-01-31").add_months(-11), date("2023-02-28"));
        assert_eq!(date("2023-02-10").end_of_month(), date("2023-02-28"));
    }

    #[test]
    fn an_age_grows_on_the_birthday() {
        assert_eq!(date("2024-02-28").years_since(date("2000-02-29")), 23);
        assert_eq!(date("2024-02-29").years_since(date("2000-02-29")), 24);
    }
}
