//! The revisions of a StatefulSet's template.

use std::sync::Arc;

use client::{Api, DeleteOptions, Error, Patch, Store, resource};
use serde_json::json;

use crate::control::{Claimer, controller_ref};
use crate::deployment::model::template_hash;
use crate::history::{self, NewRevision};
use crate::informers::{BY_CONTROLLER, orphans_of};
use crate::views::stateful::StatefulSet;
use crate::views::{ControllerRevision, Pod};

/// The label on revisions that has their hash.
const HASH: &str = "controller.kubernetes.io/hash";

/// The revisions of one set.
pub struct Revisions {
    pub all: Vec<Arc<ControllerRevision>>,
    /// What the pods had so far.
    pub current: Arc<ControllerRevision>,
    /// The present template's.
    pub update: Arc<ControllerRevision>,
    pub collisions: Option<i32>,
}

/// Finds the revisions, and makes that of the present template if there is none. None: the namespace is going.
pub async fn find(
    api: &Api,
    store: &Store<ControllerRevision>,
    set: &StatefulSet,
) -> Result<Option<Revisions>, Error> {
    let meta = &set.metadata;
    let kind = &resource::CONTROLLER_REVISIONS;
    let claimer = Claimer { api, owner_kind: &resource::STATEFUL_SETS, owner: meta, kind, finalizer: None };
    let owned = store.by_index(BY_CONTROLLER, &meta.uid);
    let orphans = store.by_index(BY_CONTROLLER, &orphans_of(&meta.namespace));
    let orphans = orphans.into_iter().filter(|r| r.metadata.namespace == meta.namespace);
    let selects = |r: &ControllerRevision| set.spec.selector.matches(&r.metadata.labels);
    let all = claimer.claim_all(owned.into_iter().chain(orphans), |r| &r.metadata, selects).await?;
    let Some((update, collisions)) = present(api, set, &all).await? else { return Ok(None) };
    let name = &set.status.current_revision;
    let current = all.iter().find(|r| r.metadata.name == *name).unwrap_or(&update).clone();
    Ok(Some(Revisions { all, current, update, collisions }))
}

/// The revision of the present template, as the newest one, and the count of collisions.
async fn present(
    api: &Api,
    set: &StatefulSet,
    all: &[Arc<ControllerRevision>],
) -> Result<Option<(Arc<ControllerRevision>, Option<i32>)>, Error> {
    let (kind, namespace) = (&resource::CONTROLLER_REVISIONS, &set.metadata.namespace);
    let data = history::data(&set.spec.template);
    let newest = all.iter().map(|r| r.revision).max().unwrap_or(0);
    let mut collisions = set.status.collision_count;
    if let Some(known) = all.iter().filter(|r| history::holds(r, &data)).max_by_key(|r| r.revision) {
        if known.revision == newest {
            return Ok(Some((known.clone(), collisions)));
        }
        // A template that was there before: it becomes the newest again.
        let patch = json!({"revision": newest + 1});
        let name = &known.metadata.name;
        let changed = api.patch(kind, namespace, name, "", &Patch::Merge, &patch).await?;
        return Ok(Some((Arc::new(changed), collisions)));
    }
    loop {
        let (name, body) = new(set, newest + 1, collisions);
        match api.create::<ControllerRevision>(kind, namespace, &body).await {
            Ok(made) => return Ok(Some((Arc::new(made), collisions))),
            Err(e) if e.is_namespace_terminating() => return Ok(None),
            Err(e) if e.is_already_exists() => {
                let known: ControllerRevision = api.get(kind, namespace, &name).await?;
                if known.metadata.is_controlled_by(&set.metadata.uid) && history::holds(&known, &data) {
                    return Ok(Some((Arc::new(known), collisions)));
                }
                collisions = Some(collisions.unwrap_or(0) + 1);
            }
            Err(e) => return Err(e),
        }
    }
}

fn new(set: &StatefulSet, revision: i64, collisions: Option<i32>) -> (String, NewRevision) {
    let (meta, template) = (&set.metadata, &set.spec.template);
    let hash = template_hash(template, collisions);
    let name = format!("{}-{hash}", meta.name);
    let metadata = json!({
        "name": name, "namespace": meta.namespace, "labels": template.metadata.labels.with(HASH, &hash),
        "annotations": history::annotations(meta),
        "ownerReferences": [controller_ref(&resource::STATEFUL_SETS, meta)],
    });
    let made = NewRevision::new(metadata, template, revision);
    (name, made)
}

/// Deletes the oldest revisions beyond the limit that neither the set nor a pod names.
pub async fn truncate(
    api: &Api,
    set: &StatefulSet,
    revisions: &Revisions,
    pods: &[Arc<Pod>],
) -> Result<(), Error> {
    let limit = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let in_use = |r: &ControllerRevision| {
        let name = r.metadata.name.as_str();
        name == revisions.current.metadata.name
            || name == revisions.update.metadata.name
            || pods.iter().any(|p| p.metadata.labels.get(super::plan::REVISION) == Some(name))
    };
    let mut idle: Vec<_> = revisions.all.iter().filter(|r| !in_use(r)).collect();
    idle.sort_by_key(|r| r.revision);
    let surplus = idle.len().saturating_sub(limit);
    for revision in idle.into_iter().take(surplus) {
        let meta = &revision.metadata;
        let (kind, options) = (&resource::CONTROLLER_REVISIONS, DeleteOptions::default());
        match api.delete(kind, &meta.namespace, &meta.name, &options).await {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
    }
    Ok(())
}
