use std::vec::IntoIter;
use tally_value::{Fault, FromValue, Value};

/// What a function is called with.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A value.
    Single(Value),
    /// The values of a range, row by row.
    Range(Vec<Value>),
}

impl Argument {
    /// The value of a single one; of a range, its only cell.
    fn single(self) -> Result<Value, Fault> {
        match self {
            Self::Single(value) => Ok(value),
            Self::Range(values) => {
                let mut values = values.into_iter();
                values.next().filter(|_| values.len() == 0).ok_or(Fault::Type)
            }
        }
    }

    fn items<T: FromValue>(self, items: &mut Vec<T>) -> Result<(), Fault> {
        match self {
            Self::Single(value) => items.push(T::from_value(value)?),
            Self::Range(values) => {
                for value in values {
                    items.extend(T::from_item(value)?);
                }
            }
        }
        Ok(())
    }
}

/// Hands out arguments one after the other, as whatever type is asked for.
pub(crate) struct Arguments(IntoIter<Argument>);

impl Arguments {
    pub(crate) fn new(arguments: Vec<Argument>) -> Self {
        Self(arguments.into_iter())
    }

    pub(crate) fn take<T: FromValue>(&mut self) -> Result<T, Fault> {
        T::from_value(self.0.next().ok_or(Fault::Arity)?.single()?)
    }

    pub(crate) fn optional<T: FromValue>(&mut self) -> Result<Option<T>, Fault> {
        self.0.next().map(|argument| T::from_value(argument.single()?)).transpose()
    }

    pub(crate) fn list<T: FromValue>(&mut self) -> Result<Vec<T>, Fault> {
        let mut items = Vec::new();
        self.0.next().ok_or(Fault::Arity)?.items(&mut items)?;
        Ok(items)
    }

    pub(crate) fn rest<T: FromValue>(&mut self) -> Result<Vec<T>, Fault> {
        let mut items = Vec::new();
        self.0.by_ref().try_for_each(|argument| argument.items(&mut items))?;
        Ok(items)
    }
}
