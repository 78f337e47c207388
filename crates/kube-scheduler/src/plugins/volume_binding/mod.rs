//! VolumeBinding: a pod goes where the volumes of its claims can be used. Claims that wait for their first consumer
//! (`WaitForFirstConsumer`) get a volume that is there and fits, or are told the node for which one is to be
//! provisioned; the pod is bound once its claims are.
//!
//! Deliberately absent: capacities that CSI drivers report, and the score by them.

mod bind;
mod find;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::Api;
use compact_str::CompactString;
use parking_lot::Mutex;

use crate::cache::NodeInfo;
use crate::framework::{Binder, Context, Filter, Kinds, Plugin, Point, PreFilter, Rejection};
use crate::listers::Listers;
use crate::plugins::node_selector::Terms;
use crate::pod::Pod;
use crate::views::ClaimView;
use find::{Delayed, Plan};

pub const REASON_IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";
pub const REASON_NODE: &str = "node(s) didn't match PersistentVolume's node affinity";
pub const REASON_BIND: &str = "node(s) didn't find available persistent volumes to bind";
pub const REASON_NO_VOLUME: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
/// Upstream's default of `bindTimeoutSeconds`.
pub const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// What was found for a pod on each node that was looked at.
type Plans = Arc<Mutex<HashMap<CompactString, Plan>>>;

/// The plugin, with what it decided for pods that are on their way.
pub struct VolumeBinding {
    /// None in tests of what comes before binding.
    api: Option<Api>,
    bind_timeout: Duration,
    /// Of the pods that are tried, by uid.
    tried: Mutex<HashMap<CompactString, (Plans, Listers)>>,
    /// Of the pods that have a node, by uid.
    decided: Mutex<HashMap<CompactString, (Plan, Listers)>>,
}

/// What the volumes ask of a node.
struct Reachable {
    terms: Vec<Terms>,
    missing: bool,
    delayed: Option<(Delayed, Plans)>,
}

impl Filter for Reachable {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        if self.missing {
            return Err(Rejection::unresolvable(REASON_NO_VOLUME));
        }
        let mut found = Rejection { unresolvable: true, reasons: Default::default() };
        if !self.terms.iter().all(|t| t.matches(node)) {
            found.reasons.push(REASON_NODE.into());
        }
        if let Some((delayed, plans)) = &self.delayed {
            match delayed.plan(node) {
                Some(plan) => drop(plans.lock().insert(node.name.clone(), plan)),
                None => found.reasons.push(REASON_BIND.into()),
            }
        }
        if found.reasons.is_empty() { Ok(()) } else { Err(found) }
    }

    fn is_lasting(&self) -> bool {
        false
    }
}

enum Claim {
    Bound(CompactString),
    Delayed(Arc<ClaimView>),
    Refused(Rejection),
}

fn look_up(listers: &Listers, namespace: &str, name: &str) -> Claim {
    let Some(claim) = listers.claims.get(namespace, name) else {
        return Claim::Refused(Rejection::unresolvable(format!("persistentvolumeclaim {name:?} not found")));
    };
    if claim.metadata.deletion_timestamp.is_some() {
        let why = format!("persistentvolumeclaim {name:?} is being deleted");
        return Claim::Refused(Rejection::unresolvable(why));
    }
    if is_bound(&claim) {
        return Claim::Bound(claim.spec.volume_name.clone());
    }
    let class = claim.spec.storage_class_name.as_deref().unwrap_or_default();
    let class = listers.classes.get("", class);
    let waits = class.is_some_and(|c| c.volume_binding_mode == "WaitForFirstConsumer");
    if waits && claim.spec.volume_name.is_empty() {
        Claim::Delayed(claim)
    } else {
        Claim::Refused(Rejection::unresolvable(REASON_IMMEDIATE))
    }
}

fn is_bound(claim: &ClaimView) -> bool {
    !claim.spec.volume_name.is_empty() && claim.metadata.annotations.bind_completed.is_some()
}

impl VolumeBinding {
    pub fn new(api: Option<Api>, bind_timeout: Duration) -> Self {
        Self { api, bind_timeout, tried: Mutex::default(), decided: Mutex::default() }
    }

    /// Volumes that pods on their way are about to take, by name, with the claim's uid.
    fn taken(&self) -> HashMap<CompactString, CompactString> {
        let decided = self.decided.lock();
        decided.values().flat_map(|(plan, _)| plan.taken()).collect()
    }

    /// The filter with the claims that wait, whose plans are kept for [`Plugin::reserve`].
    fn delayed(&self, context: &mut Context<'_>, pod: &Pod, claims: Vec<Arc<ClaimView>>) -> (Delayed, Plans) {
        let plans = Plans::default();
        let mut tried = self.tried.lock();
        // Only the pod that is tried now needs them: cycles run one after the other.
        tried.clear();
        tried.insert(pod.uid.clone(), (plans.clone(), context.listers.clone()));
        (Delayed::new(context, claims, &self.taken()), plans)
    }
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::Reserve, Point::PreBind]
    }

    fn pre_filter(&self, context: &mut Context<'_>, pod: &Pod) -> PreFilter {
        let mut reachable = Reachable { terms: Vec::new(), missing: false, delayed: None };
        if pod.spec().claims.is_empty() {
            return PreFilter::Skip;
        }
        let mut waiting = Vec::new();
        for name in &pod.spec().claims {
            let volume = match look_up(context.listers, pod.key.namespace(), name) {
                Claim::Bound(volume) => context.listers.volumes.get("", &volume),
                Claim::Delayed(claim) => {
                    waiting.push(claim);
                    continue;
                }
                Claim::Refused(rejection) => return PreFilter::Reject(rejection),
            };
            let Some(volume) = volume else {
                reachable.missing = true;
                continue;
            };
            let required = volume.spec.node_affinity.as_ref().and_then(|a| a.required.as_ref());
            reachable.terms.extend(required.map(|s| Terms::new(s, context.symbols)));
        }
        if !waiting.is_empty() {
            reachable.delayed = Some(self.delayed(context, pod, waiting));
        }
        PreFilter::Filter(Box::new(reachable))
    }

    fn reserve(&self, pod: &Pod, node: &str) -> Result<(), Rejection> {
        let Some((plans, listers)) = self.tried.lock().remove(&pod.uid) else { return Ok(()) };
        if let Some(plan) = plans.lock().remove(node) {
            self.decided.lock().insert(pod.uid.clone(), (plan, listers));
        }
        Ok(())
    }

    fn unreserve(&self, pod: &Pod, _: &str) {
        self.decided.lock().remove(&pod.uid);
    }

    fn events(&self) -> Kinds {
        Kinds::VOLUME.and(Kinds::NODE_ADD).and(Kinds::NODE_LABEL)
    }

    fn binder(&self) -> Option<&dyn Binder> {
        Some(self)
    }
}

#[async_trait]
impl Binder for VolumeBinding {
    async fn pre_bind(&self, pod: &Pod, node: &str) -> Result<(), String> {
        let Some((plan, listers)) = self.decided.lock().get(&pod.uid).cloned() else { return Ok(()) };
        let Some(api) = &self.api else { return Ok(()) };
        bind::write(api, &plan, node).await?;
        let bound = bind::wait(&listers, &plan, node);
        let result = tokio::time::timeout(self.bind_timeout, bound).await;
        result.unwrap_or_else(|_| Err("binding volumes: context deadline exceeded".into()))?;
        self.decided.lock().remove(&pod.uid);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
