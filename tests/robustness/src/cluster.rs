//! The control plane of a running `keelson up` cluster is killed; `keelson up` starts it again. The pods must not
//! notice: same containers, same restart counts, nodes still ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, interval, sleep};

use crate::http::Client;
use crate::rounds::{Score, Settings};
use crate::{Error, Result};

const STATES: &str = "/var/lib/keelson";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const READY: Duration = Duration::from_secs(120);

/// Container ids and restart counts by pod (namespace, name and uid) and container.
type Containers = BTreeMap<String, (String, i64)>;

/// What pods say of their containers.
pub fn containers(pods: &Value) -> Containers {
    let mut all = Containers::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let meta = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
        let of_pod = format!("{}/{} ({})", meta("namespace"), meta("name"), meta("uid"));
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            let key = format!("{of_pod} {}", status["name"].as_str().unwrap_or_default());
            let id = status["containerID"].as_str().unwrap_or_default().to_owned();
            all.insert(key, (id, status["restartCount"].as_i64().unwrap_or(0)));
        }
    }
    all
}

/// What became different. Pods that came meanwhile are no difference.
pub fn differences(before: &Containers, after: &Containers) -> Vec<String> {
    before
        .iter()
        .filter_map(|(key, was)| match after.get(key) {
            Some(is) if is == was => None,
            Some(is) => Some(format!(
                "{key}: container {} with {} restarts is now {} with {}",
                was.0, was.1, is.0, is.1
            )),
            None => Some(format!("{key}: gone")),
        })
        .collect()
}

fn not_ready(nodes: &Value) -> Vec<String> {
    let ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        !conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let nodes = nodes["items"].as_array().into_iter().flatten().filter(ready);
    nodes.map(|n| n["metadata"]["name"].to_string()).collect()
}

/// Kills and restarts `rounds` times; `keelson` is the binary.
pub async fn run(name: &str, keelson: &Path, settings: Settings) -> Result<Score> {
    let folder = PathBuf::from(STATES).join(name);
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let mut score = Score::default();
    for round in 1..=settings.rounds {
        let client = Client::of_kubeconfig(&folder.join("admin.conf")).await?;
        let before = containers(&ask(&client, "/api/v1/pods").await?);
        let leases = renewals(&ask(&client, LEASES).await?);
        let pid = control_plane(&folder)?;
        sleep(Duration::from_millis(rng.random_range(0..2000))).await;
        kill(pid, Signal::SIGKILL)
            .map_err(|e| Error::Setup(format!("killing the control plane, pid {pid}: {e}")))?;
        let away = Duration::from_millis(rng.random_range(0..5000));
        sleep(away).await;
        up(keelson, name).await?;
        let findings = compare(&folder, &before, &leases).await?;
        let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
        println!(
            "round {round}: control plane killed, away for {} ms, {} containers: {verdict}",
            away.as_millis(),
            before.len()
        );
        findings.iter().for_each(|finding| println!("  {finding}"));
        if findings.is_empty() { score.passed += 1 } else { score.failed += 1 }
    }
    Ok(score)
}

fn control_plane(folder: &Path) -> Result<Pid> {
    let path = folder.join("cluster.json");
    let record: Value = serde_json::from_slice(&std::fs::read(&path)?).unwrap_or_default();
    let pid = record["controlPlane"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.map(Pid::from_raw).ok_or_else(|| Error::Setup(format!("{} names no control plane", path.display())))
}

async fn up(keelson: &Path, name: &str) -> Result<()> {
    let mut command = Command::new(keelson);
    command.args(["up", "--name", name, "--no-kubeconfig"]).stdin(Stdio::null());
    let status = command.status().await.map_err(|e| Error::Start(keelson.display().to_string(), e))?;
    if status.success() { Ok(()) } else { Err(Error::Setup(format!("`keelson up --name {name}`: {status}"))) }
}

async fn ask(client: &Client, target: &str) -> Result<Value> {
    match client.get(target).await {
        Some(answer) if answer.code == 200 => Ok(answer.body),
        answer => Err(Error::Request { what: format!("GET {target}"), answer: format!("{answer:?}") }),
    }
}

/// When each node has last said that it lives.
fn renewals(leases: &Value) -> BTreeMap<String, String> {
    let leases = leases["items"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    leases.map(|l| (text(&l["metadata"]["name"]), text(&l["spec"]["renewTime"]))).collect()
}

/// The nodes that have not said so since.
fn silent(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let silent = before.iter().filter(|(node, time)| after.get(*node).is_none_or(|t| t <= *time));
    silent.map(|(node, _)| format!("{node} (silent)")).collect()
}

/// Nodes that are not ready or have not been heard of since `leases`.
async fn missing(client: &Client, leases: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut missing = not_ready(&ask(client, "/api/v1/nodes").await?);
    missing.extend(silent(leases, &renewals(&ask(client, LEASES).await?)));
    Ok(missing)
}

/// Compares once every node is ready and has spoken to the new control plane; the nodes get as long as they need, up to [`READY`].
async fn compare(
    folder: &Path,
    before: &Containers,
    leases: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let client = Client::of_kubeconfig(&folder.join("admin.conf")).await?;
    let end = Instant::now() + READY;
    let mut again = interval(Duration::from_millis(200));
    loop {
        again.tick().await;
        let missing = missing(&client, leases).await.unwrap_or_else(|error| vec![error.to_string()]);
        if missing.is_empty() {
            return Ok(differences(before, &containers(&ask(&client, "/api/v1/pods").await?)));
        }
        if Instant::now() > end {
            return Ok(missing
                .into_iter()
                .map(|node| format!("not ready after {} s: {node}", READY.as_secs()))
                .collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods(id: &str, restarts: i64) -> Containers {
        containers(&json!({"items": [{"metadata": {"namespace": "n", "name": "p", "uid": "u"}, "status": {
            "containerStatuses": [{"name": "c", "containerID": id, "restartCount": restarts}]}}]}))
    }

    #[test]
    fn restarted_containers_are_found() {
        assert!(differences(&pods("a", 0), &pods("a", 0)).is_empty());
        assert_eq!(differences(&pods("a", 0), &pods("b", 0)).len(), 1);
        assert_eq!(differences(&pods("a", 0), &pods("a", 1)).len(), 1);
        assert_eq!(differences(&pods("a", 0), &Containers::new()).len(), 1);
        assert!(differences(&Containers::new(), &pods("a", 0)).is_empty());
    }

    #[test]
    fn nodes_that_are_silent() {
        let at = |time: &str| {
            renewals(&json!({"items": [{"metadata": {"name": "n"}, "spec": {"renewTime": time}}]}))
        };
        assert!(silent(&at("2026-01-01T00:00:00Z"), &at("2026-01-01T00:00:10Z")).is_empty());
        assert_eq!(silent(&at("2026-01-01T00:00:00Z"), &at("2026-01-01T00:00:00Z")), ["n (silent)"]);
    }

    #[test]
    fn nodes_that_are_not_ready() {
        let node = |status: &str| json!({"items": [{"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}]});
        assert!(not_ready(&node("True")).is_empty());
        assert_eq!(not_ready(&node("Unknown")), ["\"n\""]);
    }
}
