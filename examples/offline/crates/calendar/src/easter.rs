use crate::Date;

/// Easter Sunday of a year, by the algorithm of Meeus, Jones and Butcher.
pub fn easter(year: i32) -> Date {
    let golden = year.rem_euclid(19);
    let (century, of_century) = (year.div_euclid(100), year.rem_euclid(100));
    let correction = (century - (century + 8) / 25 + 1) / 3;
    let epact = (19 * golden + century - century / 4 - correction + 15).rem_euclid(30);
    let to_sunday = (32 + 2 * (century % 4) + 2 * (of_century / 4) - epact - of_century % 4).rem_euclid(7);
    let late = (golden + 11 * epact + 22 * to_sunday) / 451;
    let days = epact + to_sunday - 7 * late;
    Date::from_days(Date::new(year, 3, 22).map_or(0, Date::days) + days)
}

#[cfg(test)]
mod tests {
    use super::easter;

    #[test]
    fn known_years_agree() {
        for expected in ["1818-03-22", "1943-04-25", "2000-04-23", "2024-03-31", "2025-04-20", "2038-04-25"] {
            let year = expected[..4].parse().unwrap();
            assert_eq!(easter(year).to_string(), expected);
        }
    }
}
