//! VolumeBinding, as far as it is built: a pod waits until its claims are bound, and goes where their volumes can be
//! used. Binding claims that wait for their first consumer is a later issue.

use compact_str::CompactString;

use crate::cache::NodeInfo;
use crate::framework::{Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::plugins::node_selector::Terms;
use crate::pod::Pod;
use crate::views::ClaimView;

pub const REASON_IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";
pub const REASON_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
pub const REASON_NO_VOLUME: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

pub struct VolumeBinding;

/// What the volumes ask of a node.
struct Reachable {
    terms: Vec<Terms>,
    missing: bool,
}

impl Filter for Reachable {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if self.missing {
            return Err(Rejection::unresolvable(REASON_NO_VOLUME));
        }
        if self.terms.iter().all(|t| t.matches(node)) {
            Ok(())
        } else {
            Err(Rejection::unresolvable(REASON_NODE))
        }
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

enum Claim {
    Bound(CompactString),
    Refused(Rejection),
}

fn look_up(context: &Context<'_>, namespace: &str, name: &str) -> Claim {
    let Some(claim) = context.listers.claims.get(namespace, name) else {
        return Claim::Refused(Rejection::unresolvable(format!("persistentvolumeclaim {name:?} not found")));
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Claim::Refused(Rejection::unresolvable(format!(
            "persistentvolumeclaim {name:?} is being deleted"
        )));
    }
    if is_bound(&claim) {
        return Claim::Bound(claim.spec.volume_name.clone());
    }
    let class = claim.spec.storage_class_name.as_deref().unwrap_or_default();
    let waits = context
        .listers
        .classes
        .get("", class)
        .is_some_and(|c| c.volume_binding_mode == "WaitForFirstConsumer");
    Claim::Refused(Rejection::unresolvable(if waits {
        "binding of PersistentVolumeClaims with volumeBindingMode WaitForFirstConsumer (VolumeBinding) is not built in this scheduler yet"
    } else {
        REASON_IMMEDIATE
    }))
}

fn is_bound(claim: &ClaimView) -> bool {
    !claim.spec.volume_name.is_empty() && claim.metadata.annotations.bind_completed.is_some()
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let mut reachable = Reachable { terms: Vec::new(), missing: false };
        if pod.spec().claims.is_empty() {
            return PreFilter::Skip;
        }
        for name in &pod.spec().claims {
            let volume = match look_up(context, pod.key.namespace(), name) {
                Claim::Bound(volume) => context.listers.volumes.get("", &volume),
                Claim::Refused(rejection) => return PreFilter::Reject(rejection),
            };
            let Some(volume) = volume else {
                reachable.missing = true;
                continue;
            };
            let required = volume.spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
            reachable.terms.extend(required.map(|s| Terms::new(s, context.symbols)));
        }
        PreFilter::Filter(Box::new(reachable))
    }

    fn events(&self) -> Kinds {
        Kinds::VOLUME.and(Kinds::NODE_ADD).and(Kinds::NODE_LABEL)
    }
}
