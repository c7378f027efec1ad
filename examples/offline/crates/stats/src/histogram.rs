use crate::Sample;
use tally_decimal::Decimal;
use tally_record::Record;

/// One bar of a histogram.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Bin {
    /// Where it begins; numbers equal to it belong to it.
    pub from: Decimal,
    /// Where the next begins.
    pub to: Decimal,
    /// How many numbers belong to it.
    pub count: usize,
}

/// Counts the numbers in so many bins of equal width, which is rounded up to 1, 2 or 5 times a power of ten.
pub fn histogram(sample: &Sample<Decimal>, bins: usize) -> Vec<Bin> {
    let (Some(least), Some(most)) = (sample.minimum(), sample.maximum()) else { return Vec::new() };
    let Some(width) = round_width(least, most, bins) else { return Vec::new() };
    let start = (least / width).floor() * width;
    let mut found = Vec::new();
    for at in 0.. {
        let from = start + width * at;
        if from > most {
            break;
        }
        let to = from + width;
        found.push(Bin { from, to, count: sample.rank(to) - sample.rank(from) });
    }
    found
}

fn round_width(least: Decimal, most: Decimal, bins: usize) -> Option<Decimal> {
    let bins = Decimal::from(u32::try_from(bins).ok().filter(|&bins| bins > 0)?);
    let exact = most.checked_sub(least)?.checked_div(bins)?;
    if exact.is_zero() {
        return Some(Decimal::ONE);
    }
    let powers = (-12..=18).filter_map(|power| Decimal::from(10).checked_powi(power));
    powers.flat_map(|power| [1, 2, 5].map(|factor| power * factor)).find(|&width| width >= exact)
}

#[cfg(test)]
mod tests {
    use super::histogram;
    use tally_decimal::Decimal;

    #[test]
    fn bins_are_round_and_hold_everything() {
        let bins = histogram(&[3, 7, 12, 18, 18, 20, 31].iter().map(Decimal::from).collect(), 4);
        let shown: Vec<_> = bins.iter().map(|bin| (bin.from.to_string(), bin.count)).collect();
        assert_eq!(shown, [("0".to_owned(), 2), ("10".to_owned(), 3), ("20".to_owned(), 1), ("30".to_owned(), 1)]);
    }

    #[test]
    fn a_single_number_fills_a_single_bin() {
        assert_eq!(histogram(&[Decimal::new(5, 1)].into_iter().collect(), 4).len(), 1);
        assert!(histogram(&std::iter::empty().collect(), 4).is_empty());
    }
}
