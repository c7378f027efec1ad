use crate::{Date, Month};
use std::fmt;
use std::str::FromStr;

/// The text is not a date in the form `2024-02-29`, or that day does not exist.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParseDateError;

impl fmt::Display for ParseDateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a date is written like 2024-02-29")
    }
}

impl std::error::Error for ParseDateError {}

impl FromStr for Date {
    type Err = ParseDateError;

    fn from_str(text: &str) -> Result<Self, ParseDateError> {
        let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |rest| (rest, -1));
        let mut parts = digits.split('-');
        let mut part = |length: usize| {
            let digits = parts.next().filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()));
            digits.and_then(|part| part.parse::<u32>().ok()).ok_or(ParseDateError)
        };
        let (year, month, day) = (part(4)?, part(2)?, part(2)?);
        if parts.next().is_some() {
            return Err(ParseDateError);
        }
        Self::new(year as i32 * sign, month, day).ok_or(ParseDateError)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.parts();
        let sign = if year < 0 { "-" } else { "" };
        formatter.pad(&format!("{sign}{:04}-{month:02}-{day:02}", year.unsigned_abs()))
    }
}

/// Writes a date after a pattern: `YYYY`, `YY`, `MMMM`, `MMM`, `MM`, `M`, `DDDD`, `DDD`, `DD`, `D` and `Www` (the ISO
/// week) stand for parts of it, all else for itself.
pub fn format(date: Date, pattern: &str) -> String {
    let (year, month, day) = date.parts();
    let month_name = Month::from_number(month).map_or("", Month::name);
    let weekday = date.weekday().name();
    let parts = [
        ("YYYY", format!("{year:04}")),
        ("YY", format!("{:02}", year.rem_euclid(100))),
        ("MMMM", month_name.to_owned()),
        ("MMM", month_name[..3].to_owned()),
        ("MM", format!("{month:02}")),
        ("M", month.to_string()),
        ("DDDD", weekday.to_owned()),
        ("DDD", weekday[..3].to_owned()),
        ("DD", format!("{day:02}")),
        ("D", day.to_string()),
        ("Www", format!("W{:02}", date.iso_week().1)),
    ];
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        match parts.iter().find(|(part, _)| rest.starts_with(part)) {
            Some((part, text)) => {
                out.push_str(text);
                rest = &rest[part.len()..];
            }
            None => {
                out.push(char);
                rest = &rest[char.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::format;
    use crate::Date;

    #[test]
    fn dates_are_read_in_one_form_only() {
        assert_eq!("-0044-03-15".parse::<Date>().unwrap().to_string(), "-0044-03-15");
        for text in ["2024-2-29", "2024-02-30", "24-02-29", "2024-02-29-", "2024-+2-29", ""] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_are_filled_in() {
        let date = "2024-02-09".parse().unwrap();
        assert_eq!(format(date, "DDDD, D. MMMM YYYY"), "Friday, 9. February 2024");
        assert_eq!(format(date, "DD.MM.YY (Www) é"), "09.02.24 (W06) é");
    }
}
