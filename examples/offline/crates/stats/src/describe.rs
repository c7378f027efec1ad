use crate::Sample;
use tally_decimal::Decimal;
use tally_record::Record;

/// A sample in a dozen figures.
#[derive(Clone, Debug, PartialEq, Record)]
pub struct Summary {
    /// How many numbers there are.
    pub count: usize,
    /// Their sum.
    pub sum: Option<Decimal>,
    /// Their mean.
    pub mean: Option<Decimal>,
    /// The root of their variance.
    pub deviation: Option<Decimal>,
    /// The smallest.
    pub minimum: Option<Decimal>,
    /// A quarter lies below.
    #[record(name = "lower quartile")]
    pub lower_quartile: Option<Decimal>,
    /// Half lies below.
    pub median: Option<Decimal>,
    /// Three quarters lie below.
    #[record(name = "upper quartile")]
    pub upper_quartile: Option<Decimal>,
    /// The largest.
    pub maximum: Option<Decimal>,
    /// The most frequent.
    pub mode: Option<Decimal>,
    /// To which side they lean.
    pub skewness: Option<Decimal>,
    /// How heavy their ends are.
    pub kurtosis: Option<Decimal>,
}

/// Describes a sample, every figure rounded to so many places.
pub fn describe(sample: &Sample<Decimal>, places: i32) -> Summary {
    let round = |figure: Option<Decimal>| figure.map(|figure| figure.round(places));
    Summary {
        count: sample.count(),
        sum: round(sample.sum()),
        mean: round(sample.mean()),
        deviation: round(sample.deviation()),
        minimum: round(sample.minimum()),
        lower_quartile: round(sample.quantile(Decimal::new(25, 2))),
        median: round(sample.median()),
        upper_quartile: round(sample.quantile(Decimal::new(75, 2))),
        maximum: round(sample.maximum()),
        mode: round(sample.mode()),
        skewness: round(sample.skewness()),
        kurtosis: round(sample.kurtosis()),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;
    use tally_decimal::Decimal;
    use tally_record::Record;

    #[test]
    fn a_summary_is_a_row() {
        let summary = describe(&(1..=10).map(Decimal::from).collect(), 2);
        let fields = ["10", "55", "5.5", "3.03", "1", "3.25", "5.5", "7.75", "10", "", "0", "-1.22"];
        assert_eq!(summary.to_fields(), fields);
    }
}
