use std::borrow::Cow;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;
use tally_calendar::{Date, Weekday};
use tally_decimal::Decimal;

/// A value that has a text form in one field of a row.
pub trait FieldValue: Sized {
    /// What a text must be to be read, as it stands in messages.
    const EXPECTED: &'static str;

    /// The value a text stands for.
    fn from_field(text: &str) -> Option<Self>;

    /// The text that [`FieldValue::from_field`] reads back.
    fn to_field(&self) -> String;
}

macro_rules! by_display {
    ($($expected:literal: $($type:ty)*;)*) => {$($(
        impl FieldValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_field(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn to_field(&self) -> String {
                self.to_string()
            }
        }
    )*)*};
}

by_display! {
    "a whole number": i8 i16 i32 i64 i128 isize;
    "a whole number that is not negative": u8 u16 u32 u64 u128 usize;
    "a whole number above zero": NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64;
    "a number": f32 f64 Decimal;
    "true or false": bool;
    "a single character": char;
    "a date such as 2024-02-29": Date;
    "a day of the week": Weekday;
    "an IP address": IpAddr;
}

impl FieldValue for String {
    const EXPECTED: &'static str = "text";

    fn from_field(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_field(&self) -> String {
        self.clone()
    }
}

impl FieldValue for Cow<'static, str> {
    const EXPECTED: &'static str = String::EXPECTED;

    fn from_field(text: &str) -> Option<Self> {
        Some(Cow::Owned(text.to_owned()))
    }

    fn to_field(&self) -> String {
        self.clone().into_owned()
    }
}

impl FieldValue for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_field(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn to_field(&self) -> String {
        self.display().to_string()
    }
}

impl FieldValue for Duration {
    const EXPECTED: &'static str = "a time such as 1:30:00";

    fn from_field(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, ':').map(|part| part.parse::<u64>().ok());
        let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
        (minutes < 60 && seconds < 60).then(|| Self::from_secs(hours * 3600 + minutes * 60 + seconds))
    }

    fn to_field(&self) -> String {
        let seconds = self.as_secs();
        format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    /// Nothing but blanks is `None`.
    fn from_field(text: &str) -> Option<Self> {
        if text.trim().is_empty() { Some(None) } else { T::from_field(text).map(Some) }
    }

    fn to_field(&self) -> String {
        self.as_ref().map(T::to_field).unwrap_or_default()
    }
}

impl<T: FieldValue> FieldValue for Vec<T> {
    const EXPECTED: &'static str = "values separated by semicolons";

    fn from_field(text: &str) -> Option<Self> {
        if text.trim().is_empty() { Some(Vec::new()) } else { text.split(';').map(T::from_field).collect() }
    }

    fn to_field(&self) -> String {
        self.iter().map(T::to_field).collect::<Vec<_>>().join(";")
    }
}

impl<T: FieldValue, const N: usize> FieldValue for [T; N] {
    const EXPECTED: &'static str = "a fixed number of values separated by semicolons";

    fn from_field(text: &str) -> Option<Self> {
        Vec::from_field(text)?.try_into().ok()
    }

    fn to_field(&self) -> String {
        self.iter().map(T::to_field).collect::<Vec<_>>().join(";")
    }
}

#[cfg(test)]
mod tests {
    use super::FieldValue;
    use std::fmt::Debug;
    use std::time::Duration;
    use tally_decimal::Decimal;

    fn survives<T: Debug + FieldValue + PartialEq>(value: T, text: &str) {
        assert_eq!(value.to_field(), text);
        assert_eq!(T::from_field(text), Some(value));
    }

    #[test]
    fn values_survive_their_text_form() {
        survives(-12i64, "-12");
        survives(Decimal::new(125, 2), "1.25");
        survives(Some('x'), "x");
        survives(None::<u8>, "");
        survives(vec![1u8, 2, 3], "1;2;3");
        survives([true, false], "true;false");
        survives(Duration::from_secs(5405), "1:30:05");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(u8::from_field("256"), None);
        assert_eq!(Option::<u8>::from_field("x"), None);
        assert_eq!(<[u8; 2]>::from_field("1;2;3"), None);
        assert_eq!(Duration::from_field("1:60:00"), None);
    }
}
