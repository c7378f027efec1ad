use std::fmt;
use std::str::FromStr;

macro_rules! months {
    ($($month:ident = $days:literal,)*) => {
        /// A month of the year.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Month {
            $(#[doc = stringify!($month)] $month,)*
        }

        impl Month {
            /// All twelve, in order.
            pub const ALL: [Self; 12] = [$(Self::$month),*];

            /// The English name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$month => stringify!($month),)* }
            }

            /// How many days it has in a common year.
            const fn common_days(self) -> u32 {
                match self { $(Self::$month => $days,)* }
            }
        }
    };
}

months! {
    January = 31, February = 28, March = 31, April = 30, May = 31, June = 30,
    July = 31, August = 31, September = 30, October = 31, November = 30, December = 31,
}

impl Month {
    /// The month of a number from 1 to 12.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    /// Its number, from 1.
    pub const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// How many days it has in a year.
    pub const fn days(self, year: i32) -> u32 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        if leap && matches!(self, Self::February) { 29 } else { self.common_days() }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Month {
    type Err = ();

    /// Reads a name or its first three letters or more.
    fn from_str(text: &str) -> Result<Self, ()> {
        let begins = |month: &&Self| {
            text.len() >= 3 && month.name().get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
        };
        Self::ALL.iter().find(begins).copied().ok_or(())
    }
}
