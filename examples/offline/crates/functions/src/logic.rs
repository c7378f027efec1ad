use tally_value::{Fault, Value};

pub(crate) fn r#if(condition: bool, then: Value, otherwise: Option<Value>) -> Value {
    if condition { then } else { otherwise.unwrap_or(Value::Bool(false)) }
}

pub(crate) fn iferror(value: Value, otherwise: Value) -> Value {
    if value.fault().is_some() { otherwise } else { value }
}

pub(crate) fn and(conditions: Vec<bool>) -> bool {
    conditions.into_iter().all(|condition| condition)
}

pub(crate) fn or(conditions: Vec<bool>) -> bool {
    conditions.into_iter().any(|condition| condition)
}

pub(crate) fn xor(conditions: Vec<bool>) -> bool {
    conditions.into_iter().filter(|&condition| condition).count() % 2 == 1
}

pub(crate) fn not(condition: bool) -> bool {
    !condition
}

pub(crate) fn isblank(value: Value) -> bool {
    value == Value::Empty
}

pub(crate) fn iserror(value: Value) -> bool {
    value.fault().is_some()
}

pub(crate) fn isnumber(value: Value) -> bool {
    matches!(value, Value::Number(_))
}

pub(crate) fn istext(value: Value) -> bool {
    matches!(value, Value::Text(_))
}

pub(crate) fn choose(place: usize, values: Vec<Value>) -> Result<Value, Fault> {
    let value = place.checked_sub(1).and_then(|at| values.into_iter().nth(at));
    value.ok_or(Fault::Missing)
}
