//! PodTopologySpread: constraints that forbid to schedule (`DoNotSchedule`) filter, those that only prefer
//! (`ScheduleAnyway`) score. A pod without constraints gets the profile's default ones, which count the pods of its
//! services and its controller.

mod counts;
mod filter;
mod score;

use client::{LabelSelector, StringMap};

use crate::framework::events::Subject;
use crate::framework::{Change, ClusterFilter, ClusterScore, Context, Kinds, Plugin, Point};
use crate::listers::Listers;
use crate::pod::{Pod, Ties};
use crate::views::TopologySpreadConstraint;

pub use filter::{REASON, REASON_LABEL};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// The plugin with its arguments.
pub struct PodTopologySpread {
    /// For pods that have no constraints. Without selectors.
    pub defaults: Vec<TopologySpreadConstraint>,
    /// They are upstream's own: a node need not have all of the labels.
    pub system: bool,
}

impl Default for PodTopologySpread {
    fn default() -> Self {
        let soft = |key: &str, max_skew| TopologySpreadConstraint {
            topology_key: key.into(),
            max_skew,
            when_unsatisfiable: "ScheduleAnyway".into(),
            ..TopologySpreadConstraint::default()
        };
        Self { defaults: vec![soft(HOSTNAME, 3), soft(ZONE, 5)], system: true }
    }
}

/// Which pods a constraint counts.
#[derive(Clone, Debug, PartialEq)]
enum Selector {
    Nothing,
    /// All of these; one that is empty selects every pod but counts none.
    All(Vec<LabelSelector>),
}

impl Selector {
    /// A constraint's own selector with its `matchLabelKeys`.
    fn of(constraint: &TopologySpreadConstraint, own: &StringMap) -> Self {
        let Some(selector) = &constraint.label_selector else { return Self::Nothing };
        let keys = constraint.match_label_keys.iter();
        let same: StringMap = keys.filter_map(|key| Some((key.as_str(), own.get(key)?))).collect();
        Self::All([selector.clone(), same.into()].into_iter().filter(|s| !s.is_empty()).collect())
    }

    /// The selectors of a pod's services and controller.
    fn by_owner(kin: &Ties, listers: &Listers) -> Self {
        let services = listers.services.select(|s| s.selects(&kin.namespace, &kin.labels));
        let mut all: Vec<LabelSelector> = services.iter().map(|s| s.spec.selector.clone().into()).collect();
        if let Some(owner) = &kin.owner {
            let store = match owner.kind.as_str() {
                "ReplicaSet" => &listers.replica_sets,
                "StatefulSet" => &listers.stateful_sets,
                _ => &listers.replication_controllers,
            };
            all.extend(store.get(&kin.namespace, &owner.name).and_then(|w| w.spec.selector.clone()));
        }
        Self::All(all)
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::All(all) if all.iter().all(LabelSelector::is_empty))
    }

    fn matches(&self, labels: &StringMap) -> bool {
        matches!(self, Self::All(all) if all.iter().all(|s| s.matches(labels)))
    }
}

/// A constraint, and which pods it counts.
struct Constraint {
    given: TopologySpreadConstraint,
    selector: Selector,
}

impl PodTopologySpread {
    /// The pod's constraints of a kind (`DoNotSchedule` or `ScheduleAnyway`), or the default ones.
    fn constraints(&self, kind: &str, pod: &Pod, listers: &Listers) -> Vec<Constraint> {
        let kin = &pod.kin;
        let of = |given: &TopologySpreadConstraint, selector| Constraint { given: given.clone(), selector };
        if !kin.spread.is_empty() {
            let own = kin.spread.iter().filter(|c| c.when_unsatisfiable == kind);
            return own.map(|c| of(c, Selector::of(c, &kin.labels))).collect();
        }
        let defaults: Vec<_> = self.defaults.iter().filter(|c| c.when_unsatisfiable == kind).collect();
        if defaults.is_empty() || (kin.labels.is_empty() && kin.owner.is_none()) {
            return Vec::new();
        }
        let selector = Selector::by_owner(kin, listers);
        if selector.is_empty() {
            return Vec::new();
        }
        defaults.into_iter().map(|c| of(c, selector.clone())).collect()
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn cluster_filter(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn ClusterFilter>> {
        let constraints = self.constraints("DoNotSchedule", pod, context.listers);
        (!constraints.is_empty()).then(|| Box::new(filter::Hard::new(context, pod, constraints)) as _)
    }

    fn cluster_score(&self, context: &mut Context<'_>, pod: &Pod) -> Option<Box<dyn ClusterScore>> {
        let constraints = self.constraints("ScheduleAnyway", pod, context.listers);
        let all_keys = !pod.kin.spread.is_empty() || !self.system;
        (!constraints.is_empty())
            .then(|| Box::new(score::Soft::new(context, pod, constraints, all_keys)) as _)
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
        let constraints = self.constraints("DoNotSchedule", pod, context.listers);
        let counts = |other: &Pod| {
            other.kin.namespace == pod.kin.namespace
                && constraints.iter().any(|c| c.selector.matches(other.labels()))
        };
        match &change.subject {
            Subject::PodAdded(other) | Subject::PodDeleted(other) => counts(other),
            Subject::PodChanged { old, new } => counts(old) != counts(new),
            Subject::Node { new, .. } => {
                let mut keys = constraints.iter().map(|c| context.symbols.intern(&c.given.topology_key));
                keys.all(|key| new.label(key).is_some())
            }
            _ => true,
        }
    }
}
