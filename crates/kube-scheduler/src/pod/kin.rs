//! What ties a pod to others: its labels, whom it wants near and whom not, and how it is spread.

use client::StringMap;
use compact_str::CompactString;

use super::Hashed;
use crate::listers::Listers;
use crate::resources::{Symbol, Symbols};
use crate::views::{
    LabelExpression, Owner, PodAffinity, PodAffinityTerm, PodView, TopologySpreadConstraint, WeightedTerm,
};

/// Pods of one kin are the same to other pods.
pub type Kin = Hashed<Ties>;

/// What [`Kin`] compares.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Ties {
    pub namespace: CompactString,
    pub labels: StringMap,
    /// The controller, where it is one whose pods are spread by default.
    pub owner: Option<Owner>,
    pub affinity: Vec<WantedTerm>,
    pub anti_affinity: Vec<WantedTerm>,
    /// Preferred terms with their weights; those of anti-affinity are negative.
    pub preferred: Vec<(i64, WantedTerm)>,
    pub spread: Vec<TopologySpreadConstraint>,
    /// There is a `podAffinity` or `podAntiAffinity`, if only an empty one.
    pub is_social: bool,
}

/// A term of affinity or anti-affinity between pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WantedTerm {
    pub key: Symbol,
    /// None selects nothing.
    selector: Option<LabelExpression>,
    namespaces: Vec<CompactString>,
    namespace_selector: Option<LabelExpression>,
}

impl WantedTerm {
    fn new(term: &PodAffinityTerm, symbols: &mut Symbols) -> Self {
        Self {
            key: symbols.intern(&term.topology_key),
            selector: term.label_selector.clone(),
            namespaces: term.namespaces.clone(),
            namespace_selector: term.namespace_selector.clone(),
        }
    }

    /// Whether the term, of a pod in `own`, is about a pod in `namespace` with these labels.
    pub fn selects(&self, own: &str, namespace: &str, labels: &StringMap, listers: &Listers) -> bool {
        self.is_about(own, namespace, listers) && self.selector.as_ref().is_some_and(|s| s.matches(labels))
    }

    fn is_about(&self, own: &str, namespace: &str, listers: &Listers) -> bool {
        let by_label = |selector: &LabelExpression| {
            selector.is_empty()
                || listers.namespaces.get("", namespace).is_some_and(|n| selector.matches(&n.metadata.labels))
        };
        let none_named = self.namespaces.is_empty() && self.namespace_selector.is_none();
        (none_named && namespace == own)
            || self.namespaces.iter().any(|n| n == namespace)
            || self.namespace_selector.as_ref().is_some_and(by_label)
    }
}

impl Ties {
    /// The same to others, however it wanted to be spread itself.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.namespace == other.namespace
            && self.labels == other.labels
            && self.is_social == other.is_social
            && self.affinity == other.affinity
            && self.anti_affinity == other.anti_affinity
            && self.preferred == other.preferred
    }

    /// Whether a term of this pod's is about another.
    pub fn wants(&self, term: &WantedTerm, other: &Self, listers: &Listers) -> bool {
        term.selects(&self.namespace, &other.namespace, &other.labels, listers)
    }
}

/// Controllers whose selectors spread their pods.
const SPREADING: [&str; 3] = ["ReplicaSet", "StatefulSet", "ReplicationController"];

pub(super) fn kin(view: &PodView, symbols: &mut Symbols) -> Ties {
    let mut made = Ties {
        namespace: view.metadata.namespace.clone(),
        labels: view.metadata.labels.clone(),
        ..Ties::default()
    };
    if let Some(affinity) = &view.spec.affinity {
        made.is_social = affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some();
        let mut terms = |of: &Option<PodAffinity>| -> Vec<WantedTerm> {
            of.iter().flat_map(|a| &a.required).map(|t| WantedTerm::new(t, symbols)).collect()
        };
        made.affinity = terms(&affinity.pod_affinity);
        made.anti_affinity = terms(&affinity.pod_anti_affinity);
        for (of, sign) in [(&affinity.pod_affinity, 1), (&affinity.pod_anti_affinity, -1)] {
            let preferred = of.iter().flat_map(|a| &a.preferred);
            let mut term = |t: &WeightedTerm| {
                (sign * i64::from(t.weight), WantedTerm::new(&t.pod_affinity_term, symbols))
            };
            made.preferred.extend(preferred.map(&mut term));
        }
    }
    if !view.spec.node_name.is_empty() {
        // How a pod that has its node wanted to be spread is of no interest.
        return made;
    }
    made.spread.clone_from(&view.spec.topology_spread_constraints);
    let owner = view.metadata.owner_references.iter().find(|o| o.controller == Some(true));
    made.owner = owner.filter(|o| SPREADING.contains(&o.kind.as_str())).cloned();
    made
}
