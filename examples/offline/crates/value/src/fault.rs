use std::fmt;
use std::str::FromStr;
use tally_units::UnitError;

macro_rules! faults {
    ($($name:ident $code:literal $meaning:literal,)*) => {
        /// Why there is no value.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Fault {
            $(#[doc = $meaning] $name,)*
        }

        impl Fault {
            /// All faults.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// How it shows in a cell.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

faults! {
    Syntax "#SYNTAX!" "The formula cannot be read.",
    Division "#DIV/0!" "Something is divided by nothing.",
    Type "#VALUE!" "A value is of the wrong kind.",
    Name "#NAME?" "A name means nothing.",
    Arity "#ARGS!" "A function has too few arguments or too many.",
    Number "#NUM!" "A number is out of range, or there is no such number.",
    Unit "#UNIT!" "Units do not go together.",
    Missing "#N/A" "What is looked for is not there.",
    Cycle "#CYCLE!" "The cell needs its own value.",
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.code())
    }
}

impl std::error::Error for Fault {}

impl FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().find(|fault| fault.code() == text).copied().ok_or(())
    }
}

impl From<UnitError> for Fault {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::Mismatch(..) | UnitError::NoUnit => Self::Unit,
            UnitError::Range => Self::Number,
        }
    }
}
