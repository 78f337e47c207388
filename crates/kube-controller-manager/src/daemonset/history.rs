//! The revisions of a DaemonSet's template, as ControllerRevisions.

use std::sync::Arc;

use client::resource;
use serde_json::json;

use crate::control::controller_ref;
use crate::deployment::model::{safe_encode, template_hash};
use crate::history::{self, NewRevision};
use crate::views::pod::RawSpec;
use crate::views::{ControllerRevision, DaemonSet, Pod};

use super::plan::HASH_LABEL;

/// The template as a revision holds it.
pub fn data(set: &DaemonSet) -> RawSpec {
    history::data(&set.spec.template)
}

/// The revision whose data is the present template; the newest of several.
pub fn find_current<'a>(
    set: &DaemonSet,
    revisions: &'a [Arc<ControllerRevision>],
) -> Option<&'a Arc<ControllerRevision>> {
    let wanted = data(set);
    let same = |r: &&Arc<ControllerRevision>| history::holds(r, &wanted);
    revisions.iter().filter(same).max_by_key(|r| r.revision)
}

/// The revision to make for the present template, and its name.
pub fn new_revision(set: &DaemonSet, revision: i64, collisions: Option<i32>) -> (String, NewRevision) {
    let hash = template_hash(&set.spec.template, collisions);
    let name = format!("{}-{hash}", set.metadata.name);
    let labels = set.spec.template.metadata.labels.with(HASH_LABEL, &hash);
    let annotations = history::annotations(&set.metadata);
    let metadata = json!({
        "name": name, "namespace": set.metadata.namespace, "labels": labels, "annotations": annotations,
        "ownerReferences": [controller_ref(&resource::DAEMON_SETS, &set.metadata)],
    });
    let made = NewRevision::new(metadata, &set.spec.template, revision);
    (name, made)
}

/// The hash that the pods of a revision carry.
pub fn hash_of(revision: &ControllerRevision) -> String {
    revision
        .metadata
        .labels
        .get(HASH_LABEL)
        .map_or_else(|| safe_encode(&revision.metadata.name), str::to_owned)
}

/// The oldest revisions beyond the limit that no pod carries.
pub fn surplus<'a>(
    set: &DaemonSet,
    revisions: &'a [Arc<ControllerRevision>],
    current: &str,
    pods: &[Arc<Pod>],
) -> Vec<&'a Arc<ControllerRevision>> {
    let limit = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let in_use = |r: &ControllerRevision| {
        let hash = hash_of(r);
        hash == current || pods.iter().any(|p| p.metadata.labels.get(HASH_LABEL) == Some(&hash))
    };
    let mut idle: Vec<_> = revisions.iter().filter(|r| !in_use(r)).collect();
    idle.sort_by_key(|r| r.revision);
    let surplus = idle.len().saturating_sub(limit);
    idle.into_iter().take(surplus).collect()
}
