use crate::Scalar;
use std::fmt;
use std::ops::{Index, IndexMut};

/// A matrix of `R` rows and `C` columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matrix<T, const R: usize, const C: usize>([[T; C]; R]);

/// A matrix of one column.
pub type Vector<T, const N: usize> = Matrix<T, N, 1>;

impl<T: Scalar, const R: usize, const C: usize> Matrix<T, R, C> {
    /// All zeros.
    pub const ZERO: Self = Self([[T::ZERO; C]; R]);

    /// The matrix of these rows.
    pub const fn from_rows(rows: [[T; C]; R]) -> Self {
        Self(rows)
    }

    /// What `element` says for each row and column.
    pub fn from_fn(mut element: impl FnMut(usize, usize) -> T) -> Self {
        Self(std::array::from_fn(|row| std::array::from_fn(|column| element(row, column))))
    }

    /// Rows as columns.
    #[must_use]
    pub fn transpose(&self) -> Matrix<T, C, R> {
        Matrix::from_fn(|row, column| self[(column, row)])
    }

    /// Each element changed.
    #[must_use]
    pub fn map<U: Scalar>(&self, mut change: impl FnMut(T) -> U) -> Matrix<U, R, C> {
        Matrix::from_fn(|row, column| change(self[(row, column)]))
    }

    /// The product; `None` if an element leaves the range.
    pub fn checked_mul<const K: usize>(&self, other: &Matrix<T, C, K>) -> Option<Matrix<T, R, K>> {
        let mut product = Matrix::<T, R, K>::ZERO;
        for row in 0..R {
            for column in 0..K {
                let mut pairs = (0..C).map(|at| (self[(row, at)], other[(at, column)]));
                product[(row, column)] = pairs.try_fold(T::ZERO, |sum, (a, b)| sum.add_product(a, b))?;
            }
        }
        Some(product)
    }

    /// The length of all elements taken as one vector; `None` if it leaves the range.
    pub fn norm(&self) -> Option<T> {
        self.elements().try_fold(T::ZERO, |sum, element| sum.add_product(element, element))?.root()
    }

    /// The largest distance of an element from 0.
    pub fn largest(&self) -> T {
        self.elements().map(T::magnitude).fold(T::ZERO, |most, element| if element > most { element } else { most })
    }

    /// All elements, row by row.
    pub fn elements(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().flatten().copied()
    }

    /// A row.
    pub fn row(&self, row: usize) -> &[T; C] {
        &self.0[row]
    }

    /// A column.
    pub fn column(&self, column: usize) -> Vector<T, R> {
        Matrix::from_fn(|row, _| self[(row, column)])
    }

    /// Exchanges two rows.
    pub fn swap_rows(&mut self, a: usize, b: usize) {
        self.0.swap(a, b);
    }
}

impl<T: Scalar, const N: usize> Matrix<T, N, N> {
    /// Ones from the upper left to the lower right.
    pub fn identity() -> Self {
        Self::from_fn(|row, column| if row == column { T::ONE } else { T::ZERO })
    }

    /// The sum from the upper left to the lower right.
    pub fn trace(&self) -> T {
        (0..N).fold(T::ZERO, |sum, at| sum + self[(at, at)])
    }

    /// The matrix times itself, `exponent` times over; `None` if an element leaves the range.
    pub fn checked_pow(&self, exponent: u32) -> Option<Self> {
        let (mut base, mut left, mut result) = (*self, exponent, Self::identity());
        while left > 0 {
            if left % 2 == 1 {
                result = result.checked_mul(&base)?;
            }
            left /= 2;
            if left > 0 {
                base = base.checked_mul(&base)?;
            }
        }
        Some(result)
    }
}

impl<T, const R: usize, const C: usize> Index<(usize, usize)> for Matrix<T, R, C> {
    type Output = T;

    fn index(&self, (row, column): (usize, usize)) -> &T {
        &self.0[row][column]
    }
}

impl<T, const R: usize, const C: usize> IndexMut<(usize, usize)> for Matrix<T, R, C> {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut T {
        &mut self.0[row][column]
    }
}

impl<T: fmt::Display, const R: usize, const C: usize> fmt::Display for Matrix<T, R, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, row) in self.0.iter().enumerate() {
            formatter.write_str(if at == 0 { "[" } else { "; " })?;
            for (at, element) in row.iter().enumerate() {
                formatter.write_str(if at == 0 { "" } else { ", " })?;
                element.fmt(formatter)?;
            }
        }
        formatter.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::Matrix;
    use tally_decimal::Decimal;

    #[test]
    fn powers_of_a_matrix_count_rabbits() {
        let step = Matrix::from_rows([[1, 1], [1, 0]].map(|row| row.map(Decimal::from)));
        let after = step.checked_pow(90).unwrap();
        assert_eq!(after[(0, 1)], Decimal::from(2_880_067_194_370_816_120_u64));
        assert_eq!(step.checked_pow(400), None);
    }

    #[test]
    fn a_product_has_the_rows_of_one_and_the_columns_of_the_other() {
        let a = Matrix::from_rows([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(a.checked_mul(&a.transpose()).unwrap().to_string(), "[14, 32; 32, 77]");
        assert_eq!(a.checked_mul(&a.transpose()).unwrap().trace(), 91.0);
        assert_eq!(Matrix::from_rows([[3.0, 4.0]]).norm(), Some(5.0));
    }
}
