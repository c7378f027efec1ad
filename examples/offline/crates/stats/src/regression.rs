use crate::Sample;
use tally_decimal::Decimal;
use tally_matrix::{Scalar, fit_polynomial};

/// A curve through points, as the coefficients of a polynomial from the constant up.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend<T> {
    /// The coefficients.
    pub coefficients: Vec<T>,
    /// The share of the variance that the curve explains, from 0 to 1.
    pub fit: T,
}

impl<T: Scalar> Trend<T> {
    /// The value of the curve at a place; `None` if it leaves the range.
    pub fn at(&self, x: T) -> Option<T> {
        evaluate(&self.coefficients, x)
    }
}

/// Horner's scheme.
fn evaluate<T: Scalar>(coefficients: &[T], x: T) -> Option<T> {
    coefficients.iter().rev().try_fold(T::ZERO, |value, &coefficient| coefficient.add_product(value, x))
}

/// The polynomial of a degree closest to the points.
pub fn polynomial_trend<T: Scalar>(degree: usize, points: &[(T, T)]) -> Option<Trend<T>> {
    let coefficients = fit_polynomial(degree, points)?;
    let total = points.iter().map(|&(_, y)| y).collect::<Sample<T>>().central_sum(2)?;
    let left = points.iter().try_fold(T::ZERO, |sum, &(x, y)| {
        let distance = y - evaluate(&coefficients, x)?;
        sum.add_product(distance, distance)
    })?;
    let fit = if total.is_negligible() { T::ONE } else { T::ONE - left.divide(total)? };
    Some(Trend { coefficients, fit })
}

/// The straight line closest to the points.
pub fn linear_trend<T: Scalar>(points: &[(T, T)]) -> Option<Trend<T>> {
    polynomial_trend(1, points)
}

/// The curve `a·bˣ` closest to points above zero, as `[a, b]`.
pub fn exponential_trend(points: &[(Decimal, Decimal)]) -> Option<Trend<f64>> {
    let logarithms: Option<Vec<(f64, f64)>> = points
        .iter()
        .map(|&(x, y)| (!y.is_negative() && !y.is_zero()).then(|| (x.to_f64(), y.to_f64().ln())))
        .collect();
    let line = linear_trend(&logarithms?)?;
    let coefficients = line.coefficients.iter().map(|coefficient| coefficient.exp()).collect();
    Some(Trend { coefficients, fit: line.fit })
}

/// How much two samples rise and fall together, from -1 to 1.
pub fn correlation<T: Scalar>(points: &[(T, T)]) -> Option<T> {
    let (xs, ys): (Vec<T>, Vec<T>) = points.iter().copied().unzip();
    let (xs, ys): (Sample<T>, Sample<T>) = (xs.into_iter().collect(), ys.into_iter().collect());
    let (x_mean, y_mean) = (xs.mean()?, ys.mean()?);
    let together = points.iter().try_fold(T::ZERO, |sum, &(x, y)| sum.add_product(x - x_mean, y - y_mean))?;
    let apart = xs.central_sum(2)?.root()? * ys.central_sum(2)?.root()?;
    if apart.is_negligible() { None } else { together.divide(apart) }
}

#[cfg(test)]
mod tests {
    use super::{correlation, exponential_trend, linear_trend, polynomial_trend};
    use tally_decimal::Decimal;

    fn points(pairs: &[(i32, i32)]) -> Vec<(Decimal, Decimal)> {
        pairs.iter().map(|&(x, y)| (x.into(), y.into())).collect()
    }

    #[test]
    fn a_line_is_found_and_continued() {
        let trend = linear_trend(&points(&[(1, 3), (2, 5), (3, 7)])).unwrap();
        assert_eq!(trend.at(Decimal::from(10)).map(|y| y.round(9)), Some(Decimal::from(21)));
        assert_eq!(trend.fit.round(9), Decimal::ONE);
    }

    #[test]
    fn a_parabola_fits_better_than_a_line() {
        let points = points(&[(0, 0), (1, 1), (2, 4), (3, 9), (4, 17)]);
        assert!(polynomial_trend(2, &points).unwrap().fit > linear_trend(&points).unwrap().fit);
    }

    #[test]
    fn growth_is_found() {
        let trend = exponential_trend(&points(&[(0, 3), (1, 6), (2, 12), (3, 24)])).unwrap();
        assert!((trend.coefficients[0] - 3.0).abs() < 1e-9 && (trend.coefficients[1] - 2.0).abs() < 1e-9);
        assert_eq!(exponential_trend(&points(&[(0, 1), (1, 0)])), None);
    }

    #[test]
    fn opposites_correlate_by_minus_one() {
        assert_eq!(correlation(&points(&[(1, 6), (2, 4), (3, 2)])).map(|r| r.round(9)), Some(Decimal::from(-1)));
        assert_eq!(correlation(&points(&[(1, 6), (2, 6)])), None);
    }
}
