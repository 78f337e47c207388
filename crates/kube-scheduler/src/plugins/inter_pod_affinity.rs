//! InterPodAffinity: required affinity and anti-affinity between pods, those of the pods that are there included.
//! Preferred terms do not score yet.

use std::collections::HashMap;

use client::StringMap;

use crate::cache::NodeInfo;
use crate::framework::events::Subject;
use crate::framework::{Change, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::pod::Pod;
use crate::resources::Symbol;
use crate::views::{LabelExpression, PodAffinityTerm};
use crate::volumes::Volumes;

pub const REASON_AFFINITY: &str = "node(s) didn't match pod affinity rules";
pub const REASON_ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
pub const REASON_EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

pub struct InterPodAffinity;

/// A topology key and its value on a node.
type Domain = (Symbol, Symbol);

/// A term of a pod in a namespace.
struct Term<'a> {
    term: &'a PodAffinityTerm,
    namespace: &'a str,
}

impl Term<'_> {
    /// Whether the term is about a pod.
    fn selects(&self, namespace: &str, labels: &StringMap, volumes: &Volumes) -> bool {
        self.is_about(namespace, volumes)
            && self.term.label_selector.as_ref().is_some_and(|s| s.matches(labels))
    }

    fn is_about(&self, namespace: &str, volumes: &Volumes) -> bool {
        let by_label = |selector: &LabelExpression| {
            selector.is_empty()
                || volumes.namespaces.get("", namespace).is_some_and(|n| selector.matches(&n.metadata.labels))
        };
        let own = self.term.namespaces.is_empty() && self.term.namespace_selector.is_none();
        (own && namespace == self.namespace)
            || self.term.namespaces.iter().any(|n| n == namespace)
            || self.term.namespace_selector.as_ref().is_some_and(by_label)
    }
}

fn of<'a>(terms: &'a [PodAffinityTerm], namespace: &'a str) -> Vec<Term<'a>> {
    terms.iter().map(|term| Term { term, namespace }).collect()
}

/// Where the pods are that matter to a pod.
struct Domains {
    affinity: Vec<Symbol>,
    /// Domains with pods that match all affinity terms.
    wanted: HashMap<Domain, usize>,
    /// The pod is the first of its group: it matches its own affinity, and no other pod does.
    first: bool,
    anti: Vec<Symbol>,
    shunned: HashMap<Domain, usize>,
    /// Domains whose pods shun this one.
    hostile: HashMap<Domain, usize>,
}

fn domain(node: &NodeInfo, key: Symbol) -> Option<Domain> {
    node.label(key).map(|l| (key, l.value))
}

impl Filter for Domains {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let is_in =
            |of: &HashMap<Domain, usize>, key: Symbol| domain(node, key).is_some_and(|d| of.contains_key(&d));
        let labelled = self.affinity.iter().all(|key| node.label(*key).is_some());
        let wanted = labelled && (self.first || self.affinity.iter().all(|key| is_in(&self.wanted, *key)));
        if !wanted {
            return Err(Rejection::unresolvable(REASON_AFFINITY));
        }
        if self.anti.iter().any(|key| is_in(&self.shunned, *key)) {
            return Err(Rejection::unschedulable(REASON_ANTI_AFFINITY));
        }
        if self.hostile.keys().any(|(key, value)| node.label(*key).is_some_and(|l| l.value == *value)) {
            return Err(Rejection::unschedulable(REASON_EXISTING));
        }
        Ok(())
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

impl Domains {
    fn find(context: &mut Context<'_>, pod: &Pod) -> Self {
        let namespace = pod.key.namespace();
        let (affinity, anti) =
            (of(&pod.spec().pod_affinity, namespace), of(&pod.spec().pod_anti_affinity, namespace));
        let mut keys = |terms: &[Term<'_>]| {
            terms.iter().map(|t| context.symbols.intern(&t.term.topology_key)).collect::<Vec<_>>()
        };
        let mut found = Self {
            affinity: keys(&affinity),
            anti: keys(&anti),
            wanted: HashMap::new(),
            shunned: HashMap::new(),
            hostile: HashMap::new(),
            first: false,
        };
        let volumes = context.volumes;
        for slot in context.cache.order() {
            let node = context.cache.node(*slot);
            for other in &node.pods {
                let (place, labels) = (other.key.namespace(), &other.labels);
                if !affinity.is_empty() && affinity.iter().all(|t| t.selects(place, labels, volumes)) {
                    count(&mut found.wanted, node, found.affinity.iter().copied());
                }
                let hit = anti.iter().zip(&found.anti).filter(|(t, _)| t.selects(place, labels, volumes));
                count(&mut found.shunned, node, hit.map(|(_, key)| *key));
                let theirs =
                    other.spec().pod_anti_affinity.iter().map(|term| Term { term, namespace: place });
                let theirs = theirs.filter(|t| t.selects(namespace, &pod.labels, volumes));
                let keys = theirs.map(|t| context.symbols.intern(&t.term.topology_key)).collect::<Vec<_>>();
                count(&mut found.hostile, node, keys.into_iter());
            }
        }
        found.first =
            found.wanted.is_empty() && affinity.iter().all(|t| t.selects(namespace, &pod.labels, volumes));
        found
    }
}

fn count(domains: &mut HashMap<Domain, usize>, node: &NodeInfo, keys: impl Iterator<Item = Symbol>) {
    for found in keys.filter_map(|key| domain(node, key)) {
        *domains.entry(found).or_default() += 1;
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let own = !pod.spec().pod_affinity.is_empty() || !pod.spec().pod_anti_affinity.is_empty();
        if !own && context.cache.hostile_pods() == 0 {
            return PreFilter::Skip;
        }
        let found = Domains::find(context, pod);
        PreFilter::Filter(Box::new(found))
    }

    fn events(&self) -> Kinds {
        Kinds::ASSIGNED_POD_ADD
            .and(Kinds::ASSIGNED_POD_DELETE)
            .and(Kinds::ASSIGNED_POD_LABEL)
            .and(Kinds::OWN_LABEL)
            .and(Kinds::NODE_ADD)
            .and(Kinds::NODE_LABEL)
    }

    fn is_schedulable_after(&self, context: &mut Context<'_>, pod: &Pod, change: &Change<'_>) -> bool {
        let volumes = context.volumes;
        match &change.subject {
            Subject::PodAdded(other) => is_wanted(pod, other, volumes),
            Subject::PodChanged { old, new } => {
                let comes = is_wanted(pod, new, volumes) && !is_wanted(pod, old, volumes);
                comes || (shuns(pod, old, volumes) && !shuns(pod, new, volumes))
            }
            Subject::PodDeleted(gone) => shuns(pod, gone, volumes) || shuns(gone, pod, volumes),
            _ => true,
        }
    }
}

/// Whether a pod has affinity, and another is what it wants to be near.
fn is_wanted(pod: &Pod, other: &Pod, volumes: &Volumes) -> bool {
    let terms = of(&pod.spec().pod_affinity, pod.key.namespace());
    !terms.is_empty() && terms.iter().all(|t| t.selects(other.key.namespace(), &other.labels, volumes))
}

/// Whether a pod has anti-affinity to another.
fn shuns(pod: &Pod, other: &Pod, volumes: &Volumes) -> bool {
    let terms = of(&pod.spec().pod_anti_affinity, pod.key.namespace());
    terms.iter().any(|t| t.selects(other.key.namespace(), &other.labels, volumes))
}
