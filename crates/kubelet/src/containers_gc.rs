//! Removal of dead containers and sandboxes of pods that go on: so many are kept of each container (for its logs) and on
//! the node. What a removed pod leaves is its worker's business, what nobody knows that of `orphans`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use jiff::Timestamp;

use crate::context::Context;
use crate::runtime::labels;

const PERIOD: Duration = Duration::from_secs(60);

/// How many dead containers are kept; below zero there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Age that one must have to be removed.
    pub least_age: Duration,
    /// Of each container of a pod.
    pub each: i32,
    /// On the node.
    pub all: i32,
}

/// A container that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dead {
    id: String,
    /// The pod's UID and the container's name.
    of: (String, String),
    created: i64,
}

/// What goes: of each container the oldest, and if those that are left are too many, fewer of each, then the oldest of
/// all. Pure.
fn excess(mut dead: Vec<Dead>, policy: Policy, now: Timestamp) -> Vec<String> {
    let old = |created: i64| {
        let age = now.as_nanosecond() - i128::from(created);
        age >= i128::try_from(policy.least_age.as_nanos()).unwrap_or(i128::MAX)
    };
    dead.retain(|container| old(container.created));
    dead.sort_by_key(|container| std::cmp::Reverse(container.created));
    let mut gone = Vec::new();
    let limit = |dead: &mut Vec<Dead>, most: i32, gone: &mut Vec<String>| {
        let Ok(most) = usize::try_from(most) else { return };
        let mut counts: HashMap<(String, String), usize> = HashMap::new();
        dead.retain(|container| {
            let count = counts.entry(container.of.clone()).or_default();
            *count += 1;
            if *count > most {
                gone.push(container.id.clone());
            }
            *count <= most
        });
    };
    limit(&mut dead, policy.each, &mut gone);
    let Ok(all) = usize::try_from(policy.all) else { return gone };
    if dead.len() > all {
        let owners: HashSet<_> = dead.iter().map(|container| container.of.clone()).collect();
        let each = i32::try_from(all / owners.len().max(1)).unwrap_or(i32::MAX).max(1);
        limit(&mut dead, each, &mut gone);
        gone.extend(dead.drain(all.min(dead.len())..).map(|container| container.id));
    }
    gone
}

/// Works until the kubelet ends.
pub async fn run(cx: Arc<Context>, policy: Policy) {
    let work = async {
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + PERIOD, PERIOD);
        loop {
            tick.tick().await;
            round(&cx, policy, false).await;
        }
    };
    let _ = cx.shutdown.run_until_cancelled(work).await;
}

/// Removes what can be spared: of pods that go on all but the last of each container, which is its state; of those that
/// are over everything. What eviction tries before it ends pods.
pub async fn free_all(cx: &Context) {
    round(cx, Policy { least_age: Duration::ZERO, each: 1, all: -1 }, true).await;
}

async fn round(cx: &Context, policy: Policy, finished: bool) {
    let listed = tokio::try_join!(
        cx.runtime.list_pod_sandbox(v1::PodSandboxFilter::default()),
        cx.runtime.list_containers(v1::ContainerFilter::default())
    );
    let (sandboxes, containers) = match listed {
        Ok(both) => both,
        Err(error) => {
            tracing::warn!(%error, "list containers");
            return;
        }
    };
    let exited = v1::ContainerState::ContainerExited as i32;
    let label = |map: &HashMap<String, String>, name: &str| map.get(name).cloned().unwrap_or_default();
    let dead = containers.iter().filter(|container| container.state == exited).map(|container| Dead {
        id: container.id.clone(),
        of: (label(&container.labels, labels::POD_UID), label(&container.labels, labels::CONTAINER_NAME)),
        created: container.created_at,
    });
    let (over, going): (Vec<Dead>, Vec<Dead>) = dead
        .filter(|dead| cx.pods.contains(&dead.of.0))
        .partition(|dead| finished && is_over(cx, &dead.of.0));
    let mut gone = excess(going, policy, Timestamp::now());
    gone.extend(over.into_iter().map(|dead| dead.id));
    for container in containers.iter().filter(|container| gone.contains(&container.id)) {
        remove(cx, container).await;
    }
    let used: HashSet<&str> = containers
        .iter()
        .filter(|container| !gone.contains(&container.id))
        .map(|container| container.pod_sandbox_id.as_str())
        .collect();
    for id in idle(&sandboxes, &used) {
        if let Err(error) = cx.runtime.remove_pod_sandbox(&id).await {
            tracing::warn!(%error, id, "remove sandbox");
        }
    }
}

