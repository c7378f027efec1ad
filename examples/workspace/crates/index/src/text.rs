use regex::Regex;
use std::sync::LazyLock;

static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}]+(?:[+#]+|['’][\p{L}]+)?").expect("the pattern is fixed"));

/// Splits text into lower-case words. `C++`, `C#` and `don't` are one word each.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    WORD.find_iter(text).map(|found| found.as_str().to_lowercase().replace('’', "'"))
}

#[cfg(test)]
mod tests {
    use super::words;

    fn split(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn punctuation_separates_and_case_is_dropped() {
        assert_eq!(split("Tokio: an async-runtime, v1.0"), ["tokio", "an", "async", "runtime", "v1", "0"]);
    }

    #[test]
    fn names_with_signs_stay_whole() {
        assert_eq!(split("C++ or C#? Don’t"), ["c++", "or", "c#", "don't"]);
    }

    #[test]
    fn letters_of_any_script_are_words() {
        assert_eq!(split("Ångström, 東京"), ["ångström", "東京"]);
    }
}
