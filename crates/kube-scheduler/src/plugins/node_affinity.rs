//! NodeAffinity: `nodeSelector`, required and preferred node affinity, and the profile's `addedAffinity`.

use crate::cache::{Cache, NodeInfo};
use crate::framework::events::Subject;
use crate::framework::{
    Change, Context, Filter, Kinds, Normalize, Plugin, Point, PreFilter, Rejection, Score,
};
use crate::plugins::node_selector::{Term, Terms, names, of_map};
use crate::pod::Pod;
use crate::resources::Symbols;
use crate::views::{NodeAffinity as Affinity, PreferredTerm};

pub const REASON: &str = "node(s) didn't match Pod's node affinity/selector";
pub const REASON_ENFORCED: &str = "node(s) didn't match scheduler-enforced node affinity";
pub const REASON_CONFLICT: &str = "pod affinity terms conflict";

#[derive(Default)]
pub struct NodeAffinity {
    /// `addedAffinity` of the plugin's arguments.
    pub added: Affinity,
}

/// What a pod, and its profile, require of a node.
pub struct Required {
    added: Option<Terms>,
    labels: Term,
    terms: Option<Terms>,
}

impl Required {
    pub fn new(added: &Affinity, pod: &Pod, symbols: &mut Symbols) -> Self {
        let required = pod.spec().node_affinity.as_ref().and_then(|a| a.required.as_ref());
        Self {
            added: added.required.as_ref().map(|s| Terms::new(s, symbols)),
            labels: of_map(&pod.spec().node_selector, symbols),
            terms: required.map(|s| Terms::new(s, symbols)),
        }
    }

    fn is_enforced(&self, node: &NodeInfo) -> bool {
        self.added.as_ref().is_none_or(|t| t.matches(node))
    }

    pub fn matches(&self, node: &NodeInfo) -> bool {
        (self.labels.is_empty() || self.labels.matches(node))
            && self.terms.as_ref().is_none_or(|t| t.matches(node))
    }
}

impl Filter for Required {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if !self.is_enforced(node) {
            return Err(Rejection::unresolvable(REASON_ENFORCED));
        }
        if self.matches(node) { Ok(()) } else { Err(Rejection::unresolvable(REASON)) }
    }
}

struct Preferred(Vec<(i64, Term)>);

impl Score for Preferred {
    fn score(&self, _: &Cache, node: &NodeInfo) -> i64 {
        self.0.iter().filter(|(_, term)| term.matches(node)).map(|(weight, _)| weight).sum()
    }

    fn normalize(&self) -> Normalize {
        Normalize::Highest
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let required = pod.spec().node_affinity.as_ref().and_then(|a| a.required.as_ref());
        if required.is_none() && self.added.required.is_none() && pod.spec().node_selector.is_empty() {
            return PreFilter::Skip;
        }
        let filter = Box::new(Required::new(&self.added, pod, context.symbols));
        match required.and_then(names) {
            Some(none) if none.is_empty() => PreFilter::Reject(Rejection::unresolvable(REASON_CONFLICT)),
            Some(names) => PreFilter::Only(names, filter),
            None => PreFilter::Filter(filter),
        }
    }

    fn pre_score(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn Score>> {
        let own = pod.spec().node_affinity.iter().flat_map(|a| &a.preferred);
        let mut compile =
            |t: &PreferredTerm| (i64::from(t.weight), Term::new(&t.preference, context.symbols));
        let terms: Vec<_> = self.added.preferred.iter().chain(own).map(&mut compile).collect();
        (!terms.is_empty()).then(|| Box::new(Preferred(terms)) as Box<dyn Score>)
    }

    fn events(&self) -> Kinds {
        Kinds::NODE_ADD.and(Kinds::NODE_LABEL)
    }

    fn is_schedulable_after(&self, context: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let Subject::Node { old, new } = &change.subject else { return true };
        let required = Required::new(&self.added, pod, context.symbols);
        let fits = |node: &NodeInfo| required.is_enforced(node) && required.matches(node);
        fits(new) && old.is_none_or(|old| !fits(old))
    }
}
