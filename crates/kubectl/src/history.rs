//! `kubectl rollout history`, `undo`, `pause` and `resume`: a Deployment's revisions are its ReplicaSets, those of a
//! DaemonSet or StatefulSet its ControllerRevisions.
//!
//! Deliberately absent: `history --revision` shows the template as lines of its fields, not as `describe` does.

use api::{Value, value};
use http::Method;

use crate::Context;
use crate::args::Flags;
use crate::change::How;
use crate::error::{Error, Result};
use crate::output;
use crate::output::yaml;
use crate::server::Ask;
use crate::targets::Target;

const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
/// Of the controller, or of a ReplicaSet alone: they stay with the object when it goes back.
const KEPT: [&str; 5] = [
    crate::apply::LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
];

/// One revision: its number and the object that holds its template.
struct Revision {
    number: i64,
    of: Value,
}

pub async fn pause(context: &Context, flags: &Flags, target: &Target, paused: bool) -> Result<()> {
    let word = if paused { "paused" } else { "resumed" };
    if target.resource.kind != "Deployment" {
        let verb = if paused { "pausing" } else { "resuming" };
        return Err(Error::Plain(format!(
            "{} {:?} {verb} is not supported",
            target.resource.display(),
            target.name
        )));
    }
    let before = context.server.value(&Ask::get(target.path())).await?;
    let is = before.at(&["spec", "paused"]).and_then(Value::as_bool).unwrap_or(false);
    if is == paused {
        let state = if paused { "is already paused" } else { "is not paused" };
        return Err(Error::Plain(format!("{} {:?} {state}", target.resource.display_plural(), target.name)));
    }
    let mut after = before.clone();
    if paused {
        after.set_at(&["spec", "paused"], true);
    } else {
        after.remove_at(&["spec", "paused"]);
    }
    How::of(flags, "kubectl-rollout")?.send(context, target, &before, after, word).await
}

pub async fn history(context: &Context, flags: &Flags, target: &Target) -> Result<()> {
    let object = context.server.value(&Ask::get(target.path())).await?;
    let revisions = revisions(context, target, &object).await?;
    let wanted = flags.int("revision", 0)?;
    if wanted > 0 {
        let found = revisions.iter().find(|r| r.number == wanted);
        let found = found.ok_or_else(|| Error::plain("unable to find the specified revision"))?;
        output::say(format!("{} with revision #{wanted}", target.display()));
        output::write(&yaml::to_string(&template(&found.of)));
        return Ok(());
    }
    // Stock ends the object's line with a blank.
    output::say(format!("{} ", target.display()));
    output::say(format!("{:<10}CHANGE-CAUSE", "REVISION"));
    for revision in &revisions {
        let cause = revision.of.str_at(&["metadata", "annotations", CAUSE]);
        output::say(format!("{:<10}{}", revision.number, if cause.is_empty() { "<none>" } else { cause }));
    }
    output::say("");
    Ok(())
}

