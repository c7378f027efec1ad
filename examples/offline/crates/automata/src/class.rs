use std::fmt;
use std::ops::{BitOr, Not, RangeInclusive};

/// A set of bytes.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Class([u128; 2]);

impl Class {
    /// The set of all bytes but the end of a line.
    pub fn any() -> Self {
        !Self::from(b'\n')
    }

    /// Adds a byte.
    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 7)] |= 1 << (byte & 127);
    }

    /// Whether the byte is in the set.
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 7) as usize] >> (byte & 127) & 1 == 1
    }

    /// Whether no byte is.
    pub const fn is_empty(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0
    }

    /// The bytes, in order.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&byte| self.contains(byte))
    }
}

impl From<u8> for Class {
    fn from(byte: u8) -> Self {
        Self::from(byte..=byte)
    }
}

impl From<RangeInclusive<u8>> for Class {
    fn from(range: RangeInclusive<u8>) -> Self {
        range.collect()
    }
}

impl FromIterator<u8> for Class {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut class = Self::default();
        bytes.into_iter().for_each(|byte| class.insert(byte));
        class
    }
}

impl BitOr for Class {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }
}

impl Not for Class {
    type Output = Self;

    fn not(self) -> Self {
        Self([!self.0[0], !self.0[1]])
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.bytes().map(char::from)).finish()
    }
}
