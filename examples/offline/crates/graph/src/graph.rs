use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;

/// Nodes and what each one needs. Everything comes in the order of the nodes, so that results never depend on chance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Graph<N> {
    needs: BTreeMap<N, BTreeSet<N>>,
    needed_by: BTreeMap<N, BTreeSet<N>>,
}

impl<N> Default for Graph<N> {
    fn default() -> Self {
        Self { needs: BTreeMap::new(), needed_by: BTreeMap::new() }
    }
}

impl<N: Clone + Debug + Ord> Graph<N> {
    /// A graph without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, or replaces what it needs. Nodes that are needed are added too.
    pub fn set(&mut self, node: N, needs: impl IntoIterator<Item = N>) {
        let needs: BTreeSet<N> = needs.into_iter().collect();
        for old in self.needs.get(&node).into_iter().flatten() {
            if let Some(dependents) = self.needed_by.get_mut(old) {
                dependents.remove(&node);
            }
        }
        for need in &needs {
            self.needs.entry(need.clone()).or_default();
            self.needed_by.entry(need.clone()).or_default().insert(node.clone());
        }
        self.needed_by.entry(node.clone()).or_default();
        self.needs.insert(node, needs);
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &N> {
        self.needs.keys()
    }

    /// What a node needs directly.
    pub fn needs(&self, node: &N) -> impl Iterator<Item = &N> {
        self.needs.get(node).into_iter().flatten()
    }

    /// What needs a node directly.
    pub fn needed_by(&self, node: &N) -> impl Iterator<Item = &N> {
        self.needed_by.get(node).into_iter().flatten()
    }

    /// The nodes given and all that need them, however indirectly.
    pub fn affected(&self, changed: impl IntoIterator<Item = N>) -> BTreeSet<N> {
        Self::reach(changed, |node| self.needed_by(node).cloned().collect())
    }

    /// The nodes given and all they need, however indirectly.
    pub fn closure(&self, wanted: impl IntoIterator<Item = N>) -> BTreeSet<N> {
        Self::reach(wanted, |node| self.needs(node).cloned().collect())
    }

    fn reach(start: impl IntoIterator<Item = N>, next: impl Fn(&N) -> Vec<N>) -> BTreeSet<N> {
        let mut open: VecDeque<N> = start.into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(node) = open.pop_front() {
            if reached.insert(node.clone()) {
                open.extend(next(&node));
            }
        }
        reached
    }

    /// The part of the graph between these nodes alone.
    #[must_use]
    pub fn restricted(&self, to: &BTreeSet<N>) -> Self {
        let mut part = Self::new();
        for node in to {
            part.set(node.clone(), self.needs(node).filter(|need| to.contains(need)).cloned());
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;

    #[test]
    fn a_change_reaches_all_that_need_it() {
        let mut graph = Graph::new();
        graph.set("total", ["sum", "tax"]);
        graph.set("tax", ["sum"]);
        graph.set("sum", ["a", "b"]);
        graph.set("note", []);
        assert_eq!(graph.affected(["a"]).into_iter().collect::<Vec<_>>(), ["a", "sum", "tax", "total"]);
        assert_eq!(graph.closure(["tax"]).into_iter().collect::<Vec<_>>(), ["a", "b", "sum", "tax"]);
    }

    #[test]
    fn a_node_forgets_what_it_needed() {
        let mut graph = Graph::new();
        graph.set(1, [2, 3]);
        graph.set(1, [3]);
        assert_eq!(graph.needed_by(&2).count(), 0);
        assert_eq!(graph.affected([3]).into_iter().collect::<Vec<_>>(), [1, 3]);
    }
}
