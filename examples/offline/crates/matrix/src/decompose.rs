use crate::{Matrix, Scalar, Vector};

/// A square matrix as the product of a lower and an upper triangle, after its rows were exchanged so that nothing is
/// divided by a small number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decomposition<T, const N: usize> {
    /// Both triangles; the ones of the lower are left out.
    triangles: Matrix<T, N, N>,
    /// Which row of the matrix each row was.
    rows: [usize; N],
    /// Whether the number of exchanges is odd.
    odd: bool,
}

impl<T: Scalar, const N: usize> Decomposition<T, N> {
    /// Decomposes a matrix; `None` if it is singular, or so nearly that results would mean nothing.
    pub fn new(matrix: &Matrix<T, N, N>) -> Option<Self> {
        let mut triangles = *matrix;
        let mut rows = std::array::from_fn(|row| row);
        let mut odd = false;
        for pivot in 0..N {
            let mut best = pivot;
            for row in pivot + 1..N {
                if triangles[(row, pivot)].magnitude() > triangles[(best, pivot)].magnitude() {
                    best = row;
                }
            }
            if triangles[(best, pivot)].is_negligible() {
                return None;
            }
            if best != pivot {
                triangles.swap_rows(best, pivot);
                rows.swap(best, pivot);
                odd = !odd;
            }
            for row in pivot + 1..N {
                let factor = triangles[(row, pivot)].divide(triangles[(pivot, pivot)])?;
                triangles[(row, pivot)] = factor;
                for column in pivot + 1..N {
                    triangles[(row, column)] =
                        triangles[(row, column)].add_product(-factor, triangles[(pivot, column)])?;
                }
            }
        }
        Some(Self { triangles, rows, odd })
    }

    /// The `x` for which the matrix times `x` is `right`; `None` if it leaves the range.
    pub fn solve<const K: usize>(&self, right: &Matrix<T, N, K>) -> Option<Matrix<T, N, K>> {
        let mut x = Matrix::<T, N, K>::from_fn(|row, column| right[(self.rows[row], column)]);
        for column in 0..K {
            for row in 0..N {
                for before in 0..row {
                    x[(row, column)] =
                        x[(row, column)].add_product(-self.triangles[(row, before)], x[(before, column)])?;
                }
            }
            for row in (0..N).rev() {
                for after in row + 1..N {
                    x[(row, column)] =
                        x[(row, column)].add_product(-self.triangles[(row, after)], x[(after, column)])?;
                }
                x[(row, column)] = x[(row, column)].divide(self.triangles[(row, row)])?;
            }
        }
        Some(x)
    }

    /// The determinant; `None` if it leaves the range.
    pub fn determinant(&self) -> Option<T> {
        let sign = if self.odd { -T::ONE } else { T::ONE };
        (0..N).try_fold(sign, |product, at| T::ZERO.add_product(product, self.triangles[(at, at)]))
    }

    /// The inverse; `None` if it leaves the range.
    pub fn inverse(&self) -> Option<Matrix<T, N, N>> {
        self.solve(&Matrix::identity())
    }
}

impl<T: Scalar, const N: usize> Matrix<T, N, N> {
    /// The determinant: 0 for a singular matrix, `None` if it leaves the range.
    pub fn determinant(&self) -> Option<T> {
        match Decomposition::new(self) {
            Some(decomposition) => decomposition.determinant(),
            None => Some(T::ZERO),
        }
    }

    /// The inverse, if there is one.
    pub fn inverse(&self) -> Option<Self> {
        Decomposition::new(self)?.inverse()
    }

    /// The `x` for which the matrix times `x` is `right`, if there is exactly one.
    pub fn solve(&self, right: &Vector<T, N>) -> Option<Vector<T, N>> {
        Decomposition::new(self)?.solve(right)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Matrix, Scalar};
    use tally_decimal::Decimal;

    /// Hilbert's matrix is close to singular: floating-point numbers lose most of their digits on it.
    fn hilbert<T: Scalar, const N: usize>() -> Matrix<T, N, N> {
        Matrix::from_fn(|row, column| T::ONE / T::from_integer((row + column + 1) as i32))
    }

    #[test]
    fn exact_numbers_invert_what_floats_cannot() {
        let inverse = hilbert::<Decimal, 6>().inverse().unwrap();
        assert_eq!(inverse[(0, 0)].round(6), Decimal::from(36));
        assert_eq!(inverse[(4, 4)].round(6), Decimal::from(4_410_000));
        let product = inverse.checked_mul(&hilbert()).unwrap().map(|element| element.round(8));
        assert_eq!(product, Matrix::identity());
    }

    #[test]
    fn rows_are_exchanged_where_needed() {
        let matrix = Matrix::from_rows([[0.0, 2.0], [3.0, 4.0]]);
        assert_eq!(matrix.determinant(), Some(-6.0));
        assert_eq!(matrix.solve(&Matrix::from_rows([[2.0], [10.0]])), Some(Matrix::from_rows([[2.0], [1.0]])));
    }

    #[test]
    fn a_singular_matrix_has_no_inverse() {
        let matrix = Matrix::from_rows([[1.0, 2.0], [2.0, 4.0]]);
        assert_eq!(matrix.inverse(), None);
        assert_eq!(matrix.determinant(), Some(0.0));
    }
}
