/// Characters that take two columns: East Asian wide and full-width forms, and emoji.
const WIDE: [(char, char); 12] = [
    ('\u{1100}', '\u{115f}'),
    ('\u{2e80}', '\u{303e}'),
    ('\u{3041}', '\u{33ff}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{4e00}', '\u{9fff}'),
    ('\u{a000}', '\u{a4cf}'),
    ('\u{ac00}', '\u{d7a3}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{fe30}', '\u{fe6f}'),
    ('\u{ff00}', '\u{ff60}'),
    ('\u{1f300}', '\u{1faff}'),
    ('\u{20000}', '\u{3fffd}'),
];

/// Characters that take no column: combining marks, joiners and variation selectors.
const ZERO: [(char, char); 5] = [
    ('\u{0300}', '\u{036f}'),
    ('\u{1ab0}', '\u{1aff}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{20d0}', '\u{20ff}'),
    ('\u{fe00}', '\u{fe0f}'),
];

fn columns(char: char) -> usize {
    let within = |ranges: &[(char, char)]| ranges.iter().any(|&(first, last)| (first..=last).contains(&char));
    if char.is_control() || within(&ZERO) {
        0
    } else if within(&WIDE) {
        2
    } else {
        1
    }
}

/// The number of columns a text takes in a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Where the text stands in a field wider than itself.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Align {
    /// At the left.
    #[default]
    Left,
    /// At the right.
    Right,
    /// In the middle, nearer to the left when it cannot be exact.
    Center,
}

/// The text filled up with blanks to a width; as it is when it is wider.
pub fn pad(text: &str, to: usize, align: Align) -> String {
    let missing = to.saturating_sub(width(text));
    let left = match align {
        Align::Left => 0,
        Align::Right => missing,
        Align::Center => missing / 2,
    };
    format!("{}{text}{}", " ".repeat(left), " ".repeat(missing - left))
}

/// The text cut to a width, with `…` in place of what is missing.
pub fn truncate(text: &str, to: usize) -> String {
    if width(text) <= to {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|&char| {
        used += columns(char);
        used <= to
    });
    let mut cut: String = kept.collect();
    if to > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::{Align, pad, truncate, width};

    #[test]
    fn wide_and_combining_characters_are_measured() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("東京"), 4);
        assert_eq!(width("e\u{301}"), 1);
    }

    #[test]
    fn text_is_padded_on_the_right_side() {
        assert_eq!(pad("東", 5, Align::Right), "   東");
        assert_eq!(pad("ab", 5, Align::Center), " ab  ");
        assert_eq!(pad("abcdef", 5, Align::Left), "abcdef");
    }

    #[test]
    fn cut_text_fits_with_its_mark() {
        assert_eq!(truncate("abcdef", 4), "abc…");
        assert_eq!(truncate("東京都", 4), "東…");
        assert_eq!(truncate("abc", 0), "");
    }
}
