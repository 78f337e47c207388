#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::config::{Options, Settings};
use crate::testing::{node, pod};

fn profile() -> Profile {
    let options = Options::parse(["kube-scheduler"].map(Into::into)).unwrap().options;
    Settings::from_options(&options).unwrap().profiles[0].build(None).unwrap()
}

fn cluster(nodes: Vec<Value>) -> Cache {
    let mut cache = Cache::default();
    nodes.into_iter().for_each(|n| cache.set_node(&node(n)));
    cache
}

fn plain(name: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}})
}

fn with_cpu(cpu: &str) -> Value {
    json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}})
}

fn run(profile: &mut Profile, cache: &mut Cache, view: Value, start: &mut usize) -> Outcome {
    let pod = pod(view, &mut cache.symbols);
    profile.schedule(cache, &Volumes::default(), &pod, start)
}

fn message(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unfit(error) => error.message(),
        other => format!("{other:?}"),
    }
}

#[test]
fn how_many_nodes_are_enough() {
    for (nodes, percentage, expected) in [
        (50, 0, 50),
        (99, 10, 99),
        (100, 0, 100),
        (1000, 0, 420),
        (5000, 0, 500),
        (6000, 0, 300),
        (10_000, 0, 500),
        (1000, 10, 100),
        (5000, 100, 5000),
    ] {
        assert_eq!(enough(nodes, percentage), expected, "{nodes} {percentage}");
    }
}

#[test]
fn messages_for_pods_that_fit_nowhere() {
    let mut tainted = plain("t");
    tainted["spec"] = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let mut cordoned = plain("c");
    cordoned["spec"] = json!({"unschedulable": true});
    let mut cache = cluster(vec![plain("a"), tainted, cordoned]);
    let profile = &mut profile();
    for (view, expected) in [
        (
            with_cpu("5"),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            json!({"spec": {"nodeSelector": {"x": "y"}, "containers": []}}),
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            json!({"spec": {"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["t"]}]}]}}}}}),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            json!({"metadata": {"namespace": "n"}, "spec": {"containers": [], "volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}}),
            "0/3 nodes are available: persistentvolumeclaim \"c\" not found. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
    ] {
        assert_eq!(message(run(profile, &mut cache, view, &mut 0)), expected);
    }
    assert_eq!(message(run(profile, &mut Cache::default(), with_cpu("1"), &mut 0)), "NoNodes");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let mut cache = cluster(vec![plain("a")]);
    for (spec, expected) in [
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "PodTopologySpread",
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]}}}),
            "InterPodAffinity",
        ),
        (json!({"resourceClaims": [{"name": "c"}]}), "DynamicResources"),
    ] {
        let said = message(run(&mut profile(), &mut cache, json!({"spec": spec}), &mut 0));
        assert!(said.contains(expected), "{said}");
    }
    let soft = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}]}});
    assert!(matches!(run(&mut profile(), &mut cache, soft, &mut 0), Outcome::Node(_)));
}

#[test]
fn equal_pods_share_verdicts_and_still_see_each_other() {
    let mut cache = cluster((0..3).map(|n| plain(&format!("n{n}"))).collect());
    let (profile, mut start) = (&mut profile(), 0);
    let mut places: HashMap<String, usize> = HashMap::new();
    for n in 0..12 {
        let mut view = with_cpu("1");
        view["metadata"]["uid"] = json!(format!("p{n}"));
        let mut one = pod(view, &mut cache.symbols);
        let Outcome::Node(chosen) = profile.schedule(&mut cache, &Volumes::default(), &one, &mut start)
        else {
            panic!("full at {n}")
        };
        one.node_name = chosen.node.clone();
        *places.entry(chosen.node.to_string()).or_default() += 1;
        cache.assume(std::sync::Arc::new(one));
        assert_eq!(profile.classes.len(), 1);
    }
    assert_eq!(places.values().copied().collect::<Vec<_>>(), [4, 4, 4]);
    let last = message(run(profile, &mut cache, with_cpu("1"), &mut start));
    assert!(last.starts_with("0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."), "{last}");
}

#[test]
fn cycles_go_around_the_nodes() {
    let mut cache = cluster((0..200).map(|n| plain(&format!("n{n:03}"))).collect());
    let (profile, mut start) = (&mut profile(), 0);
    let mut starts = Vec::new();
    for _ in 0..3 {
        let Outcome::Node(chosen) = run(profile, &mut cache, with_cpu("1"), &mut start) else {
            panic!("no node")
        };
        assert_eq!((chosen.feasible, chosen.evaluated), (100, 100));
        starts.push(start);
    }
    assert_eq!(starts, [100, 0, 100]);
}

#[test]
fn ties_are_broken_at_random() {
    let mut cache = cluster((0..4).map(|n| plain(&format!("n{n}"))).collect());
    let profile = &mut profile();
    let mut seen = HashSet::new();
    for _ in 0..400 {
        if let Outcome::Node(chosen) = run(profile, &mut cache, with_cpu("1"), &mut 0) {
            seen.insert(chosen.node);
        }
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_nominated_node_that_fits_is_taken() {
    let mut cache = cluster((0..4).map(|n| plain(&format!("n{n}"))).collect());
    for _ in 0..10 {
        let mut view = with_cpu("1");
        view["status"] = json!({"nominatedNodeName": "n2"});
        let Outcome::Node(chosen) = run(&mut profile(), &mut cache, view, &mut 0) else { panic!("no node") };
        assert_eq!(chosen.node, "n2");
    }
}
