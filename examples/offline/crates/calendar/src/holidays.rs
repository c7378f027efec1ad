use crate::{Date, Month, Weekday, easter};

/// When a holiday falls.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rule {
    /// The same day each year.
    Fixed(Month, u32),
    /// So many days after Easter Sunday, or before it.
    Easter(i32),
    /// The first, second… such day of a month.
    Nth(u32, Weekday, Month),
    /// The last such day of a month.
    Last(Weekday, Month),
}

impl Rule {
    /// The day in a year, if that year has it.
    pub fn date(self, year: i32) -> Option<Date> {
        match self {
            Self::Fixed(month, day) => Date::new(year, month.number(), day),
            Self::Easter(offset) => Some(easter(year) + offset),
            Self::Nth(nth, weekday, month) => {
                let first = Date::new(year, month.number(), 1)?;
                let wait = (7 + weekday.index() - first.weekday().index()) % 7;
                let date = first + wait as i32 + 7 * (nth as i32 - 1);
                (date.month() == month.number() && nth > 0).then_some(date)
            }
            Self::Last(weekday, month) => {
                let last = Date::new(year, month.number(), 1)?.end_of_month();
                Some(last - ((7 + last.weekday().index() - weekday.index()) % 7) as i32)
            }
        }
    }
}

/// A day on which nobody works.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Holiday {
    /// What it is called.
    pub name: String,
    /// When it falls.
    pub rule: Rule,
}

/// The holidays of a place. Saturdays and Sundays are free in any case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holidays {
    all: Vec<Holiday>,
}

impl Holidays {
    /// Adds a holiday.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.all.push(Holiday { name: name.into(), rule });
        self
    }

    /// The days on which payments are not settled in the euro area.
    pub fn target() -> Self {
        Self::default()
            .with("New Year", Rule::Fixed(Month::January, 1))
            .with("Good Friday", Rule::Easter(-2))
            .with("Easter Monday", Rule::Easter(1))
            .with("Labour Day", Rule::Fixed(Month::May, 1))
            .with("Christmas", Rule::Fixed(Month::December, 25))
            .with("Boxing Day", Rule::Fixed(Month::December, 26))
    }

    /// The holiday a day is, if it is one.
    pub fn on(&self, date: Date) -> Option<&Holiday> {
        self.all.iter().find(|holiday| holiday.rule.date(date.year()) == Some(date))
    }

    /// Whether people work on that day.
    pub fn is_working_day(&self, date: Date) -> bool {
        !date.weekday().is_weekend() && self.on(date).is_none()
    }

    /// The day itself if it is a working day, else the next that is.
    pub fn next_working_day(&self, date: Date) -> Date {
        (0..).map(|days| date + days).find(|&date| self.is_working_day(date)).unwrap_or(date)
    }

    /// The day that many working days later, or earlier below 0.
    pub fn add_working_days(&self, date: Date, count: i32) -> Date {
        let step = count.signum();
        (0..count.abs()).fold(date, |date, _| {
            let next = (1..).map(|days| date + days * step).find(|&date| self.is_working_day(date));
            next.unwrap_or(date)
        })
    }

    /// The working days from the first day to the last, both included.
    pub fn working_days(&self, first: Date, last: Date) -> usize {
        (first.days()..=last.days()).filter(|&days| self.is_working_day(Date::from_days(days))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::{Holidays, Rule};
    use crate::{Date, Month, Weekday};

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn rules_find_their_day() {
        let thanksgiving = Rule::Nth(4, Weekday::Thursday, Month::November);
        assert_eq!(thanksgiving.date(2024), Some(date("2024-11-28")));
        assert_eq!(Rule::Last(Weekday::Monday, Month::May).date(2024), Some(date("2024-05-27")));
        assert_eq!(Rule::Nth(5, Weekday::Monday, Month::February).date(2024), None);
        assert_eq!(Rule::Fixed(Month::February, 29).date(2023), None);
    }

    #[test]
    fn working_days_leave_out_weekends_and_holidays() {
        let holidays = Holidays::target();
        assert_eq!(holidays.next_working_day(date("2024-03-29")), date("2024-04-02"));
        assert_eq!(holidays.add_working_days(date("2024-03-28"), 1), date("2024-04-02"));
        assert_eq!(holidays.add_working_days(date("2024-04-02"), -1), date("2024-03-28"));
        assert_eq!(holidays.working_days(date("2024-12-23"), date("2025-01-03")), 7);
        assert_eq!(holidays.on(date("2024-12-25")).map(|holiday| holiday.name.as_str()), Some("Christmas"));
    }
}
