//! The plan as a table of cases.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::Role;
use super::plan::*;
use crate::runtime::status::{Container, PodRuntime, Sandbox, State};

pub(crate) fn container(name: &str, state: State, exit_code: i32) -> Container {
    Container {
        id: format!("id-{name}"),
        name: name.to_owned(),
        runtime: "cri-o".into(),
        sandbox: "s".to_owned(),
        state,
        created_at: Timestamp::UNIX_EPOCH,
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: None,
        exit_code,
        image: String::new(),
        image_ref: String::new(),
        reason: String::new(),
        message: String::new(),
        hash: None,
        restart_count: 0,
        grace_period: None,
        pre_stop: None,
        log_path: String::new(),
        user: None,
        resources: None,
        stop_signal: 0,
    }
}

pub(crate) fn running(name: &str) -> Container {
    container(name, State::Running, 0)
}

fn exited(name: &str, code: i32) -> Container {
    container(name, State::Exited, code)
}

pub(crate) fn sandboxed(containers: Vec<Container>) -> PodRuntime {
    let sandbox = Sandbox {
        id: "s".to_owned(),
        attempt: 0,
        ready: true,
        host_network: false,
        created_at: 1,
        ips: vec!["10.0.0.1".to_owned()],
    };
    PodRuntime { sandboxes: vec![sandbox], containers }
}

fn pod(policy: &str, inits: serde_json::Value, containers: &[&str]) -> Pod {
    let containers: Vec<_> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"restartPolicy": policy, "initContainers": inits, "containers": containers}}))
    .unwrap()
}

/// The actions in short: `kill-pod`, `sandbox N`, `stop ID`, `start ROLE INDEX`.
fn short(actions: &Actions) -> String {
    let mut out = Vec::new();
    if actions.kill_pod {
        out.push("kill-pod".to_owned());
    }
    if actions.create_sandbox {
        out.push(format!("sandbox {}", actions.attempt));
    }
    out.extend(actions.kill.iter().map(|kill| format!("stop {}", kill.id)));
    out.extend(actions.start.iter().map(|start| {
        let role = match start.role {
            Role::Init => "init",
            Role::Regular => "c",
            Role::Ephemeral => "e",
        };
        format!("start {role}{}", start.index)
    }));
    out.join(", ")
}

fn check(pod: &Pod, runtime: &PodRuntime, want: &str) {
    assert_eq!(short(&plan(pod, runtime, &|_| ProbeVerdict::default())), want);
}

#[test]
fn sandboxes() {
    let simple = pod("Always", json!([]), &["a", "b"]);
    check(&simple, &PodRuntime::default(), "kill-pod, sandbox 0, start c0, start c1");
    let with_init = pod("Always", json!([{"name": "i"}]), &["a"]);
    check(&with_init, &PodRuntime::default(), "kill-pod, sandbox 0, start init0");
    let mut dead = sandboxed(vec![running("a"), running("b")]);
    dead.sandboxes[0].ready = false;
    check(&simple, &dead, "kill-pod, sandbox 1, start c0, start c1");
    check(&pod("Never", json!([]), &["a", "b"]), &dead, "kill-pod");
    let mut done = sandboxed(vec![exited("a", 0), exited("b", 1)]);
    done.sandboxes[0].ready = false;
    check(&pod("OnFailure", json!([]), &["a", "b"]), &done, "kill-pod, sandbox 1, start c1");
    check(&pod("OnFailure", json!([]), &["a"]), &done, "kill-pod");
    let mut moved = sandboxed(vec![]);
    moved.sandboxes[0].host_network = true;
    check(&simple, &moved, "kill-pod, sandbox 1, start c0, start c1");
}

#[test]
fn restart_policies() {
    for (policy, code, want) in [
        ("Always", 0, "start c0"),
        ("Always", 1, "start c0"),
        ("OnFailure", 1, "start c0"),
        ("OnFailure", 0, "kill-pod"),
        ("Never", 1, "kill-pod"),
    ] {
        check(&pod(policy, json!([]), &["a"]), &sandboxed(vec![exited("a", code)]), want);
    }
    check(&pod("Never", json!([]), &["a", "b"]), &sandboxed(vec![exited("a", 0), running("b")]), "");
    check(&pod("Never", json!([]), &["a", "b"]), &sandboxed(vec![running("a")]), "start c1");
    let unknown = sandboxed(vec![container("a", State::Unknown, 0)]);
    check(&pod("Always", json!([]), &["a"]), &unknown, "stop id-a, start c0");
    check(&pod("Always", json!([]), &["a"]), &sandboxed(vec![container("a", State::Created, 0)]), "start c0");
}

