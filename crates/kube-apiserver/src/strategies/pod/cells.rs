//! The Table's row of a pod: what `kubectl get pods` shows, the STATUS word above all.

use api::{Map, Value};
use jiff::Timestamp;

use super::super::fields::{Fields, map_at, of};
use super::super::{cells, times};

/// Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates.
pub fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (map_at(pod, &["spec"]), map_at(pod, &["status"]));
    let mut summary = Summary::default();
    let status_word = word(pod, &mut summary);
    let sidecars = spec.items("initContainers").filter(|c| restarts_always(c)).count();
    let total = spec.list("containers").len() + sidecars;
    let ip = status.items("podIPs").next().map(|ip| ip.text("ip")).unwrap_or_default();
    vec![
        pod.str_at(&["metadata", "name"]).into(),
        format!("{}/{total}", summary.ready).into(),
        status_word.into(),
        summary.restarts(now).into(),
        cells::age(pod, now),
        cells::or_none(ip),
        cells::or_none(spec.text("nodeName")),
        cells::or_none(status.text("nominatedNodeName")),
        gates(spec, status),
    ]
}

fn gates(spec: &Map, status: &Map) -> Value {
    let gates = spec.list("readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = |gate: &&Map| {
        status
            .items("conditions")
            .any(|c| c.text("type") == gate.text("conditionType") && c.text("status") == "True")
    };
    format!("{}/{}", spec.items("readinessGates").filter(met).count(), gates.len()).into()
}

#[derive(Default)]
struct Summary {
    ready: usize,
    count: i64,
    /// RFC 3339 of the newest restart, which sorts as text.
    last: String,
}

impl Summary {
    fn restarts(&self, now: Timestamp) -> String {
        if self.count > 0 && !self.last.is_empty() {
            return format!("{} ({} ago)", self.count, times::age(&self.last, now));
        }
        self.count.to_string()
    }

    fn saw(&mut self, container: &Map) {
        self.count += container.int("restartCount").unwrap_or(0);
        let finished = container
            .sub("lastState")
            .and_then(|s| s.sub("terminated"))
            .map(|t| t.text("finishedAt"))
            .unwrap_or_default();
        if finished > self.last.as_str() {
            self.last = finished.to_owned();
        }
    }
}

fn restarts_always(container: &Map) -> bool {
    container.text("restartPolicy") == "Always"
}

fn word(pod: &Value, summary: &mut Summary) -> String {
    let (spec, status) = (map_at(pod, &["spec"]), map_at(pod, &["status"]));
    let mut reason = [status.text("reason"), status.text("phase")]
        .into_iter()
        .find(|t| !t.is_empty())
        .unwrap_or("")
        .to_owned();
    if status
        .items("conditions")
        .any(|c| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated")
    {
        reason = "SchedulingGated".into();
    }
    let initializing = init_word(spec, status, summary);
    match initializing {
        Some(text) => reason = text,
        None => reason = running_word(status, reason, summary),
    }
    let deleted = of(pod).sub("metadata").is_some_and(|m| m.has("deletionTimestamp"));
    if deleted && status.text("reason") == "NodeLost" {
        "Unknown".into()
    } else if deleted && !matches!(status.text("phase"), "Succeeded" | "Failed") {
        "Terminating".into()
    } else {
        reason
    }
}

fn state<'a>(container: &'a Map, name: &str) -> Option<&'a Map> {
    container.sub("state")?.sub(name)
}

/// The word while init containers are not through; also counts them.
fn init_word(spec: &Map, status: &Map, summary: &mut Summary) -> Option<String> {
    let total = spec.list("initContainers").len();
    let is_sidecar =
        |name: &str| spec.items("initContainers").any(|c| c.text("name") == name && restarts_always(c));
    let mut sidecars = Summary::default();
    for (i, c) in status.items("initContainerStatuses").enumerate() {
        summary.saw(c);
        let sidecar = is_sidecar(c.text("name"));
        if sidecar {
            sidecars.saw(c);
        }
        if let Some(t) = state(c, "terminated") {
            if t.int("exitCode").unwrap_or(0) == 0 {
                continue;
            }
            return Some(format!("Init:{}", terminated_word(t)));
        }
        if sidecar && c.flag("started") {
            summary.ready += usize::from(c.flag("ready"));
            continue;
        }
        if let Some(w) = state(c, "waiting") {
            let reason = w.text("reason");
            if !reason.is_empty() && reason != "PodInitializing" {
                return Some(format!("Init:{reason}"));
            }
        }
        return Some(format!("Init:{i}/{total}"));
    }
    // Once all are through, only the sidecars' restarts count.
    summary.count = sidecars.count;
    summary.last = sidecars.last;
    None
}

fn terminated_word(t: &Map) -> String {
    match (t.text("reason"), t.int("signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", t.int("exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn running_word(status: &Map, mut reason: String, summary: &mut Summary) -> String {
    let mut running = false;
    let all: Vec<&Map> = status.items("containerStatuses").collect();
    for c in all.iter().rev() {
        summary.saw(c);
        let waiting = state(c, "waiting").map(|w| w.text("reason")).unwrap_or_default();
        if !waiting.is_empty() {
            reason = waiting.to_owned();
        } else if let Some(t) = state(c, "terminated") {
            reason = terminated_word(t);
        } else if c.flag("ready") && state(c, "running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if reason == "Completed" && running {
        let ready =
            status.items("conditions").any(|c| c.text("type") == "Ready" && c.text("status") == "True");
        reason = if ready { "Running" } else { "NotReady" }.into();
    }
    reason
}
