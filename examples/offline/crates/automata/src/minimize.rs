use crate::dfa::{Dfa, State};
use std::collections::HashMap;

/// Moore's algorithm: states are the same until a byte tells them apart.
pub(crate) fn minimize(dfa: &Dfa) -> Dfa {
    let states = dfa.states();
    let mut blocks = number(states.iter().map(|state| state.accepts));
    loop {
        let refined = number(states.iter().enumerate().map(|(at, state)| {
            let next: Vec<Option<usize>> = state.next.iter().map(|to| to.map(|to| blocks[to])).collect();
            (blocks[at], next)
        }));
        if refined == blocks {
            break;
        }
        blocks = refined;
    }
    let count = blocks.iter().max().map_or(0, |last| last + 1);
    let merged = (0..count).filter_map(|block| {
        let state = &states[blocks.iter().position(|&other| other == block)?];
        let next = state.next.iter().map(|to| to.map(|to| blocks[to])).collect();
        Some(State { accepts: state.accepts, next })
    });
    Dfa::new(merged.collect())
}

/// Numbers things in the order in which they first occur, so that the first stays number 0.
fn number<T: Eq + std::hash::Hash>(things: impl Iterator<Item = T>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    things
        .map(|thing| {
            let next = numbers.len();
            *numbers.entry(thing).or_insert(next)
        })
        .collect()
}
