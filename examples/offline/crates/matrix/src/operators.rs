use crate::{Matrix, Scalar};
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

macro_rules! elementwise {
    ($($trait:ident $method:ident $assign_trait:ident $assign:ident;)*) => {$(
        impl<T: Scalar, const R: usize, const C: usize> $trait for Matrix<T, R, C> {
            type Output = Self;

            fn $method(self, other: Self) -> Self {
                Self::from_fn(|row, column| self[(row, column)].$method(other[(row, column)]))
            }
        }

        impl<T: Scalar, const R: usize, const C: usize> $trait for &Matrix<T, R, C> {
            type Output = Matrix<T, R, C>;

            fn $method(self, other: Self) -> Matrix<T, R, C> {
                (*self).$method(*other)
            }
        }

        impl<T: Scalar, const R: usize, const C: usize> $assign_trait for Matrix<T, R, C> {
            fn $assign(&mut self, other: Self) {
                *self = (*self).$method(other);
            }
        }
    )*};
}

elementwise! {
    Add add AddAssign add_assign;
    Sub sub SubAssign sub_assign;
}

impl<T: Scalar, const R: usize, const C: usize> Mul<T> for Matrix<T, R, C> {
    type Output = Self;

    fn mul(self, factor: T) -> Self {
        self.map(|element| element * factor)
    }
}

impl<T: Scalar, const R: usize, const C: usize> Neg for Matrix<T, R, C> {
    type Output = Self;

    fn neg(self) -> Self {
        self.map(T::neg)
    }
}

#[cfg(test)]
mod tests {
    use crate::Matrix;

    #[test]
    fn elements_are_added_one_by_one() {
        let mut a = Matrix::from_rows([[1.0, 2.0], [3.0, 4.0]]);
        a += Matrix::identity();
        a -= Matrix::identity() * 3.0;
        assert_eq!(-a, Matrix::from_rows([[1.0, -2.0], [-3.0, -2.0]]));
    }
}
