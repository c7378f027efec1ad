use crate::{Date, Holidays};

/// The distance between the days of a schedule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Every {
    /// So many days.
    Days(u32),
    /// So many weeks.
    Weeks(u32),
    /// So many months; the last day of a month shorter than the first day asks for.
    Months(u32),
    /// So many years.
    Years(u32),
}

impl Every {
    /// The day after so many steps. Steps are counted from the first day, so that a short month does not shift all
    /// that follow.
    fn after(self, first: Date, steps: u32) -> Date {
        let times = |distance: u32, factor: u32| i32::try_from(distance * factor * steps).unwrap_or(i32::MAX);
        match self {
            Self::Days(days) => first + times(days, 1),
            Self::Weeks(weeks) => first + times(weeks, 7),
            Self::Months(months) => first.add_months(times(months, 1)),
            Self::Years(years) => first.add_months(times(years, 12)),
        }
    }
}

/// Days at regular distances.
#[derive(Clone, Debug)]
pub struct Schedule {
    first: Date,
    every: Every,
    holidays: Option<Holidays>,
}

impl Schedule {
    /// Starts on a day.
    pub const fn new(first: Date, every: Every) -> Self {
        Self { first, every, holidays: None }
    }

    /// Moves each day that is not a working day to the next that is.
    #[must_use]
    pub fn on_working_days(mut self, holidays: Holidays) -> Self {
        self.holidays = Some(holidays);
        self
    }

    /// The days, without end.
    pub fn dates(&self) -> impl Iterator<Item = Date> + '_ {
        (0..).map(|steps| {
            let date = self.every.after(self.first, steps);
            self.holidays.as_ref().map_or(date, |holidays| holidays.next_working_day(date))
        })
    }

    /// The days up to a last one, which is included.
    pub fn until(&self, last: Date) -> impl Iterator<Item = Date> + '_ {
        self.dates().take_while(move |&date| date <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::{Every, Schedule};
    use crate::{Date, Holidays};

    fn texts(dates: impl Iterator<Item = Date>) -> Vec<String> {
        dates.map(|date| date.to_string()).collect()
    }

    #[test]
    fn the_end_of_the_month_is_kept() {
        let schedule = Schedule::new("2024-01-31".parse().unwrap(), Every::Months(1));
        assert_eq!(texts(schedule.dates().take(4)), ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]);
    }

    #[test]
    fn days_off_are_moved() {
        let schedule =
            Schedule::new("2024-03-29".parse().unwrap(), Every::Weeks(2)).on_working_days(Holidays::target());
        assert_eq!(texts(schedule.until("2024-05-01".parse().unwrap())), ["2024-04-02", "2024-04-12", "2024-04-26"]);
    }
}