fn is_over(cx: &Context, uid: &str) -> bool {
    let phase = cx.statuses.get(uid).and_then(|status| status.phase);
    phase.is_some_and(|phase| phase == "Succeeded" || phase == "Failed")
}

/// Sandboxes that are down, have no container, and are not the newest of their pod. Pure.
fn idle(sandboxes: &[v1::PodSandbox], used: &HashSet<&str>) -> Vec<String> {
    let uid = |sandbox: &v1::PodSandbox| sandbox.labels.get(labels::POD_UID).cloned().unwrap_or_default();
    let mut newest: HashMap<String, i64> = HashMap::new();
    for sandbox in sandboxes {
        let at = newest.entry(uid(sandbox)).or_default();
        *at = (*at).max(sandbox.created_at);
    }
    let down = v1::PodSandboxState::SandboxNotready as i32;
    let idle = sandboxes.iter().filter(|sandbox| {
        sandbox.state == down
            && !used.contains(sandbox.id.as_str())
            && newest.get(&uid(sandbox)).is_some_and(|newest| sandbox.created_at < *newest)
    });
    idle.map(|sandbox| sandbox.id.clone()).collect()
}

async fn remove(cx: &Context, container: &v1::Container) {
    let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
    let (namespace, pod) = (label(labels::POD_NAMESPACE), label(labels::POD_NAME));
    let (uid, name) = (label(labels::POD_UID), label(labels::CONTAINER_NAME));
    let _ = std::fs::remove_file(cx.paths.log_link(&namespace, &pod, &name, &container.id));
    let restarts = labels::read_annotations(&container.annotations).restarts;
    let folder = cx.paths.pod_log(&namespace, &pod, &uid).join(&name);
    let prefix = format!("{restarts}.log");
    // with what was rotated
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    match cx.runtime.remove_container(&container.id).await {
        Ok(()) => tracing::debug!(id = container.id, "removed a dead container"),
        Err(error) => tracing::warn!(%error, id = container.id, "remove dead container"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(id: &str, of: &str, created: i64) -> Dead {
        Dead { id: id.to_owned(), of: ("u".to_owned(), of.to_owned()), created: created * 1_000_000_000 }
    }

    #[test]
    fn keeps_the_newest() {
        let list = || vec![dead("a1", "a", 1), dead("a2", "a", 2), dead("a3", "a", 3), dead("b1", "b", 4)];
        let go = |each, all, least| {
            let policy = Policy { each, all, least_age: Duration::from_secs(least) };
            excess(list(), policy, Timestamp::from_second(10).unwrap())
        };
        assert_eq!(go(1, -1, 0), ["a2", "a1"]);
        assert_eq!(go(-1, -1, 0), Vec::<String>::new());
        assert_eq!(go(1, -1, 8), ["a1"], "the others are too young");
        assert_eq!(go(2, 2, 0), ["a1", "a2"]);
        assert_eq!(go(2, 1, 0), ["a1", "a2", "a3"]);
        assert_eq!(go(0, 0, 0), ["b1", "a3", "a2", "a1"]);
    }

    #[test]
    fn the_newest_sandbox_stays() {
        let sandbox = |id: &str, created_at, state: v1::PodSandboxState| v1::PodSandbox {
            id: id.to_owned(),
            created_at,
            state: state as i32,
            labels: [(labels::POD_UID.to_owned(), "u".to_owned())].into(),
            ..v1::PodSandbox::default()
        };
        let down = v1::PodSandboxState::SandboxNotready;
        let list = [sandbox("a", 1, down), sandbox("b", 2, down), sandbox("c", 3, down)];
        assert_eq!(idle(&list, &["a"].into()), ["b"]);
    }
}
