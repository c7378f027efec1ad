//! Turns `tokens.txt` into an enum and a state machine written as a `match`.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::{env, fs};
use tally_automata::{Dfa, compile};

const TABLE: &str = "tokens.txt";

struct Token<'a> {
    name: &'a str,
    pattern: &'a str,
    title: &'a str,
    dropped: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let text = fs::read_to_string(TABLE)?;
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut columns = line.split('\t');
        let (Some(name), Some(pattern), Some(title)) = (columns.next(), columns.next(), columns.next()) else {
            return Err(format!("{TABLE}:{number}: three columns are needed").into());
        };
        compile([pattern]).map_err(|error| format!("{TABLE}:{number}: {error}"))?;
        let dropped = name.starts_with('-');
        tokens.push(Token { name: name.trim_start_matches('-'), pattern, title, dropped });
    }
    let dfa = compile(tokens.iter().map(|token| token.pattern))?;
    let mut code = String::new();
    kinds(&mut code, &tokens)?;
    machine(&mut code, &tokens, &dfa)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("tokens.rs"), code)?;
    Ok(())
}

fn kinds(code: &mut String, tokens: &[Token<'_>]) -> fmt::Result {
    writeln!(code, "/// What a token is.")?;
    writeln!(code, "#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]")?;
    writeln!(code, "pub enum TokenKind {{")?;
    for token in tokens {
        writeln!(code, "    /// {}, as in `{}`.\n    {},", token.title, token.pattern, token.name)?;
    }
    writeln!(code, "}}\n\nimpl TokenKind {{")?;
    writeln!(code, "    /// All kinds, in order of precedence.")?;
    writeln!(code, "    pub const ALL: [Self; {}] = [", tokens.len())?;
    for token in tokens {
        writeln!(code, "        Self::{},", token.name)?;
    }
    writeln!(code, "    ];\n\n    /// What messages call it.")?;
    writeln!(code, "    pub const fn title(self) -> &'static str {{\n        match self {{")?;
    for token in tokens {
        writeln!(code, "            Self::{} => {:?},", token.name, token.title)?;
    }
    writeln!(code, "        }}\n    }}\n\n    /// Whether it means nothing to the parser.")?;
    let dropped: Vec<String> =
        tokens.iter().filter(|token| token.dropped).map(|token| format!("Self::{}", token.name)).collect();
    writeln!(code, "    pub const fn is_dropped(self) -> bool {{\n        matches!(self, {})", dropped.join(" | "))?;
    writeln!(code, "    }}\n}}\n")
}

fn machine(code: &mut String, tokens: &[Token<'_>], dfa: &Dfa) -> fmt::Result {
    writeln!(code, "fn next(state: u8, byte: u8) -> Option<u8> {{\n    match state {{")?;
    for (number, state) in dfa.states().iter().enumerate() {
        let ranges = state.ranges();
        if ranges.is_empty() {
            continue;
        }
        writeln!(code, "        {number} => match byte {{")?;
        let covered: usize = ranges.iter().map(|&(first, last, _)| usize::from(last - first) + 1).sum();
        for (first, last, to) in ranges {
            writeln!(code, "            {first:#04x}..={last:#04x} => Some({to}),")?;
        }
        if covered < 256 {
            writeln!(code, "            _ => None,")?;
        }
        writeln!(code, "        }},")?;
    }
    writeln!(code, "        _ => None,\n    }}\n}}\n")?;
    writeln!(code, "fn accepted(state: u8) -> Option<TokenKind> {{\n    match state {{")?;
    for (number, state) in dfa.states().iter().enumerate() {
        if let Some(pattern) = state.accepts {
            writeln!(code, "        {number} => Some(TokenKind::{}),", tokens[pattern].name)?;
        }
    }
    writeln!(code, "        _ => None,\n    }}\n}}")
}
