//! What the derives make of structs and enums.

use tally_calendar::Date;
use tally_decimal::Decimal;
use tally_record::{FieldValue, Record, RecordError, Row};

#[derive(Clone, Copy, Debug, FieldValue, PartialEq)]
enum Method {
    BankTransfer,
    Cash,
    #[record(name = "n/a")]
    Unknown,
}

#[derive(Debug, PartialEq, Record)]
struct Payment {
    #[record(name = "due date")]
    due: Date,
    pub amount: Decimal,
    #[allow(dead_code)]
    pub(crate) method: Method,
    #[record(default, name = "tags")]
    labels: Vec<String>,
    r#type: Option<u8>,
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().copied().map(String::from).collect()
}

fn read(headings: &[&str], fields: &[&str]) -> Result<Payment, RecordError> {
    Payment::from_row(&Row::new(&strings(headings), &strings(fields)))
}

#[test]
fn columns_are_found_by_heading() {
    let payment = read(&["Type", " amount", "method", "Due Date"], &["", "12.50", "bank-transfer", "2024-02-29"]);
    let expected = Payment {
        due: Date::new(2024, 2, 29).unwrap(),
        amount: Decimal::new(125, 1),
        method: Method::BankTransfer,
        labels: vec![],
        r#type: None,
    };
    assert_eq!(payment, Ok(expected));
}

#[test]
fn a_record_is_written_in_the_order_of_its_fields() {
    assert_eq!(Payment::HEADINGS, ["due date", "amount", "method", "tags", "type"]);
    let payment = read(Payment::HEADINGS, &["2024-02-29", "3", "n/a", "a;b", "7"]).unwrap();
    assert_eq!(payment.to_fields(), ["2024-02-29", "3", "n/a", "a;b", "7"]);
}

#[test]
fn errors_name_the_column_and_what_belongs_there() {
    let missing = read(&["amount"], &["1"]).unwrap_err();
    assert_eq!(missing, RecordError::Missing { heading: "due date".into() });
    let invalid = read(Payment::HEADINGS, &["2024-02-30", "1", "cash", "", ""]).unwrap_err();
    assert_eq!(invalid.to_string(), r#""2024-02-30" in column "due date" should be a date such as 2024-02-29"#);
    let method = read(Payment::HEADINGS, &["2024-02-29", "1", "card", "", ""]).unwrap_err();
    assert!(method.to_string().ends_with("should be one of bank-transfer, cash, n/a"), "{method}");
}
