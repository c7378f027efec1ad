use crate::{Class, Pattern};
use std::collections::BTreeSet;

/// Thompson's construction: small steps, some of which consume nothing.
#[derive(Debug, Default)]
pub(crate) struct Nfa {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    on_byte: Option<(Class, usize)>,
    free: Vec<usize>,
    accepts: Option<usize>,
}

impl Nfa {
    /// Node 0 is the start; the end of pattern `n` accepts `n`.
    pub(crate) fn new(patterns: &[Pattern]) -> Self {
        let mut nfa = Self::default();
        let start = nfa.add();
        for (number, pattern) in patterns.iter().enumerate() {
            let first = nfa.add();
            nfa.nodes[start].free.push(first);
            let last = nfa.build(pattern, first);
            nfa.nodes[last].accepts = Some(number);
        }
        nfa
    }

    fn add(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Adds what it takes to get past the pattern, and returns where one is then.
    fn build(&mut self, pattern: &Pattern, from: usize) -> usize {
        match pattern {
            Pattern::Empty => from,
            Pattern::Byte(class) => {
                let to = self.add();
                self.nodes[from].on_byte = Some((*class, to));
                to
            }
            Pattern::Sequence(parts) => parts.iter().fold(from, |from, part| {
                let to = self.build(part, from);
                // A node has one byte step, so each part ends in a node of its own.
                let next = self.add();
                self.nodes[to].free.push(next);
                next
            }),
            Pattern::Choice(choices) => {
                let end = self.add();
                for choice in choices {
                    let start = self.add();
                    self.nodes[from].free.push(start);
                    let last = self.build(choice, start);
                    self.nodes[last].free.push(end);
                }
                end
            }
            Pattern::Repeat { inner, at_least_once } => {
                let (start, end) = (self.add(), self.add());
                self.nodes[from].free.push(start);
                let last = self.build(inner, start);
                self.nodes[last].free.extend([start, end]);
                if !at_least_once {
                    self.nodes[from].free.push(end);
                }
                end
            }
        }
    }

    /// Everything that can be reached without consuming a byte.
    pub(crate) fn closure(&self, from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut open: Vec<usize> = from.into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(node) = open.pop() {
            if reached.insert(node) {
                open.extend(&self.nodes[node].free);
            }
        }
        reached
    }

    pub(crate) fn step(&self, from: &BTreeSet<usize>, byte: u8) -> BTreeSet<usize> {
        let steps = from.iter().filter_map(|&node| self.nodes[node].on_byte);
        self.closure(steps.filter(|(class, _)| class.contains(byte)).map(|(_, to)| to))
    }

    /// The first pattern that ends in one of these nodes.
    pub(crate) fn accepts(&self, nodes: &BTreeSet<usize>) -> Option<usize> {
        nodes.iter().filter_map(|&node| self.nodes[node].accepts).min()
    }
}