#[test]
fn init_containers_run_in_order() {
    let two = |policy: &str| pod(policy, json!([{"name": "i"}, {"name": "j"}]), &["a"]);
    for (policy, containers, want) in [
        ("Always", vec![], "start init0"),
        ("Always", vec![running("i")], ""),
        ("Always", vec![exited("i", 0)], "start init1"),
        ("Always", vec![exited("j", 0), exited("i", 0)], "start c0"),
        // the first one's remains may be gone already
        ("Always", vec![exited("j", 0)], "start c0"),
        ("Always", vec![exited("i", 1)], "start init0"),
        ("OnFailure", vec![exited("i", 1)], "start init0"),
        ("Never", vec![exited("i", 1)], "kill-pod"),
        ("Always", vec![running("a"), exited("j", 0), exited("i", 0)], ""),
        ("Always", vec![exited("a", 1)], "start c0"),
    ] {
        check(&two(policy), &sandboxed(containers), want);
    }
}

#[test]
fn sidecars_stay_up() {
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]);
    let mixed = pod("Never", sidecar, &["a"]);
    check(&mixed, &sandboxed(vec![running("s")]), "start init1");
    check(&mixed, &sandboxed(vec![exited("i", 0), running("s")]), "start c0");
    check(&mixed, &sandboxed(vec![running("a"), exited("i", 0), exited("s", 1)]), "start init0");
    check(&mixed, &sandboxed(vec![exited("a", 0), exited("i", 0), running("s")]), "kill-pod");
    let probed =
        json!([{"name": "s", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}]);
    let probed = pod("Always", probed, &["a"]);
    check(&probed, &sandboxed(vec![running("s")]), "");
    let started = |_: &str| ProbeVerdict { startup: Some(true), liveness: None };
    assert_eq!(short(&plan(&probed, &sandboxed(vec![running("s")]), &started)), "start c0");
}

#[test]
fn probes_and_changes_restart() {
    let failed = |_: &str| ProbeVerdict { startup: None, liveness: Some(false) };
    let up = sandboxed(vec![running("a")]);
    let actions = plan(&pod("Always", json!([]), &["a"]), &up, &failed);
    assert_eq!(short(&actions), "stop id-a, start c0");
    assert_eq!(actions.kill[0].message, "Container a failed liveness probe, will be restarted");
    let actions = plan(&pod("Never", json!([]), &["a"]), &up, &failed);
    assert_eq!(short(&actions), "kill-pod, stop id-a");
    let mut other = running("a");
    other.hash = Some(1);
    check(&pod("Never", json!([]), &["a"]), &sandboxed(vec![other]), "stop id-a, start c0");
    let mut same = running("a");
    let spec = pod("Never", json!([]), &["a"]);
    same.hash = Some(container_hash(&spec.spec.as_ref().unwrap().containers[0]));
    check(&spec, &sandboxed(vec![same]), "");
}

#[test]
fn hashes_as_upstream() {
    for (name, image, want) in
        [("c", "registry.k8s.io/pause:3.10.2", 0x0d7e_0a3c), ("web", "a&b<x>", 0x05e0_2074)]
    {
        let spec = serde_json::from_value(json!({"name": name, "image": image})).unwrap();
        assert_eq!(container_hash(&spec), want);
    }
}

#[test]
fn ephemeral_containers_start_once() {
    let mut spec = pod("Always", json!([]), &["a"]);
    spec.spec.as_mut().unwrap().ephemeral_containers =
        serde_json::from_value(json!([{"name": "d"}])).unwrap();
    check(&spec, &sandboxed(vec![running("a")]), "start e0");
    check(&spec, &sandboxed(vec![running("a"), exited("d", 1)]), "");
}

#[test]
fn back_off_doubles_and_is_forgotten() {
    let spec = serde_json::from_value(json!({"name": "c", "image": "i"})).unwrap();
    let mut backoffs = Backoffs::new(Duration::from_secs(10), Duration::from_secs(300));
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    assert_eq!(backoffs.restart(&spec, at(0), at(0)), Ok(()));
    assert_eq!(backoffs.restart(&spec, at(1), at(1)), Err((Duration::from_secs(10), at(11))));
    assert_eq!(backoffs.restart(&spec, at(1), at(11)), Ok(()));
    assert_eq!(backoffs.restart(&spec, at(12), at(12)), Err((Duration::from_secs(20), at(32))));
    let mut now = 100;
    for _ in 0..8 {
        now += 400;
        assert_eq!(backoffs.restart(&spec, at(now - 300), at(now)), Ok(()));
    }
    assert_eq!(
        backoffs.restart(&spec, at(now + 1), at(now + 2)),
        Err((Duration::from_secs(300), at(now + 301)))
    );
    assert_eq!(backoffs.restart(&spec, at(now + 700), at(now + 700)), Ok(()));
    assert_eq!(
        backoffs.restart(&spec, at(now + 701), at(now + 701)),
        Err((Duration::from_secs(10), at(now + 711)))
    );
}
