use crate::{Matrix, Scalar, Vector};

/// The highest degree that [`fit_polynomial`] takes.
pub const MAX_DEGREE: usize = 8;

/// The polynomial of a degree that lies closest to the points (least squares), as its coefficients from the constant
/// up. `None` if there are too few points, or too alike, or the degree is above [`MAX_DEGREE`].
pub fn fit_polynomial<T: Scalar>(degree: usize, points: &[(T, T)]) -> Option<Vec<T>> {
    match degree {
        0 => fit::<T, 1>(points),
        1 => fit::<T, 2>(points),
        2 => fit::<T, 3>(points),
        3 => fit::<T, 4>(points),
        4 => fit::<T, 5>(points),
        5 => fit::<T, 6>(points),
        6 => fit::<T, 7>(points),
        7 => fit::<T, 8>(points),
        8 => fit::<T, 9>(points),
        _ => None,
    }
}

/// Solves the normal equations: the sums of the powers of x against the sums of y times the powers of x.
fn fit<T: Scalar, const N: usize>(points: &[(T, T)]) -> Option<Vec<T>> {
    let mut equations = Matrix::<T, N, N>::ZERO;
    let mut right = Vector::<T, N>::ZERO;
    for &(x, y) in points {
        let mut powers = [T::ONE; N];
        for at in 1..N {
            powers[at] = T::ZERO.add_product(powers[at - 1], x)?;
        }
        for row in 0..N {
            right[(row, 0)] = right[(row, 0)].add_product(y, powers[row])?;
            for column in 0..N {
                equations[(row, column)] = equations[(row, column)].add_product(powers[row], powers[column])?;
            }
        }
    }
    if points.len() < N {
        return None;
    }
    Some(equations.solve(&right)?.elements().collect())
}

#[cfg(test)]
mod tests {
    use super::fit_polynomial;
    use tally_decimal::Decimal;

    #[test]
    fn points_on_a_polynomial_give_it_back() {
        let polynomial = |x: i32| 2 * x * x * x - 3 * x + 5;
        let points: Vec<_> = (-4..=4).map(|x| (Decimal::from(x), Decimal::from(polynomial(x)))).collect();
        let coefficients = fit_polynomial(3, &points).unwrap();
        let rounded: Vec<Decimal> = coefficients.iter().map(|coefficient| coefficient.round(12)).collect();
        assert_eq!(rounded, [5, -3, 0, 2].map(Decimal::from));
    }

    #[test]
    fn a_line_lies_between_the_points() {
        let coefficients: Vec<f64> = fit_polynomial(1, &[(0.0, 0.0), (1.0, 2.0), (2.0, 1.0)]).unwrap();
        assert!((coefficients[0] - 0.5).abs() < 1e-12 && (coefficients[1] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn too_few_points_fit_nothing() {
        assert_eq!(fit_polynomial(2, &[(1.0, 1.0), (2.0, 2.0)]), None::<Vec<f64>>);
        assert_eq!(fit_polynomial(1, &[(1.0, 1.0), (1.0, 2.0)]), None::<Vec<f64>>);
        assert_eq!(fit_polynomial(9, &[(1.0, 1.0); 20]), None::<Vec<f64>>);
    }
}
