//! Statuses as a table of cases.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use serde_json::{Value, json};

use super::containers::Reasons;
use super::generate::{Health, Input, generate};
use crate::pod::plan_tests::{container, running, sandboxed};
use crate::runtime::status::{PodRuntime, State};

fn pod(policy: &str, spec: Value) -> Pod {
    let mut spec = spec;
    spec["restartPolicy"] = json!(policy);
    serde_json::from_value(json!({"metadata": {"name": "p", "generation": 3}, "spec": spec})).unwrap()
}

fn one(policy: &str) -> Pod {
    pod(policy, json!({"containers": [{"name": "c", "image": "i"}]}))
}

struct Case {
    reasons: Reasons,
    old: PodStatus,
    healthy: bool,
    terminal: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self { reasons: Reasons::new(), old: PodStatus::default(), healthy: true, terminal: false }
    }
}

impl Case {
    fn run(&self, pod: &Pod, runtime: &PodRuntime) -> PodStatus {
        let healthy = self.healthy;
        let health = move |_: &Container, _: &str| Health { started: true, ready: healthy };
        let input = Input {
            runtime,
            old: &self.old,
            reasons: &self.reasons,
            health: &health,
            host_ips: &["10.0.0.9".to_owned()],
            terminal: self.terminal,
            now: Timestamp::from_second(100).unwrap(),
        };
        generate(pod, &input)
    }
}

fn phase(pod: &Pod, runtime: &PodRuntime) -> String {
    Case::default().run(pod, runtime).phase.unwrap()
}

fn exited(name: &str, code: i32) -> crate::runtime::status::Container {
    container(name, State::Exited, code)
}

fn condition(status: &PodStatus, kind: &str) -> (String, String) {
    let all = status.conditions.as_ref().unwrap();
    let found = all.iter().find(|condition| condition.type_ == kind).unwrap();
    (found.status.clone(), found.reason.clone().unwrap_or_default())
}

#[test]
fn phases() {
    for (policy, containers, want) in [
        ("Always", vec![], "Pending"),
        ("Always", vec![running("c")], "Running"),
        ("Always", vec![exited("c", 1)], "Running"),
        ("OnFailure", vec![exited("c", 1)], "Running"),
        ("OnFailure", vec![exited("c", 0)], "Succeeded"),
        ("Never", vec![exited("c", 0)], "Succeeded"),
        ("Never", vec![exited("c", 1)], "Failed"),
    ] {
        assert_eq!(phase(&one(policy), &sandboxed(containers)), want, "{policy}");
    }
    let ending = Case { terminal: true, ..Case::default() };
    assert_eq!(ending.run(&one("Always"), &sandboxed(vec![exited("c", 137)])).phase.unwrap(), "Failed");
    assert_eq!(ending.run(&one("Always"), &sandboxed(vec![exited("c", 0)])).phase.unwrap(), "Succeeded");
}

#[test]
fn ids_name_the_runtime() {
    let status = Case::default().run(&one("Always"), &sandboxed(vec![exited("c", 1)]));
    let status = &status.container_statuses.unwrap()[0];
    assert_eq!(status.container_id.as_deref(), Some("cri-o://id-c"));
    let ended = status.state.clone().unwrap().terminated.unwrap();
    assert_eq!(ended.container_id.as_deref(), Some("cri-o://id-c"));
}

#[test]
fn init_containers_hold_the_pod() {
    let spec =
        json!({"initContainers": [{"name": "i", "image": "i"}], "containers": [{"name": "c", "image": "i"}]});
    let always = pod("Always", spec.clone());
    let status = Case::default().run(&always, &sandboxed(vec![running("i")]));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(condition(&status, "Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
    assert_eq!(phase(&pod("Never", spec), &sandboxed(vec![exited("i", 1)])), "Failed");
    let status = Case::default().run(&always, &sandboxed(vec![running("c"), exited("i", 0)]));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(condition(&status, "Initialized").0, "True");
    assert!(status.init_container_statuses.unwrap()[0].ready);
}

#[test]
fn conditions_follow_the_containers() {
    let status = Case::default().run(&one("Always"), &sandboxed(vec![running("c")]));
    for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
        assert_eq!(condition(&status, kind).0, "True", "{kind}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(status.observed_generation, Some(3));
    let sick = Case { healthy: false, ..Case::default() };
    let status = sick.run(&one("Always"), &sandboxed(vec![running("c")]));
    assert_eq!(condition(&status, "Ready"), ("False".into(), "ContainersNotReady".into()));
    let status = Case::default().run(&one("Never"), &sandboxed(vec![exited("c", 0)]));
    assert_eq!(condition(&status, "Ready"), ("False".into(), "PodCompleted".into()));
    assert_eq!(condition(&status, "Initialized"), ("True".into(), "PodCompleted".into()));
    let status = Case::default().run(&one("Always"), &PodRuntime::default());
    assert_eq!(condition(&status, "PodReadyToStartContainers").0, "False");
}

#[test]
fn readiness_gates() {
    let mut gated = pod(
        "Always",
        json!({"containers": [{"name": "c", "image": "i"}],
        "readinessGates": [{"conditionType": "g"}]}),
    );
    let up = sandboxed(vec![running("c")]);
    let status = Case::default().run(&gated, &up);
    assert_eq!(condition(&status, "Ready"), ("False".into(), "ReadinessGatesNotReady".into()));
    assert_eq!(condition(&status, "ContainersReady").0, "True");
    gated.status = serde_json::from_value(json!({"conditions": [{"type": "g", "status": "True"}]})).unwrap();
    assert_eq!(condition(&Case::default().run(&gated, &up), "Ready").0, "True");
}

#[test]
fn waiting_reasons_and_last_states() {
    let reasons = Reasons::from([("c".to_owned(), ("CrashLoopBackOff".to_owned(), "back-off".to_owned()))]);
    let crashing = Case { reasons, ..Case::default() };
    let status = crashing.run(&one("Always"), &sandboxed(vec![exited("c", 1)]));
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!(container.state.clone().unwrap().waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(container.last_state.clone().unwrap().terminated.unwrap().exit_code, 1);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let again = sandboxed(vec![running("c"), exited("c", 7)]);
    let status = Case::default().run(&one("Always"), &again);
    let last = status.container_statuses.unwrap()[0].last_state.clone().unwrap();
    assert_eq!(last.terminated.unwrap().exit_code, 7);
}

#[test]
fn what_was_reported_stays() {
    let old: PodStatus =
        serde_json::from_value(json!({"phase": "Running", "startTime": "1970-01-01T00:00:05Z",
        "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 2,
            "state": {"running": {}}}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:09Z"}]}))
        .unwrap();
    let case = Case { old, ..Case::default() };
    let status = case.run(&one("Always"), &sandboxed(vec![running("c")]));
    assert_eq!(status.start_time.as_ref().unwrap().0.as_second(), 5);
    let ready = status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.last_transition_time.as_ref().unwrap().0.as_second(), 9);
    // the container was lost: it counts as ended, and the pod does not fall back to Pending
    let status = case.run(&one("Always"), &sandboxed(vec![]));
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!((container.restart_count, status.phase.as_deref()), (3, Some("Running")));
    assert_eq!(container.last_state.clone().unwrap().terminated.unwrap().exit_code, 137);
}
