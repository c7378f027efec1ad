include!(concat!(env!("OUT_DIR"), "/tokens.rs"));

/// The token at the start of the text that takes the most bytes, and how many.
pub(crate) fn longest_match(text: &[u8]) -> Option<(TokenKind, usize)> {
    let mut state = 0;
    let mut found = None;
    for (at, &byte) in text.iter().enumerate() {
        match next(state, byte) {
            Some(to) => state = to,
            None => break,
        }
        if let Some(kind) = accepted(state) {
            found = Some((kind, at + 1));
        }
    }
    found
}
