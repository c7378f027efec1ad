//! The functions formulas can call. `catalogue.txt` lists them; its parameters say how each is handed its arguments.

mod arguments;
mod date;
mod finance;
mod logic;
mod lookup;
mod math;
mod statistics;
mod text;

pub use arguments::Argument;
use arguments::Arguments;
use tally_text::closest;
use tally_value::{Fault, IntoValue, Value};

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

impl Function {
    /// Calls it. Every trouble becomes a fault.
    pub fn call(self, arguments: Vec<Argument>) -> Value {
        let enough = arguments.len() >= self.least();
        if !enough || self.most().is_some_and(|most| arguments.len() > most) {
            return Value::Fault(Fault::Arity);
        }
        self.dispatch(&mut Arguments::new(arguments)).unwrap_or_else(Value::Fault)
    }

    /// The function somebody may have meant.
    pub fn closest(name: &str) -> Option<&'static str> {
        closest(name, Self::ALL.into_iter().map(Self::name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Argument, Function};
    use tally_value::{Fault, Value};

    /// Calls a function with arguments as they would be typed into cells; `a|b|c` is a range.
    fn call(name: &str, arguments: &[&str]) -> String {
        let argument = |text: &&str| match text.split_once('|') {
            Some(_) => Argument::Range(text.split('|').map(Value::from_input).collect()),
            None => Argument::Single(Value::from_input(text)),
        };
        let function = Function::from_name(name).unwrap();
        function.call(arguments.iter().map(argument).collect()).to_string()
    }

    #[test]
    fn every_function_is_found_and_survives_too_few_arguments() {
        for function in Function::ALL {
            assert_eq!(Function::from_name(function.name()), Some(function));
            assert_eq!(function.call(Vec::new()), Value::Fault(Fault::Arity), "{}", function.name());
        }
    }

    #[test]
    fn every_function_survives_any_arguments() {
        let odd = ["", "0", "-1", "1e30", "a text", "TRUE", "2024-02-29", "5 km", "#N/A", "1|x||2", "|"];
        for function in Function::ALL {
            let most = function.most().unwrap_or(4);
            for first in odd {
                for others in odd {
                    let arguments: Vec<&str> =
                        std::iter::once(first).chain(std::iter::repeat_n(others, most - 1)).collect();
                    // Whatever comes out, nothing may panic.
                    call(function.name(), &arguments);
                }
            }
        }
    }

    #[test]
    fn results_are_what_a_textbook_says() {
        let expected: [(&str, &[&str], &str); 40] = [
            ("IF", &["FALSE", "1"], "FALSE"),
            ("IFERROR", &["#N/A", "none"], "none"),
            ("XOR", &["TRUE", "TRUE", "TRUE"], "TRUE"),
            ("CHOOSE", &["2", "a", "b"], "b"),
            ("ROUND", &["2.345", "2"], "2.35"),
            ("FLOOR", &["-7", "5"], "-10"),
            ("MOD", &["-7", "3"], "2"),
            ("LOG", &["1000"], "3"),
            ("FACT", &["20"], "2432902008176640000"),
            ("COMBIN", &["49", "6"], "13983816"),
            ("GCD", &["12", "18", "30"], "6"),
            ("LCM", &["4|6", "10"], "60"),
            ("SUM", &["1|x|2", "3"], "6"),
            ("SUM", &["1 km|500 m"], "1.5 km"),
            ("SUMPRODUCT", &["1|2|3", "4|5|6"], "32"),
            ("COUNTA", &["1|x|"], "2"),
            ("MEDIAN", &["3", "1", "2", "10"], "2.5"),
            ("MAX", &["2024-01-01|2024-02-29"], "2024-02-29"),
            ("STDEV", &["2|4|4|4|5|5|7|9"], "2.138089935299395077476427847"),
            ("RANK", &["5", "9|5|7"], "3"),
            ("LARGE", &["9|5|7", "2"], "7"),
            ("FORECAST", &["4", "2|4|6", "1|2|3"], "8"),
            ("PROPER", &["the quick fox"], "The Quick Fox"),
            ("TRIM", &[" a   b "], "a b"),
            ("MID", &["größer", "3", "2"], "öß"),
            ("FIND", &["ß", "größer"], "4"),
            ("JOIN", &["-", "a|b", "c"], "a-b-c"),
            ("FIXED", &["1.005", "2"], "1.01"),
            ("DATE", &["2024", "2", "29"], "2024-02-29"),
            ("WEEKDAY", &["2024-02-29"], "4"),
            ("EOMONTH", &["2024-01-31", "1"], "2024-02-29"),
            ("WORKDAY", &["2024-03-28", "1"], "2024-04-02"),
            ("DATETEXT", &["2024-02-29", "DDD, D MMM"], "Thu, 29 Feb"),
            ("PMT", &["0", "10", "1000"], "-100"),
            ("IRR", &["-100|110"], "0.1"),
            ("SYD", &["1000", "100", "5", "2"], "240"),
            ("MATCH", &["b", "a|b|c"], "2"),
            ("LOOKUP", &["b", "a|b", "1|2"], "2"),
            ("SUMIF", &["a|b|a", "A", "1|2|3"], "4"),
            ("CONVERT", &["1 mi", "km"], "1.609344 km"),
        ];
        for (name, arguments, result) in expected {
            assert_eq!(call(name, arguments), result, "{name}{arguments:?}");
        }
    }
}
