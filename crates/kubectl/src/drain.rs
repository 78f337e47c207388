//! `kubectl cordon`, `uncordon` and `drain`.

use std::time::{Duration, Instant};

use api::{Value, value};
use http::Method;

use crate::args::Flags;
use crate::change::{self, How};
use crate::error::{Error, Result};
use crate::server::{Ask, JSON};
use crate::targets::Target;
use crate::{Context, output, watching};

const FLAGS: &str = "force grace-period= ignore-daemonsets delete-emptydir-data timeout= pod-selector= \
    disable-eviction chunk-size= skip-wait-for-delete-timeout=";
/// What upstream waits after a disruption budget's refusal.
const AGAIN: Duration = Duration::from_secs(5);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub async fn run(arguments: &[String], command: &'static str) -> Result<()> {
    let flags = Flags::parse(command, &[FLAGS, change::FLAGS, output::FLAGS].join(" "), arguments)?;
    if flags.words.is_empty() && !flags.given("selector") {
        return Err(Error::Plain(format!(
            "USAGE: {command} NODE [flags]\nSee 'kubectl {command} -h' for help and examples"
        )));
    }
    let how = How::of(&flags, &format!("kubectl-{command}"))?;
    let context = Context::new(&flags).await?;
    let words: Vec<String> = match flags.words.as_slice() {
        [] => vec!["nodes".into()],
        words if words.iter().any(|w| w.contains('/')) => words.to_vec(),
        words => ["nodes".to_owned()].into_iter().chain(words.iter().cloned()).collect(),
    };
    for (target, node) in change::objects(&context, &flags, &words).await? {
        cordon(&context, &how, &target, &node, command != "uncordon").await?;
        if command == "drain" {
            drain(&context, &flags, &target.name).await?;
            let dry_run = crate::apply::DryRun::of(&flags)?;
            output::say(format!("node/{} drained{}", target.name, dry_run.suffix()));
        }
    }
    Ok(())
}

async fn cordon(context: &Context, how: &How, target: &Target, node: &Value, wanted: bool) -> Result<()> {
    let verb = if wanted { "cordoned" } else { "uncordoned" };
    let is = node.at(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false);
    if is == wanted {
        output::say(format!("{} already {verb}", target.display()));
        return Ok(());
    }
    let mut after = node.clone();
    if wanted {
        after.set_at(&["spec", "unschedulable"], true);
    } else {
        after.remove_at(&["spec", "unschedulable"]);
    }
    how.send(context, target, node, after, verb).await
}

