//! Regular expressions over bytes, compiled together into one minimal deterministic automaton.
//!
//! Meant for build scripts: `tally-lexer` turns the automaton into a `match`. The syntax is the common core: literals,
//! `.`, `[a-z]`, `[^…]`, `\d`, `\w`, `\s`, `\xNN`, groups, `|`, `*`, `+` and `?`.

mod class;
mod dfa;
mod minimize;
mod nfa;
mod pattern;

pub use class::Class;
pub use dfa::{Dfa, State};
pub use pattern::{Pattern, PatternError};

/// Compiles patterns into one automaton. Where several match, the earlier pattern wins.
pub fn compile<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Dfa, PatternError> {
    let patterns = patterns.into_iter().map(str::parse).collect::<Result<Vec<Pattern>, _>>()?;
    let nfa = nfa::Nfa::new(&patterns);
    Ok(minimize::minimize(&Dfa::from_nfa(&nfa)))
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn the_longest_match_wins_and_then_the_earlier_pattern() {
        let dfa = compile(["if", "[a-z]+", r"\d+(\.\d+)?"]).unwrap();
        assert_eq!(dfa.longest_match(b"if x"), Some((0, 2)));
        assert_eq!(dfa.longest_match(b"iffy"), Some((1, 4)));
        assert_eq!(dfa.longest_match(b"3.x"), Some((2, 1)));
        assert_eq!(dfa.longest_match(b"3.14"), Some((2, 4)));
        assert_eq!(dfa.longest_match(b"?"), None);
    }

    #[test]
    fn classes_can_be_negated_and_escaped() {
        let dfa = compile([r#""([^"]|"")*""#, r"[\x80-\xff]+", r"\[\]"]).unwrap();
        assert_eq!(dfa.longest_match(br#""a""b"c"#), Some((0, 6)));
        assert_eq!(dfa.longest_match("é1".as_bytes()), Some((1, 2)));
        assert_eq!(dfa.longest_match(b"[]"), Some((2, 2)));
    }

    #[test]
    fn the_automaton_is_minimal() {
        // Even numbers of a's need two states, whatever way the pattern is written.
        assert_eq!(compile(["(aa)*"]).unwrap().states().len(), 2);
        assert_eq!(compile(["(aa|aaaa)*"]).unwrap().states().len(), 2);
    }

    #[test]
    fn bad_patterns_are_refused_with_their_place() {
        for (pattern, at) in [("(a", 2), ("a)", 1), ("[z-a]", 3), ("*", 0), (r"\q", 1), ("[]", 1)] {
            assert_eq!(compile([pattern]).unwrap_err().at, at, "{pattern}");
        }
    }
}
