use std::fmt;
use std::str::FromStr;

macro_rules! weekdays {
    ($($day:ident)*) => {
        /// A day of the week, which starts on Monday.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Weekday {
            $(#[doc = stringify!($day)] $day,)*
        }

        impl Weekday {
            /// All seven, from Monday.
            pub const ALL: [Self; 7] = [$(Self::$day),*];

            /// The English name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$day => stringify!($day),)* }
            }
        }
    };
}

weekdays!(Monday Tuesday Wednesday Thursday Friday Saturday Sunday);

impl Weekday {
    /// Monday is 0.
    pub(crate) const fn from_index(index: usize) -> Self {
        Self::ALL[index]
    }

    /// Monday is 0.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is a Saturday or a Sunday.
    pub const fn is_weekend(self) -> bool {
        matches!(self, Self::Saturday | Self::Sunday)
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Weekday {
    type Err = ();

    /// Reads a name or its first two letters or more.
    fn from_str(text: &str) -> Result<Self, ()> {
        let begins = |day: &&Self| {
            text.len() >= 2 && day.name().get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
        };
        Self::ALL.iter().find(begins).copied().ok_or(())
    }
}
