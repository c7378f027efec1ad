use tally_matrix::Scalar;

/// Numbers to be described. Every figure is `None` when there are too few of them, or it leaves the range.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<T> {
    in_order: Vec<T>,
    sorted: Vec<T>,
}

impl<T: Scalar> FromIterator<T> for Sample<T> {
    fn from_iter<I: IntoIterator<Item = T>>(numbers: I) -> Self {
        let in_order: Vec<T> = numbers.into_iter().collect();
        let mut sorted = in_order.clone();
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        Self { in_order, sorted }
    }
}

impl<T: Scalar> Sample<T> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.in_order.len()
    }

    fn size(&self) -> Option<T> {
        let size = i32::try_from(self.count()).ok()?;
        (size > 0).then(|| T::from_integer(size))
    }

    /// The sum.
    pub fn sum(&self) -> Option<T> {
        self.in_order.iter().try_fold(T::ZERO, |sum, &number| sum.add_product(number, T::ONE))
    }

    /// The smallest.
    pub fn minimum(&self) -> Option<T> {
        self.sorted.first().copied()
    }

    /// The largest.
    pub fn maximum(&self) -> Option<T> {
        self.sorted.last().copied()
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<T> {
        self.sum()?.divide(self.size()?)
    }

    /// The harmonic mean of numbers above zero.
    pub fn harmonic_mean(&self) -> Option<T> {
        if self.minimum()? <= T::ZERO {
            return None;
        }
        let inverse = |sum: T, &number: &T| sum.add_product(T::ONE.divide(number)?, T::ONE);
        self.size()?.divide(self.in_order.iter().try_fold(T::ZERO, inverse)?)
    }

    /// The mean of what is left when a share of the numbers is cut off at both ends together.
    pub fn trimmed_mean(&self, share: f64) -> Option<T> {
        let cut = (self.count() as f64 * share.clamp(0.0, 1.0) / 2.0) as usize;
        let kept = self.sorted.get(cut..self.count().checked_sub(cut)?)?;
        kept.iter().copied().collect::<Self>().mean()
    }

    /// The number so far up that a part of the sample lies below: 0 is the smallest, 1 the largest; between two
    /// numbers in proportion.
    pub fn quantile(&self, part: T) -> Option<T> {
        if part < T::ZERO || part > T::ONE {
            return None;
        }
        let last = T::from_integer(i32::try_from(self.count().checked_sub(1)?).ok()?);
        let place = part * last;
        let below = (0..self.count()).rev().find(|&at| T::from_integer(at as i32) <= place)?;
        let low = self.sorted[below];
        let high = self.sorted.get(below + 1).copied().unwrap_or(low);
        low.add_product(high - low, place - T::from_integer(below as i32))
    }

    /// The number in the middle.
    pub fn median(&self) -> Option<T> {
        self.quantile(T::ONE.divide(T::from_integer(2))?)
    }

    /// The number that occurs most often, the smallest of several; `None` if none occurs twice.
    pub fn mode(&self) -> Option<T> {
        let runs = self.sorted.chunk_by(|a, b| a == b).filter(|run| run.len() > 1);
        // `max_by_key` takes the last of equals, so the smallest must come last.
        runs.rev().max_by_key(|run| run.len()).map(|run| run[0])
    }

    /// The sum of the distances from the mean, to a power.
    pub fn central_sum(&self, power: u32) -> Option<T> {
        let mean = self.mean()?;
        self.in_order.iter().try_fold(T::ZERO, |sum, &number| {
            let distance = number - mean;
            let before = (1..power).try_fold(T::ONE, |product, _| T::ZERO.add_product(product, distance))?;
            sum.add_product(before, distance)
        })
    }

    /// The mean square distance from the mean, of a whole population.
    pub fn population_variance(&self) -> Option<T> {
        self.central_sum(2)?.divide(self.size()?)
    }

    /// The same, estimated from a part of the population.
    pub fn variance(&self) -> Option<T> {
        self.central_sum(2)?.divide(T::from_integer(i32::try_from(self.count()).ok()? - 1))
    }

    /// The root of the variance.
    pub fn deviation(&self) -> Option<T> {
        self.variance()?.root()
    }

    /// The mean distance from the mean.
    pub fn mean_distance(&self) -> Option<T> {
        let mean = self.mean()?;
        self.in_order.iter().map(|&number| (number - mean).magnitude()).collect::<Self>().mean()
    }

    /// How far the sample leans to one side: above zero when its long end lies above.
    pub fn skewness(&self) -> Option<T> {
        let variance = self.population_variance()?;
        let cubed = T::ZERO.add_product(variance, variance.root()?)?;
        self.central_sum(3)?.divide(self.size()?)?.divide(cubed)
    }

    /// How heavy the ends of the sample are: 0 for a normal distribution.
    pub fn kurtosis(&self) -> Option<T> {
        let variance = self.population_variance()?;
        let squared = T::ZERO.add_product(variance, variance)?;
        Some(self.central_sum(4)?.divide(self.size()?)?.divide(squared)? - T::from_integer(3))
    }

    /// How many lie below.
    pub fn rank(&self, number: T) -> usize {
        self.sorted.partition_point(|&other| other < number)
    }

    /// The numbers in ascending order.
    pub fn sorted(&self) -> &[T] {
        &self.sorted
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;
    use tally_decimal::Decimal;

    fn sample(numbers: &[i32]) -> Sample<Decimal> {
        numbers.iter().map(Decimal::from).collect()
    }

    #[test]
    fn the_middle_has_many_names() {
        let sample = sample(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert_eq!(sample.mean(), Some(Decimal::from(5)));
        assert_eq!(sample.median(), Some(Decimal::new(45, 1)));
        assert_eq!(sample.mode(), Some(Decimal::from(4)));
        assert_eq!(sample.population_variance(), Some(Decimal::from(4)));
        assert_eq!(sample.quantile(Decimal::new(25, 2)), Some(Decimal::from(4)));
        assert_eq!(sample.trimmed_mean(0.25).map(|mean| mean.round(4)), Some(Decimal::new(48333, 4)));
    }

    #[test]
    fn nothing_has_no_middle() {
        let empty = sample(&[]);
        assert_eq!((empty.mean(), empty.median(), empty.mode()), (None, None, None));
        assert_eq!(empty.sum(), Some(Decimal::ZERO));
        assert_eq!(sample(&[1]).variance(), None);
        assert_eq!(sample(&[1, 2]).mode(), None);
        assert_eq!(sample(&[1]).quantile(Decimal::from(2)), None);
    }

    #[test]
    fn the_shape_is_measured() {
        let leaning: Sample<f64> = [1.0, 1.0, 1.0, 9.0].into_iter().collect();
        assert!(leaning.skewness().unwrap() > 1.0);
        let even: Sample<f64> = (0..1000).map(f64::from).collect();
        assert!(even.skewness().unwrap().abs() < 1e-9);
        assert!((even.kurtosis().unwrap() + 1.2).abs() < 1e-3);
    }

    #[test]
    fn means_keep_their_order() {
        let sample = sample(&[1, 2, 4]);
        assert_eq!(sample.harmonic_mean().map(|mean| mean.round(4)), Some(Decimal::new(17143, 4)));
        assert_eq!(sample.mean_distance().map(|mean| mean.round(4)), Some(Decimal::new(11111, 4)));
        assert_eq!(sample.rank(Decimal::from(3)), 2);
    }
}
