//! What a cell can hold, how values are computed with, and how they are taken apart again.

mod arithmetic;
mod compare;
mod convert;
mod fault;
mod value;

pub use convert::{FromValue, IntoValue};
pub use fault::Fault;
pub use value::Value;
