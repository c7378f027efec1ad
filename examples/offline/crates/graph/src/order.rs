use crate::Graph;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};

/// Nodes that need one another, so that none can come first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cycle<N>(pub Vec<N>);

impl<N: Display> Display for Cycle<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.0 {
            write!(formatter, "{node} → ")?;
        }
        match self.0.first() {
            Some(first) => first.fmt(formatter),
            None => Ok(()),
        }
    }
}

/// An order in which everything can be computed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Schedule<N> {
    /// Each layer needs nothing but earlier layers.
    pub layers: Vec<Vec<N>>,
    /// What cannot be computed.
    pub cycles: Vec<Cycle<N>>,
}

impl<N> Schedule<N> {
    /// All nodes that can be computed, in order.
    pub fn order(&self) -> impl Iterator<Item = &N> {
        self.layers.iter().flatten()
    }
}

impl<N: Clone + Debug + Ord> Graph<N> {
    /// The layers of the graph. What merely needs a node on a cycle has its place after it all the same.
    pub fn schedule(&self) -> Schedule<N> {
        let mut level: BTreeMap<N, usize> = BTreeMap::new();
        let (mut layers, mut cycles): (Vec<Vec<N>>, Vec<Cycle<N>>) = (Vec::new(), Vec::new());
        for group in self.components() {
            let needs = group.iter().flat_map(|node| self.needs(node));
            let at = needs.filter_map(|need| level.get(need)).map(|level| level + 1).max().unwrap_or(0);
            level.extend(group.iter().map(|node| (node.clone(), at)));
            match &group[..] {
                [node] if !self.needs(node).any(|need| need == node) => {
                    if layers.len() <= at {
                        layers.resize_with(at + 1, Vec::new);
                    }
                    layers[at].push(node.clone());
                }
                _ => cycles.push(Cycle(self.around(&group))),
            }
        }
        layers.iter_mut().for_each(|layer| layer.sort());
        Schedule { layers, cycles }
    }

    /// The members of a group in the order in which they need one another, from the first that comes back to itself.
    fn around(&self, group: &[N]) -> Vec<N> {
        let mut path: Vec<N> = group.first().cloned().into_iter().collect();
        while let Some(last) = path.last() {
            let Some(next) = self.needs(last).find(|need| group.contains(need)).cloned() else { break };
            if let Some(at) = path.iter().position(|node| *node == next) {
                return path.split_off(at);
            }
            path.push(next);
        }
        path
    }

    /// The chain of nodes that takes the longest, and how long: nothing computes faster than this however many work
    /// at it. Nodes on cycles count for nothing.
    pub fn critical_path(&self, cost: impl Fn(&N) -> u64) -> (Vec<N>, u64) {
        let schedule = self.schedule();
        let mut best: BTreeMap<&N, (u64, Option<&N>)> = BTreeMap::new();
        for node in schedule.order() {
            let before = self.needs(node).filter_map(|need| best.get(need).map(|(cost, _)| (*cost, need)));
            let (so_far, from) = before.max_by_key(|(cost, _)| *cost).map_or((0, None), |(c, n)| (c, Some(n)));
            best.insert(node, (so_far + cost(node), from));
        }
        let Some((end, total)) = best.iter().map(|(node, (cost, _))| (*node, *cost)).max_by_key(|(_, cost)| *cost)
        else {
            return (Vec::new(), 0);
        };
        let mut path: Vec<N> =
            std::iter::successors(Some(end), |node| best.get(node).and_then(|(_, from)| *from)).cloned().collect();
        path.reverse();
        (path, total)
    }
}

#[cfg(test)]
mod tests {
    use crate::Graph;

    fn diamond() -> Graph<&'static str> {
        let mut graph = Graph::new();
        graph.set("total", ["net", "tax"]);
        graph.set("tax", ["net"]);
        graph.set("net", ["price", "count"]);
        graph
    }

    #[test]
    fn layers_need_only_earlier_layers() {
        let schedule = diamond().schedule();
        assert_eq!(schedule.layers, [vec!["count", "price"], vec!["net"], vec!["tax"], vec!["total"]]);
        assert!(schedule.cycles.is_empty());
    }

    #[test]
    fn a_cycle_is_shown_in_its_order() {
        let mut graph = diamond();
        graph.set("price", ["total"]);
        let schedule = graph.schedule();
        assert_eq!(schedule.layers, [["count"]]);
        assert_eq!(schedule.cycles[0].to_string(), "net → price → total → net");
    }

    #[test]
    fn the_critical_path_is_the_dearest_chain() {
        let (path, cost) = diamond().critical_path(|node| node.len() as u64);
        assert_eq!(path, ["price", "net", "tax", "total"]);
        assert_eq!(cost, 16);
    }
}
