//! Which volume a claim gets, and what becomes of volumes and claims whose other half changes or goes.

use std::str::FromStr;
use std::sync::Arc;

use apimachinery::quantity::Quantity;

use crate::views::storage::{ClaimReference, Quantities};
use crate::views::{PersistentVolume, PersistentVolumeClaim, StorageClass};

pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// An Event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub warning: bool,
    pub reason: &'static str,
    pub message: String,
}

fn normal(reason: &'static str, message: impl Into<String>) -> Told {
    Told { warning: false, reason, message: message.into() }
}

fn warning(reason: &'static str, message: impl Into<String>) -> Told {
    Told { warning: true, reason, message: message.into() }
}

/// What a claim needs.
#[derive(Clone, Debug)]
pub enum ClaimStep {
    /// Both halves are to name each other.
    Bind(Arc<PersistentVolume>),
    /// It waits, or is lost.
    Phase(&'static str, Option<Told>),
    /// Somebody else's program makes a volume: the claim names it, and waits.
    Provision(String),
}

/// The claim as it is now; `volumes`: all of its class, and the one that it names.
pub fn claim_step(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    class: Option<&StorageClass>,
) -> ClaimStep {
    let named = volumes.iter().find(|v| v.metadata.name == claim.spec.volume_name);
    if claim.is_bound() {
        return bound_claim(claim, named);
    }
    if !claim.spec.volume_name.is_empty() {
        return preferring_claim(claim, named);
    }
    let waits = class.is_some_and(|c| c.volume_binding_mode == "WaitForFirstConsumer")
        && !claim.metadata.annotations.contains_key(SELECTED_NODE);
    match best_match(claim, volumes, waits) {
        Some(volume) => ClaimStep::Bind(volume),
        None if waits => ClaimStep::Phase(
            "Pending",
            Some(normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding")),
        ),
        None => unmatched_claim(claim, class),
    }
}

/// A claim that no present volume suits.
fn unmatched_claim(claim: &PersistentVolumeClaim, class: Option<&StorageClass>) -> ClaimStep {
    let (name, failed) = (claim.class(), |message| Some(warning("ProvisioningFailed", message)));
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return ClaimStep::Phase("Pending", Some(normal("FailedBinding", message)));
    }
    match class {
        None => {
            ClaimStep::Phase("Pending", failed(format!("storageclass.storage.k8s.io {name:?} not found")))
        }
        // In-tree provisioners are not built; this one never existed.
        Some(class) if class.provisioner.starts_with("kubernetes.io/") => ClaimStep::Phase(
            "Pending",
            failed(format!("no volume plugin matched name: {}", class.provisioner)),
        ),
        Some(class) => ClaimStep::Provision(class.provisioner.to_string()),
    }
}

/// The user, or an earlier sync, has named the volume.
fn preferring_claim(claim: &PersistentVolumeClaim, named: Option<&Arc<PersistentVolume>>) -> ClaimStep {
    let Some(volume) = named else { return ClaimStep::Phase("Pending", None) };
    match &volume.spec.claim_ref {
        None => match mismatch(claim, volume) {
            None => ClaimStep::Bind(volume.clone()),
            Some(why) => {
                let message =
                    format!("Cannot bind to requested volume {:?}: {why}", volume.metadata.name.as_str());
                ClaimStep::Phase("Pending", Some(warning("VolumeMismatch", message)))
            }
        },
        Some(reference) if is_for(reference, claim) => ClaimStep::Bind(volume.clone()),
        Some(_) => {
            let message =
                format!("volume {:?} already bound to a different claim.", volume.metadata.name.as_str());
            ClaimStep::Phase("Pending", Some(warning("FailedBinding", message)))
        }
    }
}

/// A claim that was bound stays so, or is lost.
fn bound_claim(claim: &PersistentVolumeClaim, named: Option<&Arc<PersistentVolume>>) -> ClaimStep {
    let lost = |reason, message: &str| ClaimStep::Phase("Lost", Some(warning(reason, message)));
    if claim.spec.volume_name.is_empty() {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost("ClaimLost", message);
    }
    match named {
        None => lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        Some(volume) if volume.spec.claim_ref.as_ref().is_none_or(|r| r.uid == claim.metadata.uid) => {
            ClaimStep::Bind(volume.clone())
        }
        Some(_) => {
            lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
    }
}

/// Whether a volume's reference means this claim.
pub fn is_for(reference: &ClaimReference, claim: &PersistentVolumeClaim) -> bool {
    let meta = &claim.metadata;
    reference.name == meta.name
        && reference.namespace == meta.namespace
        && (reference.uid.is_empty() || reference.uid == meta.uid)
}

fn storage(quantities: &Quantities) -> Quantity {
    quantities.get("storage").and_then(|q| Quantity::from_str(q).ok()).unwrap_or_default()
}

fn mode(mode: &str) -> &str {
    if mode.is_empty() { "Filesystem" } else { mode }
}

/// Why a claim may not have a volume that it names.
fn mismatch(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<&'static str> {
    let (wanted, spec) = (&claim.spec, &volume.spec);
    if storage(&spec.capacity) < storage(&wanted.resources.requests) {
        Some("requested PV is too small")
    } else if volume.class() != claim.class() {
        Some("storageClassName does not match")
    } else if spec.volume_attributes_class_name != wanted.volume_attributes_class_name {
        Some("volumeAttributesClassName does not match")
    } else if mode(&spec.volume_mode) != mode(&wanted.volume_mode) {
        Some("incompatible volumeMode")
    } else if !wanted.access_modes.iter().all(|m| spec.access_modes.contains(m)) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// A volume that is kept for the claim, or the smallest free one that suits. `kept_only`: binding waits for a pod.
fn best_match(
    claim: &PersistentVolumeClaim,
    volumes: &[Arc<PersistentVolume>],
    kept_only: bool,
) -> Option<Arc<PersistentVolume>> {
    let suits = |v: &&Arc<PersistentVolume>| !v.metadata.is_being_deleted() && mismatch(claim, v).is_none();
    let kept = |v: &&Arc<PersistentVolume>| v.spec.claim_ref.as_ref().is_some_and(|r| is_for(r, claim));
    if let Some(volume) = volumes.iter().filter(kept).find(suits) {
        return Some(volume.clone());
    }
    let selected = |v: &&Arc<PersistentVolume>| {
        claim.spec.selector.as_ref().is_none_or(|s| s.matches(&v.metadata.labels))
    };
    let free = |v: &&Arc<PersistentVolume>| v.spec.claim_ref.is_none() && v.status.phase == "Available";
    let rank = |v: &&Arc<PersistentVolume>| {
        (v.spec.access_modes.len(), storage(&v.spec.capacity), v.metadata.name.clone())
    };
    if kept_only {
        return None;
    }
    volumes.iter().filter(free).filter(suits).filter(selected).min_by_key(rank).cloned()
}

/// What a volume needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeStep {
    Phase(&'static str),
    /// Its claim is there and does not name it yet: the claim is to be looked at.
    Wait,
    /// Its claim has another volume: it forgets the claim (`true`), or only which one of that name it was.
    Unbind(bool),
    /// Its claim is gone.
    Reclaim(Reclaim),
}

/// What is done with a volume without its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Kept (Retain), or deleted by whoever made it.
    Release,
    /// Nobody can do what its policy says.
    Fail(&'static str, String),
}

/// The volume as it is now; `claim` is the one that it names, of the same uid.
pub fn volume_step(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> VolumeStep {
    let Some(reference) = volume.spec.claim_ref.as_ref().filter(|r| !r.uid.is_empty()) else {
        return VolumeStep::Phase("Available");
    };
    let claim = claim.filter(|c| c.metadata.uid == reference.uid);
    match claim {
        None if volume.status.phase == "Failed" => VolumeStep::Phase("Failed"),
        None => VolumeStep::Reclaim(reclaim(volume)),
        Some(claim) if claim.spec.volume_name.is_empty() => VolumeStep::Wait,
        Some(claim) if claim.spec.volume_name == volume.metadata.name => VolumeStep::Phase("Bound"),
        Some(_) => VolumeStep::Unbind(volume.metadata.annotations.contains_key(BOUND_BY_CONTROLLER)),
    }
}

fn reclaim(volume: &PersistentVolume) -> Reclaim {
    let provisioned = volume.metadata.annotations.contains_key(PROVISIONED_BY);
    match &*volume.spec.persistent_volume_reclaim_policy {
        "Delete" if !provisioned => Reclaim::Fail(
            "VolumeFailedDelete",
            format!(
                "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
                volume.metadata.name.as_str()
            ),
        ),
        "Recycle" => Reclaim::Fail("VolumeFailedRecycle", "No recycler plugin found for the volume!".into()),
        _ => Reclaim::Release,
    }
}

/// The Event of a claim whose volume others are to make.
pub fn external(provisioner: &str) -> Told {
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    normal("ExternalProvisioning", message)
}
