use crate::nfa::Nfa;
use std::collections::{BTreeSet, HashMap};

/// A state of an automaton.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// The pattern that has matched when the automaton is here.
    pub accepts: Option<usize>,
    /// Where each byte leads, if anywhere; always 256 entries.
    pub next: Vec<Option<usize>>,
}

impl State {
    /// The steps as ranges of bytes, in order.
    pub fn ranges(&self) -> Vec<(u8, u8, usize)> {
        let mut ranges: Vec<(u8, u8, usize)> = Vec::new();
        for (byte, &to) in (0..=u8::MAX).zip(&self.next) {
            let Some(to) = to else { continue };
            match ranges.last_mut() {
                Some((_, last, same)) if *same == to && *last + 1 == byte => *last = byte,
                _ => ranges.push((byte, byte, to)),
            }
        }
        ranges
    }
}

/// A deterministic automaton; it starts in state 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dfa {
    states: Vec<State>,
}

impl Dfa {
    pub(crate) fn new(states: Vec<State>) -> Self {
        Self { states }
    }

    /// The subset construction: each state is a set of nodes that the other automaton may be in.
    pub(crate) fn from_nfa(nfa: &Nfa) -> Self {
        let start = nfa.closure([0]);
        let mut numbers: HashMap<BTreeSet<usize>, usize> = HashMap::from([(start.clone(), 0)]);
        let mut sets = vec![start];
        let mut states = Vec::new();
        while let Some(set) = sets.get(states.len()).cloned() {
            let mut next = Vec::with_capacity(256);
            for byte in 0..=u8::MAX {
                let to = nfa.step(&set, byte);
                next.push(if to.is_empty() {
                    None
                } else {
                    let number = *numbers.entry(to.clone()).or_insert(sets.len());
                    if number == sets.len() {
                        sets.push(to);
                    }
                    Some(number)
                });
            }
            states.push(State { accepts: nfa.accepts(&set), next });
        }
        Self { states }
    }

    /// All states.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The pattern that matches the most bytes at the start of the text, and how many.
    pub fn longest_match(&self, text: &[u8]) -> Option<(usize, usize)> {
        let mut state = 0;
        let mut found = None;
        for (at, &byte) in text.iter().enumerate() {
            match self.states[state].next[usize::from(byte)] {
                Some(to) => state = to,
                None => break,
            }
            if let Some(pattern) = self.states[state].accepts {
                found = Some((pattern, at + 1));
            }
        }
        found
    }
}
