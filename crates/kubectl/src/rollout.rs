//! `kubectl rollout`: `status` and `restart` here, what is about revisions in `history`.

use std::time::Duration;

use api::{Value, value};
use http::Method;

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::server::Ask;
use crate::targets::{self, Target};
use crate::{Context, history, manifests, output, watching};

const FLAGS: &str =
    "watch,w timeout= revision= to-revision= selector,l= field-manager= dry-run?unchanged local";
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn run(arguments: &[String]) -> Result<()> {
    let mut flags = Flags::parse("rollout", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.words.is_empty() {
        return Err(Error::plain(
            "rollout needs a subcommand: history, pause, restart, resume, status or undo",
        ));
    }
    let what = flags.words.remove(0);
    let context = Context::new(&flags).await?;
    let targets = targets::of_flags(&context.mapper, &flags, &context.server, &flags.words)?;
    if targets.is_empty() {
        return Err(Error::plain("required resource not specified"));
    }
    for target in &targets {
        match what.as_str() {
            "status" => status(&context, target, &flags).await?,
            "restart" => restart(&context, target).await?,
            "history" => history::history(&context, &flags, target).await?,
            "undo" => history::undo(&context, &flags, target).await?,
            "pause" => history::pause(&context, &flags, target, true).await?,
            "resume" => history::pause(&context, &flags, target, false).await?,
            other => return Err(Error::Plain(format!("unknown command {other:?} for \"kubectl rollout\""))),
        }
    }
    Ok(())
}

async fn status(context: &Context, target: &Target, flags: &Flags) -> Result<()> {
    let server = &context.server;
    let revision = flags.int("revision", 0)?;
    for (target, first) in targets::objects(server, target, flags).await? {
        let kind = target.resource.kind.clone();
        if !flags.on_by_default("watch") {
            output::say(progress(&kind, &first, revision)?.0);
            continue;
        }
        let timeout = flags.duration("timeout", WEEK)?;
        let timeout = if timeout.is_zero() { WEEK } else { timeout };
        let done = watching::until(server, &target, timeout, |object| {
            let object = object.ok_or_else(|| Error::plain("object has been deleted"))?;
            let (text, done) = progress(&kind, object, revision)?;
            output::say(text);
            Ok(done)
        });
        if !done.await? {
            return Err(Error::plain("timed out waiting for the condition"));
        }
    }
    Ok(())
}

async fn restart(context: &Context, target: &Target) -> Result<()> {
    let object = context.server.value(&Ask::get(target.path())).await?;
    if object.at(&["spec", "paused"]).and_then(Value::as_bool) == Some(true) {
        return Err(Error::Plain(format!(
            "{} {:?} can't restart paused deployment (run rollout resume first)",
            target.resource.display_plural(),
            target.name
        )));
    }
    let now = apimachinery::time::now();
    let patch = value!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": (now)}}}}});
    let ask = Ask::new(Method::PATCH, target.path())
        .with("fieldManager", "kubectl-rollout")
        .sending(api::json::to_vec(&patch), "application/strategic-merge-patch+json");
    context.server.value(&ask).await?;
    output::say(format!("{} restarted", target.display()));
    Ok(())
}

/// What to say of a workload's state, and whether it is done.
fn progress(kind: &str, object: &Value, revision: i64) -> Result<(String, bool)> {
    let observed = object.int_at(&["status", "observedGeneration"]).unwrap_or(0)
        >= object.int_at(&["metadata", "generation"]).unwrap_or(0);
    match kind {
        "Deployment" => deployment(object, observed, revision),
        "DaemonSet" => daemon_set(object, observed),
        "StatefulSet" => stateful_set(object, observed),
        other => Err(Error::Plain(format!("no status viewer has been implemented for {other}"))),
    }
}

fn number(object: &Value, field: &str) -> i64 {
    object.int_at(&["status", field]).unwrap_or(0)
}

fn name(object: &Value) -> &str {
    object.str_at(&["metadata", "name"])
}

fn deployment(object: &Value, observed: bool, revision: i64) -> Result<(String, bool)> {
    let name = name(object);
    if revision > 0 {
        let is = object
            .at(&["metadata", "annotations", "deployment.kubernetes.io/revision"])
            .and_then(Value::as_str);
        if is.and_then(|r| r.parse().ok()) != Some(revision) {
            return Err(Error::Plain(format!(
                "desired revision ({revision}) is different from the running revision ({})",
                is.unwrap_or("0")
            )));
        }
    }
    if !observed {
        return Ok(("Waiting for deployment spec update to be observed...".into(), false));
    }
    let late = |c: &Value| {
        c.str_at(&["type"]) == "Progressing" && c.str_at(&["reason"]) == "ProgressDeadlineExceeded"
    };
    if object.list_at(&["status", "conditions"]).iter().any(late) {
        return Err(Error::Plain(format!("deployment {name:?} exceeded its progress deadline")));
    }
    let wanted = object.int_at(&["spec", "replicas"]).unwrap_or(1);
    let (updated, all, available) =
        (number(object, "updatedReplicas"), number(object, "replicas"), number(object, "availableReplicas"));
    let waiting = format!("Waiting for deployment {name:?} rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new replicas have been updated..."), false)
    } else if all > updated {
        (format!("{waiting} {} old replicas are pending termination...", all - updated), false)
    } else if available < updated {
        (format!("{waiting} {available} of {updated} updated replicas are available..."), false)
    } else {
        (format!("deployment {name:?} successfully rolled out"), true)
    })
}