pub async fn undo(context: &Context, flags: &Flags, target: &Target) -> Result<()> {
    let object = context.server.value(&Ask::get(target.path())).await?;
    let revisions = revisions(context, target, &object).await?;
    let wanted = flags.int("to-revision", 0)?;
    let to = match wanted {
        0 => revisions.len().checked_sub(2).and_then(|at| revisions.get(at)).ok_or_else(|| {
            Error::Plain(format!(
                "no rollout history found for {} {:?}",
                target.resource.singular, target.name
            ))
        })?,
        wanted => revisions
            .iter()
            .find(|r| r.number == wanted)
            .ok_or_else(|| Error::Plain(format!("unable to find specified revision {wanted} in history")))?,
    };
    if object.at(&["spec", "paused"]).and_then(Value::as_bool) == Some(true) {
        return Err(Error::plain(
            "cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    let dry_run = crate::apply::DryRun::of(flags)?;
    let now = object.at(&["spec", "template"]).cloned().unwrap_or_default();
    if target.resource.kind == "Deployment" && template(&to.of) == without_hash(now) {
        output::say(format!(
            "{} skipped rollback (current template already matches revision {})",
            target.display(),
            to.number
        ));
        return Ok(());
    }
    if dry_run != crate::apply::DryRun::Client {
        let (body, content) = match target.resource.kind.as_str() {
            "Deployment" => (back(&object, &to.of), "application/json-patch+json"),
            _ => (to.of.get("data").cloned().unwrap_or_default(), "application/strategic-merge-patch+json"),
        };
        let ask = Ask::new(Method::PATCH, target.path())
            .with("fieldManager", "kubectl-rollout")
            .sending(api::json::to_vec(&body), content);
        context.server.value(&dry_run.on(ask)).await?;
    }
    output::say(format!("{} rolled back{}", target.display(), dry_run.suffix()));
    Ok(())
}

/// The patch that gives a Deployment the template and annotations of a ReplicaSet.
fn back(object: &Value, of: &Value) -> Value {
    let annotations = |o: &Value, kept: bool| -> Vec<(String, Value)> {
        let map = o.at(&["metadata", "annotations"]).and_then(Value::as_map);
        let all = map.into_iter().flat_map(|m| m.iter());
        all.filter(|(k, _)| KEPT.contains(&&***k) == kept).map(|(k, v)| (k.to_string(), v.clone())).collect()
    };
    let mut whole = Value::map();
    for (key, value) in annotations(object, true).into_iter().chain(annotations(of, false)) {
        whole.set_at(&[&key], value);
    }
    value!([{"op": "replace", "path": "/spec/template", "value": (template(of))},
        {"op": "replace", "path": "/metadata/annotations", "value": (whole)}])
}

/// The pods' template of a revision.
fn template(of: &Value) -> Value {
    let path: &[&str] = if of.str_at(&["kind"]) == "ControllerRevision" {
        &["data", "spec", "template"]
    } else {
        &["spec", "template"]
    };
    without_hash(of.at(path).cloned().unwrap_or_default())
}

fn without_hash(mut template: Value) -> Value {
    template.remove_at(&["metadata", "labels", "pod-template-hash"]);
    template
}

/// The revisions of an object, ascending.
async fn revisions(context: &Context, target: &Target, object: &Value) -> Result<Vec<Revision>> {
    let (resource, kind) = match target.resource.kind.as_str() {
        "Deployment" => ("replicasets.apps", "ReplicaSet"),
        "DaemonSet" | "StatefulSet" => ("controllerrevisions.apps", "ControllerRevision"),
        other => return Err(Error::Plain(format!("no history viewer has been implemented for {other:?}"))),
    };
    let list = Target {
        resource: context.mapper.resource(resource)?,
        namespace: target.namespace.clone(),
        name: String::new(),
    };
    let list = context.server.value(&Ask::get(list.path())).await?;
    let uid = object.str_at(&["metadata", "uid"]);
    let owned =
        |o: &&Value| o.list_at(&["metadata", "ownerReferences"]).iter().any(|r| r.str_at(&["uid"]) == uid);
    let mut found: Vec<Revision> = list
        .list_at(&["items"])
        .iter()
        .filter(owned)
        .map(|o| {
            let mut of = o.clone();
            of.set_at(&["kind"], kind);
            Revision { number: number(o), of }
        })
        .filter(|r| r.number > 0)
        .collect();
    found.sort_by_key(|r| r.number);
    Ok(found)
}

fn number(of: &Value) -> i64 {
    of.int_at(&["revision"])
        .or_else(|| of.str_at(&["metadata", "annotations", REVISION]).parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_keeps_what_is_the_objects_own() {
        let object = value!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "new"}}});
        let of = value!({"kind": "ReplicaSet", "metadata": {"annotations": {"deployment.kubernetes.io/revision": "1", "kubernetes.io/change-cause": "old"}},
            "spec": {"template": {"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}}}}});
        let patch = back(&object, &of);
        let want = value!([{"op": "replace", "path": "/spec/template", "value": {"metadata": {"labels": {"a": "b"}}}},
            {"op": "replace", "path": "/metadata/annotations", "value": {"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "old"}}]);
        assert_eq!(patch, want);
        assert_eq!(number(&of), 1);
        assert_eq!(number(&value!({"revision": 4})), 4);
    }
}
