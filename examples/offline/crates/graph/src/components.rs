use crate::Graph;
use std::collections::BTreeMap;
use std::fmt::Debug;

impl<N: Clone + Debug + Ord> Graph<N> {
    /// Groups of nodes that all need one another (Tarjan's algorithm, without recursion), each after the groups it
    /// needs. A node on no cycle is a group of its own.
    pub fn components(&self) -> Vec<Vec<N>> {
        let mut search = Search { graph: self, marks: BTreeMap::new(), stack: Vec::new(), groups: Vec::new() };
        for node in self.nodes() {
            if !search.marks.contains_key(node) {
                search.visit(node.clone());
            }
        }
        search.groups
    }
}

struct Mark {
    index: usize,
    low: usize,
    on_stack: bool,
}

struct Search<'a, N> {
    graph: &'a Graph<N>,
    marks: BTreeMap<N, Mark>,
    stack: Vec<N>,
    groups: Vec<Vec<N>>,
}

impl<N: Clone + Debug + Ord> Search<'_, N> {
    fn enter(&mut self, node: &N) -> Vec<N> {
        let index = self.marks.len();
        self.marks.insert(node.clone(), Mark { index, low: index, on_stack: true });
        self.stack.push(node.clone());
        self.graph.needs(node).rev_vec()
    }

    fn lower(&mut self, node: &N, low: usize) {
        if let Some(mark) = self.marks.get_mut(node) {
            mark.low = mark.low.min(low);
        }
    }

    fn visit(&mut self, start: N) {
        let open = self.enter(&start);
        let mut path = vec![(start, open)];
        while let Some((node, open)) = path.last_mut() {
            let node = node.clone();
            match open.pop() {
                Some(need) => match self.marks.get(&need) {
                    None => {
                        let open = self.enter(&need);
                        path.push((need, open));
                    }
                    Some(mark) if mark.on_stack => {
                        let index = mark.index;
                        self.lower(&node, index);
                    }
                    Some(_) => {}
                },
                None => {
                    path.pop();
                    self.leave(&node, path.last().map(|(parent, _)| parent.clone()));
                }
            }
        }
    }

    fn leave(&mut self, node: &N, parent: Option<N>) {
        let Some((index, low)) = self.marks.get(node).map(|mark| (mark.index, mark.low)) else { return };
        if let Some(parent) = parent {
            self.lower(&parent, low);
        }
        if low == index {
            let at = self.stack.iter().rposition(|other| other == node).unwrap_or_default();
            let mut group = self.stack.split_off(at);
            for member in &group {
                if let Some(mark) = self.marks.get_mut(member) {
                    mark.on_stack = false;
                }
            }
            group.sort();
            self.groups.push(group);
        }
    }
}

trait RevVec<N> {
    /// The items in reverse, so that popping yields them in order.
    fn rev_vec(self) -> Vec<N>;
}

impl<'a, N: Clone + 'a, I: Iterator<Item = &'a N>> RevVec<N> for I {
    fn rev_vec(self) -> Vec<N> {
        let mut items: Vec<N> = self.cloned().collect();
        items.reverse();
        items
    }
}

#[cfg(test)]
mod tests {
    use crate::Graph;

    #[test]
    fn cycles_are_groups_and_come_after_what_they_need() {
        let mut graph = Graph::new();
        graph.set('a', ['b']);
        graph.set('b', ['c', 'd']);
        graph.set('c', ['a']);
        graph.set('d', ['e']);
        graph.set('f', ['f']);
        assert_eq!(graph.components(), [vec!['e'], vec!['d'], vec!['a', 'b', 'c'], vec!['f']]);
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let mut graph = Graph::new();
        for node in 0..100_000u32 {
            graph.set(node, [node + 1]);
        }
        assert_eq!(graph.components().len(), 100_001);
    }
}
