/// A list of words, each of which stands for its place in the list.
pub(crate) struct WordList {
    /// The number of bits a word stands for; there are `1 << bits` words.
    pub(crate) bits: u32,
    pub(crate) words: &'static [&'static str],
    /// The places of the words in alphabetical order.
    sorted: &'static [u16],
}

include!(concat!(env!("OUT_DIR"), "/words.rs"));

impl WordList {
    /// The place of a word, if the list has it.
    pub(crate) fn place(&self, word: &str) -> Option<u16> {
        let found = self.sorted.binary_search_by_key(&word, |&place| self.words[usize::from(place)]);
        found.ok().map(|at| self.sorted[at])
    }
}

#[cfg(test)]
mod tests {
    use super::{ADJECTIVES, NOUNS};

    #[test]
    fn every_word_is_found_at_its_place() {
        for list in [&ADJECTIVES, &NOUNS] {
            assert_eq!(list.words.len(), 1 << list.bits);
            for (place, word) in (0..).zip(list.words) {
                assert_eq!(list.place(word), Some(place), "{word}");
            }
            assert_eq!(list.place("xylophone"), None);
        }
    }
}
