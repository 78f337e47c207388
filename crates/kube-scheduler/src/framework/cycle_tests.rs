//! Whole cycles over small clusters: who fits where, and what is said.

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
    profile.schedule(cache, &Listers::default(), &pod, start)
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
            "0/3 nodes are available: persistentvolumeclaim \"c\" not found. not found",
        ),
    ] {
        assert_eq!(message(run(profile, &mut cache, view, &mut 0)), expected);
    }
    assert_eq!(message(run(profile, &mut Cache::default(), with_cpu("1"), &mut 0)), "NoNodes");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let mut cache = cluster(vec![plain("a")]);
    let said = message(run(
        &mut profile(),
        &mut cache,
        json!({"spec": {"resourceClaims": [{"name": "c"}]}}),
        &mut 0,
    ));
    assert!(said.contains("DynamicResources"), "{said}");
}

/// Three nodes in two zones: a1 and a2 in a, b1 in b.
fn zones() -> Cache {
    let labelled = |name: &str, zone: &str| {
        let mut view = plain(name);
        view["metadata"]["labels"] = json!({"zone": zone, "host": name});
        view
    };
    let mut bare = plain("bare");
    bare["metadata"]["labels"] = json!({});
    cluster(vec![labelled("a1", "a"), labelled("a2", "a"), labelled("b1", "b"), bare])
}

/// A pod in a namespace with a label `app`, and the rest of its specification.
fn app(name: &str, namespace: &str, app: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "uid": name, "namespace": namespace, "labels": {"app": app}}, "spec": spec})
}

fn on(cache: &mut Cache, node: &str, mut view: Value) {
    view["spec"]["nodeName"] = json!(node);
    let placed = std::sync::Arc::new(pod(view, &mut cache.symbols));
    cache.set_pod(placed);
}

/// The nodes that a pod fits, in many tries.
fn fitting(cache: &mut Cache, view: &Value) -> String {
    let profile = &mut profile();
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..60 {
        if let Outcome::Node(chosen) = run(profile, cache, view.clone(), &mut 0) {
            found.insert(chosen.node.to_string());
        }
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

fn affinity(kind: &str, app: &str, key: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}]}}})
}

#[test]
fn pods_keep_together_and_apart() {
    let mut cache = zones();
    let wants = app("p", "n", "web", affinity("podAffinity", "db", "zone"));
    assert_eq!(fitting(&mut cache, &wants), "");
    assert!(
        message(run(&mut profile(), &mut cache, wants.clone(), &mut 0))
            .contains("4 node(s) didn't match pod affinity rules")
    );
    // The first of a group that likes itself goes anywhere with the label.
    assert_eq!(
        fitting(&mut cache, &app("p", "n", "web", affinity("podAffinity", "web", "zone"))),
        "a1 a2 b1"
    );
    on(&mut cache, "a1", app("db", "n", "db", json!({})));
    on(&mut cache, "b1", app("elsewhere", "other", "db", json!({})));
    assert_eq!(fitting(&mut cache, &wants), "a1 a2");
    assert_eq!(
        fitting(&mut cache, &app("p", "n", "web", affinity("podAntiAffinity", "db", "zone"))),
        "b1 bare"
    );
    assert_eq!(
        fitting(&mut cache, &app("p", "n", "web", affinity("podAntiAffinity", "db", "host"))),
        "a2 b1 bare"
    );
    let mut both = affinity("podAntiAffinity", "db", "zone");
    let term = &mut both["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    term["namespaceSelector"] = json!({});
    assert_eq!(fitting(&mut cache, &app("p", "n", "web", both)), "bare");
}

#[test]
fn pods_that_are_there_keep_others_away() {
    let mut cache = zones();
    let (profile, plain) = (&mut profile(), app("p", "n", "web", json!({})));
    assert!(matches!(run(profile, &mut cache, plain.clone(), &mut 0), Outcome::Node(_)));
    on(&mut cache, "a1", app("lonely", "n", "db", affinity("podAntiAffinity", "web", "zone")));
    assert_eq!(fitting(&mut cache, &plain), "b1 bare");
    assert_eq!(fitting(&mut cache, &app("p", "other", "web", json!({}))), "a1 a2 b1 bare");
    // What was known of the class before does not hold any more.
    for _ in 0..20 {
        let Outcome::Node(chosen) = run(profile, &mut cache, plain.clone(), &mut 0) else {
            panic!("no node")
        };
        assert!(!chosen.node.starts_with('a'), "{}", chosen.node);
    }
    cache.remove_pod("lonely");
    assert_eq!(fitting(&mut cache, &plain), "a1 a2 b1 bare");
}

#[test]
fn pods_are_spread() {
    let spread = |more: Value| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}});
        more.as_object().unwrap().iter().for_each(|(k, v)| constraint[k] = v.clone());
        json!({"topologySpreadConstraints": [constraint]})
    };
    let mut cache = zones();
    on(&mut cache, "a1", app("1", "n", "web", json!({})));
    let web = |spec: Value| app("p", "n", "web", spec);
    for (view, expected) in [
        (web(spread(json!({}))), "b1"),
        (web(spread(json!({"maxSkew": 2}))), "a1 a2 b1"),
        (web(spread(json!({"topologyKey": "host"}))), "a2 b1"),
        (web(spread(json!({"minDomains": 3}))), "b1"),
        // Another's constraint about these pods: it does not count itself.
        (app("p", "n", "other", spread(json!({}))), "a1 a2 b1"),
        (app("p", "elsewhere", "web", spread(json!({}))), "a1 a2 b1"),
        // Only a preference, but the only one that tells the nodes apart.
        (web(spread(json!({"whenUnsatisfiable": "ScheduleAnyway"}))), "b1"),
    ] {
        assert_eq!(fitting(&mut cache, &view), expected, "{view}");
    }
    let mut only_a = spread(json!({}));
    only_a["nodeSelector"] = json!({"zone": "a"});
    // Zone b does not count where the pod cannot go.
    assert_eq!(fitting(&mut cache, &web(only_a.clone())), "a1 a2");
    only_a["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Ignore");
    assert_eq!(fitting(&mut cache, &web(only_a)), "");
    let said = message(run(&mut profile(), &mut cache, web(spread(json!({"topologyKey": "none"}))), &mut 0));
    assert!(
        said.contains("4 node(s) didn't match pod topology spread constraints (missing required label)"),
        "{said}"
    );
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
        let Outcome::Node(chosen) = profile.schedule(&mut cache, &Listers::default(), &one, &mut start)
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
