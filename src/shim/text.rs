//! The paths in what rustc writes: found, and put back to those of this machine.

use std::borrow::Cow;

/// One replacement of a path prefix.
struct Rule {
    find: Vec<u8>,
    put: Vec<u8>,
    place: Place,
}

/// Where a path is replaced.
#[derive(Clone, Copy)]
enum Place {
    Anywhere,
    /// Where no longer path ends in it: `/home/a/cargo/registry/src` is not `/cargo/registry/src`.
    Whole,
    /// Where a JSON diagnostic names a source file. Anywhere else it is text, such as a quoted line of the source.
    FileName,
}

/// Replacements for one compile, once as they look in JSON and once as they are.
pub struct Paths {
    json: Vec<Rule>,
    plain: Vec<Rule>,
}

impl Paths {
    /// `private` is the pair (private directory, real out-dir); of the remaps those to `/cargo/…` are undone.
    pub fn new(private: Option<(&str, &str)>, remaps: &[(String, String)]) -> Paths {
        let undone = remaps
            .iter()
            .rev()
            .filter(|(_, to)| to.starts_with("/cargo/"))
            .map(|(from, to)| (to.as_str(), from.as_str()));
        let undone: Vec<_> = undone.collect();
        let rules = |escape: fn(&str) -> Vec<u8>, named: Place| {
            let rule = |find: &str, put: &str, place| Rule {
                find: escape(find),
                put: escape(put),
                place,
            };
            let mut rules: Vec<Rule> = private
                .iter()
                .map(|(find, put)| rule(find, put, Place::Anywhere))
                .chain(undone.iter().map(|(find, put)| rule(find, put, named)))
                .collect();
            // The longest that fits wins; of equals the later remap, as in rustc.
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.find.len()));
            rules
        };
        Paths {
            json: rules(json_escaped, Place::FileName),
            plain: rules(|text| text.as_bytes().to_vec(), Place::Whole),
        }
    }

    /// One line of stderr as plain rustc would have written it.
    pub fn restored<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        replaced(
            line,
            if line.starts_with(b"{") {
                &self.json
            } else {
                &self.plain
            },
        )
    }
}

/// The text of a dep-info file with one directory for another. Spaces are escaped where a path is read, not where it is made.
pub fn in_dep_info(text: &[u8], find: &str, put: &str) -> Vec<u8> {
    let escaped = |path: &str| path.replace(' ', "\\ ");
    let rule = |find: &str, put: &str| Rule {
        find: find.into(),
        put: put.into(),
        place: Place::Anywhere,
    };
    replaced(
        text,
        &[rule(find, put), rule(&escaped(find), &escaped(put))],
    )
    .into_owned()
}

fn replaced<'a>(text: &'a [u8], rules: &[Rule]) -> Cow<'a, [u8]> {
    let mut out = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(step) = text[at..].iter().position(|byte| *byte == b'/') {
        at += step;
        let fits = |rule: &&Rule| {
            text[at..].starts_with(&rule.find)
                && !text
                    .get(at + rule.find.len())
                    .is_some_and(|next| in_name(*next))
                && match rule.place {
                    Place::Anywhere => true,
                    Place::Whole => !continues(&text[..at]),
                    Place::FileName => names_file(&text[..at]),
                }
        };
        match rules.iter().find(fits) {
            Some(rule) => {
                out.extend_from_slice(&text[copied..at]);
                out.extend_from_slice(&rule.put);
                at += rule.find.len();
                copied = at;
            }
            None => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+') || byte >= 0x80
}

/// Whether a path goes on from `before`. The letter that ends a colour is not part of one.
fn continues(before: &[u8]) -> bool {
    without_colour(before).is_none()
        && before
            .last()
            .is_some_and(|last| in_name(*last) || *last == b'/')
}

/// Whether `before`, the beginning of a JSON diagnostic, ends where the name of a source file begins: that of a span, or the
/// one in a line of the rendered text that begins an excerpt, such as ` --> src/lib.rs:1:8`.
fn names_file(before: &[u8]) -> bool {
    if before.ends_with(b"\"file_name\":\"") {
        return true;
    }
    let before = without_blanks(before);
    let marks = ["-->", ":::", "╭▸", "⸬"];
    let Some(line) = marks
        .iter()
        .find_map(|mark| before.strip_suffix(mark.as_bytes()))
    else {
        return false;
    };
    let line = without_blanks(line);
    line.ends_with(b"\\n") || line.ends_with(b"\"rendered\":\"")
}

fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let Some(shorter) = text.strip_suffix(b" ").or_else(|| without_colour(text)) {
        text = shorter;
    }
    text
}

/// Without the colour at its end, if there is one: `\x1b[0m`, the first of it perhaps as JSON has it.
fn without_colour(text: &[u8]) -> Option<&[u8]> {
    let codes = text.strip_suffix(b"m")?;
    let digits = codes
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b';')
        .count();
    let start = &codes[..codes.len() - digits];
    start
        .strip_suffix(b"\\u001b[")
        .or_else(|| start.strip_suffix(b"\x1b["))
}

fn json_escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\t' => out.extend(b"\\t"),
            b'\r' => out.extend(b"\\r"),
            0..=0x1f => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// The string under the key `artifact` of a line that is a JSON object: what cargo itself goes by.
pub fn artifact_in(line: &[u8]) -> Option<String> {
    if !line.starts_with(b"{") {
        return None;
    }
    let (mut depth, mut at, mut value_next) = (0, 0, false);
    while at < line.len() {
        match line[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' => value_next = false,
            b'"' => {
                let end = string_end(line, at)?;
                let text = &line[at + 1..end];
                if depth == 1 && value_next {
                    return unescaped(text);
                }
                at = end;
                let colon = line[end + 1..]
                    .iter()
                    .find(|byte| !byte.is_ascii_whitespace())
                    == Some(&b':');
                value_next = depth == 1 && colon && text == b"artifact";
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the string that starts at `start` has its closing quote.
fn string_end(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while *line.get(at)? != b'"' {
        at += if line[at] == b'\\' { 2 } else { 1 };
    }
    Some(at)
}

fn unescaped(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        let plain = match char {
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    units.push(u16::from_str_radix(rest.as_str().get(..4)?, 16).ok()?);
                    rest.nth(3);
                    continue;
                }
                other => other,
            },
            other => other,
        };
        units.extend(plain.encode_utf16(&mut [0; 2]).iter());
    }
    String::from_utf16(&units).ok()
}