fn daemon_set(object: &Value, observed: bool) -> Result<(String, bool)> {
    let strategy = object.str_at(&["spec", "updateStrategy", "type"]);
    if strategy != "RollingUpdate" {
        return Err(Error::plain("rollout status is only available for RollingUpdate strategy type"));
    }
    if !observed {
        return Ok(("Waiting for daemon set spec update to be observed...".into(), false));
    }
    let name = name(object);
    let (wanted, updated, available) = (
        number(object, "desiredNumberScheduled"),
        number(object, "updatedNumberScheduled"),
        number(object, "numberAvailable"),
    );
    let waiting = format!("Waiting for daemon set {name:?} rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new pods have been updated..."), false)
    } else if available < wanted {
        (format!("{waiting} {available} of {wanted} updated pods are available..."), false)
    } else {
        (format!("daemon set {name:?} successfully rolled out"), true)
    })
}

fn stateful_set(object: &Value, observed: bool) -> Result<(String, bool)> {
    if object.str_at(&["spec", "updateStrategy", "type"]) != "RollingUpdate" {
        return Err(Error::plain("rollout status is only available for RollingUpdate strategy type"));
    }
    if !observed || number(object, "observedGeneration") == 0 {
        return Ok(("Waiting for statefulset spec update to be observed...".into(), false));
    }
    let wanted = object.int_at(&["spec", "replicas"]).unwrap_or(1);
    let ready = number(object, "readyReplicas");
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
    }
    let updated = number(object, "updatedReplicas");
    let partition = object.int_at(&["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or(0);
    if partition > 0 {
        if updated < wanted - partition {
            let of = wanted - partition;
            return Ok((
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {of} new pods have been updated..."
                ),
                false,
            ));
        }
        return Ok((format!("partitioned roll out complete: {updated} new pods have been updated..."), true));
    }
    let revision = object.str_at(&["status", "updateRevision"]);
    if revision != object.str_at(&["status", "currentRevision"]) {
        return Ok((
            format!(
                "waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
            ),
            false,
        ));
    }
    let current = number(object, "currentReplicas");
    Ok((
        format!(
            "statefulset rolling update complete {current} pods at revision {}...",
            object.str_at(&["status", "currentRevision"])
        ),
        true,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_on_its_way() {
        let state = |generation: i64, updated: i64, all: i64, available: i64| {
            let object = value!({"metadata": {"name": "x", "generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": (generation), "updatedReplicas": (updated), "replicas": (all), "availableReplicas": (available)}});
            progress("Deployment", &object, 0).unwrap()
        };
        assert_eq!(state(1, 0, 0, 0), ("Waiting for deployment spec update to be observed...".into(), false));
        assert_eq!(
            state(2, 1, 3, 3).0,
            "Waiting for deployment \"x\" rollout to finish: 1 out of 3 new replicas have been updated..."
        );
        assert_eq!(
            state(2, 3, 4, 3).0,
            "Waiting for deployment \"x\" rollout to finish: 1 old replicas are pending termination..."
        );
        assert_eq!(
            state(2, 3, 3, 2).0,
            "Waiting for deployment \"x\" rollout to finish: 2 of 3 updated replicas are available..."
        );
        assert_eq!(state(2, 3, 3, 3), ("deployment \"x\" successfully rolled out".into(), true));
    }

    #[test]
    fn what_has_no_rollout() {
        assert!(progress("Pod", &Value::map(), 0).is_err());
        let on_delete = value!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
        assert!(progress("DaemonSet", &on_delete, 0).is_err());
    }
}
