use crate::Class;
use std::fmt;
use std::str::FromStr;

/// A parsed regular expression.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// The empty text.
    Empty,
    /// One byte out of a set.
    Byte(Class),
    /// One after the other.
    Sequence(Vec<Pattern>),
    /// One of several.
    Choice(Vec<Pattern>),
    /// Any number of times, or once and more often.
    Repeat {
        /// What is repeated.
        inner: Box<Pattern>,
        /// Whether it must occur at all.
        at_least_once: bool,
    },
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PatternError {
    /// The byte at which it stopped making sense.
    pub at: usize,
    /// What is wrong there.
    pub message: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.message, self.at)
    }
}

impl std::error::Error for PatternError {}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut parser = Parser { bytes: text.as_bytes(), at: 0 };
        let pattern = parser.choice()?;
        if parser.at < parser.bytes.len() { Err(parser.error("unopened group")) } else { Ok(pattern) }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, message: &'static str) -> PatternError {
        PatternError { at: self.at, message }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn choice(&mut self) -> Result<Pattern, PatternError> {
        let mut choices = vec![self.sequence()?];
        while self.eat(b'|') {
            choices.push(self.sequence()?);
        }
        Ok(if choices.len() == 1 { choices.remove(0) } else { Pattern::Choice(choices) })
    }

    fn sequence(&mut self) -> Result<Pattern, PatternError> {
        let mut parts = Vec::new();
        while !matches!(self.peek(), None | Some(b'|' | b')')) {
            parts.push(self.repeat()?);
        }
        Ok(match parts.len() {
            0 => Pattern::Empty,
            1 => parts.remove(0),
            _ => Pattern::Sequence(parts),
        })
    }

    fn repeat(&mut self) -> Result<Pattern, PatternError> {
        let mut pattern = self.atom()?;
        while let Some(sign @ (b'*' | b'+' | b'?')) = self.peek() {
            self.at += 1;
            pattern = match sign {
                b'?' => Pattern::Choice(vec![pattern, Pattern::Empty]),
                _ => Pattern::Repeat { inner: Box::new(pattern), at_least_once: sign == b'+' },
            };
        }
        Ok(pattern)
    }

    fn atom(&mut self) -> Result<Pattern, PatternError> {
        match self.peek() {
            None => Err(self.error("something is missing")),
            Some(b'*' | b'+' | b'?') => Err(self.error("nothing to repeat")),
            Some(b'(') => {
                self.at += 1;
                let inner = self.choice()?;
                if self.eat(b')') { Ok(inner) } else { Err(self.error("unclosed group")) }
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Pattern::Byte(self.class()?))
            }
            Some(b'.') => {
                self.at += 1;
                Ok(Pattern::Byte(Class::any()))
            }
            Some(_) => Ok(Pattern::Byte(self.single()?)),
        }
    }

    fn class(&mut self) -> Result<Class, PatternError> {
        let negated = self.eat(b'^');
        let mut class = Class::default();
        while !self.eat(b']') {
            let first = self.single()?;
            if self.peek() == Some(b'-') && self.bytes.get(self.at + 1) != Some(&b']') {
                self.at += 1;
                let last = self.single()?;
                let end = |class: Class| class.bytes().next();
                match (end(first), end(last)) {
                    (Some(first), Some(last)) if first <= last => class = class | Class::from(first..=last),
                    _ => {
                        self.at -= 1;
                        return Err(self.error("the range is empty"));
                    }
                }
            } else {
                class = class | first;
            }
        }
        if class.is_empty() {
            self.at -= 1;
            return Err(self.error("the class is empty"));
        }
        Ok(if negated { !class } else { class })
    }

    /// One character, or what an escape stands for.
    fn single(&mut self) -> Result<Class, PatternError> {
        let byte = self.peek().ok_or_else(|| self.error("unclosed class"))?;
        self.at += 1;
        if byte != b'\\' {
            return Ok(Class::from(byte));
        }
        let escaped = self.peek().ok_or_else(|| self.error("nothing is escaped"))?;
        let class = match escaped {
            b'd' => Class::from(b'0'..=b'9'),
            b's' => b" \t\r\n".iter().copied().collect(),
            b'w' => Class::from(b'0'..=b'9') | Class::from(b'a'..=b'z') | Class::from(b'A'..=b'Z') | Class::from(b'_'),
            b't' => Class::from(b'\t'),
            b'n' => Class::from(b'\n'),
            b'r' => Class::from(b'\r'),
            b'x' => {
                let digits =
                    self.bytes.get(self.at + 1..self.at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                self.at += 2;
                Class::from(byte.ok_or_else(|| self.error("two hexadecimal digits are missing"))?)
            }
            byte if byte.is_ascii_punctuation() => Class::from(byte),
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 1;
        Ok(class)
    }
}
