//! PodTopologySpread: constraints that forbid to schedule (`DoNotSchedule`). Those that only prefer, and the default
//! ones of the cluster, do not score yet.

use std::collections::HashMap;

use client::StringMap;

use crate::cache::NodeInfo;
use crate::framework::events::Subject;
use crate::framework::{Change, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::plugins::node_affinity::Required;
use crate::plugins::taint_toleration::is_tolerated;
use crate::pod::Pod;
use crate::resources::Symbol;
use crate::views::{NodeAffinity, TopologySpreadConstraint};

pub const REASON: &str = "node(s) didn't match pod topology spread constraints";
pub const REASON_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

pub struct PodTopologySpread;

/// One constraint, with what there is.
struct Constraint {
    key: Symbol,
    max_skew: i64,
    /// 1 if the pod counts itself.
    itself: i64,
    /// Matching pods by the key's value.
    counts: HashMap<Symbol, i64>,
    /// The fewest matching pods of a domain; 0 with fewer domains than there should be.
    fewest: i64,
}

struct Constraints(Vec<Constraint>);

impl Filter for Constraints {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for constraint in &self.0 {
            let Some(label) = node.label(constraint.key) else {
                return Err(Rejection::unresolvable(REASON_LABEL));
            };
            let matching = constraint.counts.get(&label.value).copied().unwrap_or(0);
            if matching + constraint.itself - constraint.fewest > constraint.max_skew {
                return Err(Rejection::unschedulable(REASON));
            }
        }
        Ok(())
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

/// Whether a constraint counts a pod with these labels.
fn selects(constraint: &TopologySpreadConstraint, own: &StringMap, labels: &StringMap) -> bool {
    let same = |key: &str| own.get(key).is_none_or(|value| labels.get(key) == Some(value));
    constraint.label_selector.as_ref().is_some_and(|s| s.matches(labels))
        && constraint.match_label_keys.iter().all(|k| same(k))
}

impl Constraint {
    fn new(
        context: &mut Context<'_>,
        pod: &Pod,
        constraint: &TopologySpreadConstraint,
        all_keys: &[Symbol],
    ) -> Self {
        let key = context.symbols.intern(&constraint.topology_key);
        let required = Required::new(&NodeAffinity::default(), pod, context.symbols);
        let is_included = |node: &NodeInfo| {
            all_keys.iter().all(|key| node.label(*key).is_some())
                && (constraint.node_affinity_policy == "Ignore" || required.matches(node))
                && (constraint.node_taints_policy != "Honor"
                    || is_tolerated(&pod.spec().tolerations, &node.taints))
        };
        let counts_pod = |other: &Pod| {
            !other.is_being_deleted
                && other.key.namespace() == pod.key.namespace()
                && selects(constraint, &pod.labels, &other.labels)
        };
        let mut counts: HashMap<Symbol, i64> = HashMap::new();
        for node in
            context.cache.order().iter().map(|slot| context.cache.node(*slot)).filter(|n| is_included(n))
        {
            let Some(label) = node.label(key) else { continue };
            let matching = node.pods.iter().filter(|p| counts_pod(p)).count();
            *counts.entry(label.value).or_default() += i64::try_from(matching).unwrap_or(i64::MAX);
        }
        let too_few =
            usize::try_from(constraint.min_domains.unwrap_or(1)).is_ok_and(|least| counts.len() < least);
        let fewest = if too_few { 0 } else { counts.values().copied().min().unwrap_or(0) };
        let itself = i64::from(selects(constraint, &pod.labels, &pod.labels));
        Self { key, max_skew: constraint.max_skew.into(), itself, counts, fewest }
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let constraints = &pod.spec().spread;
        if constraints.is_empty() {
            return PreFilter::Skip;
        }
        let keys: Vec<_> = constraints.iter().map(|c| context.symbols.intern(&c.topology_key)).collect();
        PreFilter::Filter(Box::new(Constraints(
            constraints.iter().map(|c| Constraint::new(context, pod, c, &keys)).collect(),
        )))
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_ADD
            .and(Kinds::ASSIGNED_POD_DELETE)
            .and(Kinds::ASSIGNED_POD_LABEL)
            .and(Kinds::OWN_LABEL)
            .and(Kinds::NODE_ADD)
            .and(Kinds::NODE_DELETE)
            .and(Kinds::NODE_LABEL)
            .and(Kinds::NODE_TAINT)
    }

    fn is_schedulable_after(&self, context: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let counts = |other: &Pod| {
            let selected = |c: &TopologySpreadConstraint| selects(c, &pod.labels, &other.labels);
            other.key.namespace() == pod.key.namespace() && pod.spec().spread.iter().any(selected)
        };
        match &change.subject {
            Subject::PodAdded(other) | Subject::PodDeleted(other) => counts(other),
            Subject::PodChanged { old, new } => counts(old) != counts(new),
            Subject::Node { new, .. } => {
                let mut keys = pod.spec().spread.iter().map(|c| context.symbols.intern(&c.topology_key));
                keys.all(|key| new.label(key).is_some())
            }
            _ => true,
        }
    }
}
