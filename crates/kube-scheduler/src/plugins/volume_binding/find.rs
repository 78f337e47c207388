//! Which volumes the claims that wait for their first consumer would get on a node.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use apimachinery::quantity::Quantity;
use client::StringMap;
use compact_str::CompactString;

use crate::cache::NodeInfo;
use crate::framework::Context;
use crate::plugins::node_selector::Terms;
use crate::resources::{Symbol, Symbols};
use crate::views::{ClaimView, TopologyTerm, VolumeView};

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What is to be done for a pod's claims on a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub bind: Vec<(Arc<ClaimView>, Arc<VolumeView>)>,
    /// Claims whose volumes are to be provisioned for the node.
    pub provision: Vec<Arc<ClaimView>>,
}

impl Plan {
    /// The volumes by name, with the uids of the claims that get them.
    pub(super) fn taken(&self) -> impl Iterator<Item = (CompactString, CompactString)> {
        self.bind.iter().map(|(claim, volume)| (volume.metadata.name.clone(), claim.metadata.uid.clone()))
    }
}

/// A volume that a claim may get.
struct Offer {
    volume: Arc<VolumeView>,
    affinity: Option<Terms>,
    /// It names the claim already.
    reserved: bool,
}

/// Where a class provisions; None where it does not.
type Provisioning = Option<Vec<Vec<(Symbol, Vec<Symbol>)>>>;

struct Wanted {
    claim: Arc<ClaimView>,
    /// The best first: one reserved for the claim, then the smallest.
    offers: Vec<Offer>,
    provisioning: Provisioning,
}

/// The claims of a pod that wait, the smallest first.
pub(super) struct Delayed(Vec<Wanted>);

impl Delayed {
    /// `taken` are volumes that other claims are about to get.
    pub(super) fn new(
        context: &mut Context<'_>,
        mut claims: Vec<Arc<ClaimView>>,
        taken: &HashMap<CompactString, CompactString>,
    ) -> Self {
        claims.sort_by_cached_key(|c| bytes(&c.spec.resources.requests));
        let volumes = context.listers.volumes.list();
        let one = |claim: Arc<ClaimView>| {
            let free = volumes
                .iter()
                .filter(|v| taken.get(&v.metadata.name).is_none_or(|uid| *uid == claim.metadata.uid));
            let offers = offers(&claim, free, context.symbols);
            let class = claim.spec.storage_class_name.as_deref().unwrap_or_default();
            let class = context.listers.classes.get("", class);
            let class = class.filter(|c| !["", NO_PROVISIONER].contains(&c.provisioner.as_str()));
            let provisioning = class.map(|c| topologies(&c.allowed_topologies, context.symbols));
            Wanted { claim, offers, provisioning }
        };
        Self(claims.into_iter().map(one).collect())
    }

    /// None: not all of them can be had on the node.
    pub(super) fn plan(&self, node: &NodeInfo) -> Option<Plan> {
        let mut plan = Plan::default();
        for wanted in &self.0 {
            let selected = wanted.claim.metadata.annotations.selected_node.as_ref();
            if selected.is_some_and(|selected| *selected != node.name) {
                return None;
            }
            let chosen = |name: &str| plan.bind.iter().any(|(_, v)| v.metadata.name == name);
            let reachable = |o: &Offer| o.affinity.as_ref().is_none_or(|t| t.matches(node));
            let mut free = wanted.offers.iter().filter(|o| !chosen(&o.volume.metadata.name));
            let found = match selected {
                Some(_) => None,
                None => free.find(|o| o.reserved || reachable(o)),
            };
            match found {
                Some(offer) if reachable(offer) => {
                    plan.bind.push((wanted.claim.clone(), offer.volume.clone()));
                }
                // What is reserved for the claim cannot be reached.
                Some(_) => return None,
                None if provisions(&wanted.provisioning, node) => plan.provision.push(wanted.claim.clone()),
                None => return None,
            }
        }
        Some(plan)
    }
}

fn offers<'a>(
    claim: &ClaimView,
    volumes: impl Iterator<Item = &'a Arc<VolumeView>>,
    symbols: &mut Symbols,
) -> Vec<Offer> {
    let offer = |volume: &Arc<VolumeView>| {
        let reserved = is_for(volume, claim);
        let required = volume.spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
        let affinity = required.map(|s| Terms::new(s, symbols));
        suits(claim, volume, reserved).then(|| Offer { volume: volume.clone(), affinity, reserved })
    };
    let mut found: Vec<Offer> = volumes.filter_map(offer).collect();
    found.sort_by_cached_key(|o| (Reverse(o.reserved), bytes(&o.volume.spec.capacity)));
    found
}

fn is_for(volume: &VolumeView, claim: &ClaimView) -> bool {
    volume.spec.claim_ref.as_ref().is_some_and(|r| {
        r.name == claim.metadata.name
            && r.namespace == claim.metadata.namespace
            && (r.uid.is_empty() || r.uid == claim.metadata.uid)
    })
}

/// Whether a claim can get a volume, wherever that is.
fn suits(claim: &ClaimView, volume: &VolumeView, reserved: bool) -> bool {
    let (wants, has) = (&claim.spec, &volume.spec);
    let mode = |mode: &CompactString| if mode.is_empty() { "Filesystem".into() } else { mode.clone() };
    let free = || {
        volume.status.phase == "Available"
            && has.claim_ref.is_none()
            && wants.selector.as_ref().is_none_or(|s| s.matches(&volume.metadata.labels))
    };
    has.storage_class_name == wants.storage_class_name.as_deref().unwrap_or_default()
        && volume.metadata.deletion_timestamp.is_none()
        && mode(&wants.volume_mode) == mode(&has.volume_mode)
        && wants.volume_attributes_class_name == has.volume_attributes_class_name
        && bytes(&has.capacity) >= bytes(&wants.resources.requests)
        && wants.access_modes.iter().all(|m| has.access_modes.contains(m))
        && (reserved || free())
}

fn bytes(list: &StringMap) -> i64 {
    list.get("storage").and_then(|q| q.parse::<Quantity>().ok()).map_or(0, |q| q.value())
}

fn topologies(terms: &[TopologyTerm], symbols: &mut Symbols) -> Vec<Vec<(Symbol, Vec<Symbol>)>> {
    let mut compiled = Vec::new();
    for term in terms {
        let requirements = term.match_label_expressions.iter();
        let mut one = |key: &str, values: &[CompactString]| {
            (symbols.intern(key), values.iter().map(|v| symbols.intern(v)).collect())
        };
        compiled.push(requirements.map(|r| one(&r.key, &r.values)).collect());
    }
    compiled
}

/// Whether a class provisions for a node: no topologies allow all, a term without requirements allows none.
fn provisions(provisioning: &Provisioning, node: &NodeInfo) -> bool {
    let allows = |term: &Vec<(Symbol, Vec<Symbol>)>| {
        let has = |(key, values): &(Symbol, Vec<Symbol>)| {
            node.label(*key).is_some_and(|l| values.contains(&l.value))
        };
        !term.is_empty() && term.iter().all(has)
    };
    provisioning.as_ref().is_some_and(|terms| terms.is_empty() || terms.iter().any(allows))
}