/// Why a pod stays, what stands against the drain, or what is to be said while it goes.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Goes,
    /// Goes, but loses something.
    Warned(&'static str),
    Stays(&'static str),
    Refused(&'static str),
}

const DAEMON: &str = "DaemonSet-managed Pods";

fn judge(pod: &Value, flags: &Flags) -> Verdict {
    let done = matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed");
    if pod.at(&["metadata", "annotations", "kubernetes.io/config.mirror"]).is_some() {
        return Verdict::Stays("");
    }
    let owner = pod
        .list_at(&["metadata", "ownerReferences"])
        .iter()
        .find(|o| o.at(&["controller"]).and_then(Value::as_bool) == Some(true))
        .map(|o| o.str_at(&["kind"]));
    let local = pod.list_at(&["spec", "volumes"]).iter().any(|v| v.get("emptyDir").is_some());
    match owner {
        Some("DaemonSet") if !done && flags.on("ignore-daemonsets") => Verdict::Stays(DAEMON),
        Some("DaemonSet") if !done => {
            Verdict::Refused("cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
        }
        _ if local && !done && !flags.on("delete-emptydir-data") => {
            Verdict::Refused("cannot delete Pods with local storage (use --delete-emptydir-data to override)")
        }
        None if !done && flags.on("force") => Verdict::Warned("deleting Pods that declare no controller"),
        None if !done => {
            Verdict::Refused("cannot delete Pods that declare no controller (use --force to override)")
        }
        _ => Verdict::Goes,
    }
}

async fn drain(context: &Context, flags: &Flags, node: &str) -> Result<()> {
    let resource = context.mapper.resource("pods")?;
    let ask = Ask::get(resource.path("", ""))
        .with("fieldSelector", format!("spec.nodeName={node}"))
        .with("labelSelector", flags.text("pod-selector"));
    let list = context.server.value(&ask).await?;
    let mut going: Vec<Target> = Vec::new();
    let (mut told, mut refused) = (Vec::new(), Vec::new());
    for pod in list.list_at(&["items"]) {
        let (namespace, name) = (pod.str_at(&["metadata", "namespace"]), pod.str_at(&["metadata", "name"]));
        let place = format!("{namespace}/{name}");
        let target = Target { resource: resource.clone(), namespace: namespace.into(), name: name.into() };
        match judge(pod, flags) {
            Verdict::Stays("") => {}
            Verdict::Stays(why) => told.push((why, place)),
            Verdict::Refused(why) => refused.push((why, place)),
            Verdict::Warned(why) => {
                told.push((why, place));
                going.push(target);
            }
            Verdict::Goes => going.push(target),
        }
    }
    if !refused.is_empty() {
        let why = grouped(&refused);
        let all = if why.len() > 1 { format!("[{}]", why.join(", ")) } else { why.join(", ") };
        let why = why.join("\n");
        return Err(Error::Plain(format!(
            "unable to drain node {node:?} due to error: {all}, continuing command...\nThere are pending nodes to be drained:\n {node}\n{why}"
        )));
    }
    if !told.is_empty() {
        let lines = grouped(&told);
        let ignoring = |l: &String| if l.starts_with(DAEMON) { format!("ignoring {l}") } else { l.clone() };
        eprintln!("Warning: {}", lines.iter().map(ignoring).collect::<Vec<_>>().join("; "));
    }
    let timeout = flags.duration("timeout", WEEK)?;
    let end = Instant::now() + if timeout.is_zero() { WEEK } else { timeout };
    let jobs = going.iter().map(|target| evict(context, flags, target, end));
    let done = futures::future::join_all(jobs).await;
    Error::collect(done.into_iter().filter_map(std::result::Result::err).collect())
}

/// `WHY: a, b` for each reason.
fn grouped(pods: &[(&str, String)]) -> Vec<String> {
    let mut reasons: Vec<&str> = pods.iter().map(|(why, _)| *why).collect();
    reasons.dedup();
    reasons.sort_unstable();
    reasons.dedup();
    let of = |reason: &str| -> Vec<&str> {
        pods.iter().filter(|(why, _)| *why == reason).map(|(_, p)| p.as_str()).collect()
    };
    reasons.into_iter().map(|reason| format!("{reason}: {}", of(reason).join(", "))).collect()
}

async fn evict(context: &Context, flags: &Flags, target: &Target, end: Instant) -> Result<()> {
    let dry_run = crate::apply::DryRun::of(flags)?;
    let (namespace, name) = (target.namespace.as_str(), target.name.as_str());
    let word = if flags.on("disable-eviction") { "deleting" } else { "evicting" };
    output::say(format!("{word} pod {namespace}/{name}{}", dry_run.suffix()));
    if dry_run == crate::apply::DryRun::Client {
        return Ok(());
    }
    let mut options = value!({});
    let grace = flags.int("grace-period", -1)?;
    if grace >= 0 {
        options.set_at(&["gracePeriodSeconds"], grace);
    }
    let before = match context.server.value(&Ask::get(target.path())).await {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    loop {
        let ask = if flags.on("disable-eviction") {
            Ask::new(Method::DELETE, target.path()).sending(api::json::to_vec(&options), JSON)
        } else {
            let eviction = value!({"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": (name), "namespace": (namespace)}, "deleteOptions": (options.clone())});
            Ask::new(Method::POST, format!("{}/eviction", target.path()))
                .sending(api::json::to_vec(&eviction), JSON)
        };
        match context.server.value(&dry_run.on(ask)).await {
            Ok(_) => break,
            Err(error) if error.is_not_found() => break,
            Err(error) if error.is_reason("TooManyRequests") && Instant::now() + AGAIN < end => {
                eprintln!(
                    "error when evicting pods/{name:?} -n {namespace:?} (will retry after 5s): {error}"
                );
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                return Err(error.about(format!("error when evicting pods/{name:?} -n {namespace:?}")));
            }
        }
    }
    if dry_run != crate::apply::DryRun::No {
        return Ok(());
    }
    let uid = before.str_at(&["metadata", "uid"]).to_owned();
    let left = end.saturating_duration_since(Instant::now());
    let gone = |o: Option<&Value>| Ok(o.is_none_or(|o| o.str_at(&["metadata", "uid"]) != uid));
    if !watching::until(&context.server, target, left, gone).await? {
        return Err(Error::Plain(format!(
            "error when waiting for pod {name:?} in namespace {namespace:?} to terminate: global timeout reached"
        )));
    }
    let verb = if flags.on("disable-eviction") { "deleted" } else { "evicted" };
    output::say(format!("pod/{name} {verb}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_pods_go() {
        let pod = |owner: &str, volume: &str| {
            let mut pod = value!({"metadata": {"name": "x"}, "spec": {"volumes": [{"name": "v", (volume): {}}]}, "status": {"phase": "Running"}});
            if !owner.is_empty() {
                pod.set_at(
                    &["metadata", "ownerReferences"],
                    Value::List(vec![value!({"kind": (owner), "controller": true})]),
                );
            }
            pod
        };
        let flags = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Flags::parse("drain", FLAGS, &words).unwrap()
        };
        let none = flags(&[]);
        assert_eq!(judge(&pod("ReplicaSet", "configMap"), &none), Verdict::Goes);
        assert!(matches!(judge(&pod("ReplicaSet", "emptyDir"), &none), Verdict::Refused(_)));
        assert!(matches!(judge(&pod("", "configMap"), &none), Verdict::Refused(_)));
        assert!(matches!(judge(&pod("DaemonSet", "configMap"), &none), Verdict::Refused(_)));
        let all = flags(&["--force", "--ignore-daemonsets", "--delete-emptydir-data"]);
        assert_eq!(judge(&pod("ReplicaSet", "emptyDir"), &all), Verdict::Goes);
        assert!(matches!(judge(&pod("", "configMap"), &all), Verdict::Warned(_)));
        assert_eq!(judge(&pod("DaemonSet", "emptyDir"), &all), Verdict::Stays(DAEMON));
        assert_eq!(
            grouped(&[("a", "n/x".into()), ("b", "n/y".into()), ("a", "n/z".into())]),
            ["a: n/x, n/z", "b: n/y"]
        );
    }
}
