//! Whole attempts over small clusters: who would have to go, and what is said where nobody can.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::config::{Options, Settings};
use crate::framework::{Outcome, Profile};
use crate::listers::Listers;
use crate::testing::{node, pod};
use crate::views::BudgetView;

struct Cluster {
    cache: Cache,
    listers: Listers,
    profile: Profile,
}

impl Cluster {
    /// Nodes of 4 CPUs, each in its own `host` and all in one `zone`, and pods: name, node, priority, CPUs.
    fn new(nodes: &[&str], pods: &[(&str, &str, i32, &str)]) -> Self {
        let options = Options::parse(["kube-scheduler"].map(Into::into)).unwrap().options;
        let profile = Settings::from_options(&options).unwrap().profiles[0].build(None).unwrap();
        let mut made = Self { cache: Cache::default(), listers: Listers::default(), profile };
        for name in nodes {
            made.cache
                .set_node(&node(json!({"metadata": {"name": name, "labels": {"host": name, "zone": "z"}},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}})));
        }
        for (name, on, priority, cpu) in pods {
            made.place(name, json!({"nodeName": on, "priority": priority}), cpu, json!({}));
        }
        made
    }

    fn place(&mut self, name: &str, spec: Value, cpu: &str, status: Value) {
        let placed = Arc::new(pod(view(name, spec, cpu, status), &mut self.cache.symbols));
        self.cache.set_pod(placed);
    }

    /// Another pod of an application.
    fn place_as(&mut self, app: &str, name: &str, spec: Value, cpu: &str) {
        let mut view = view(name, spec, cpu, json!({}));
        view["metadata"]["labels"] = json!({"app": app});
        let placed = Arc::new(pod(view, &mut self.cache.symbols));
        self.cache.set_pod(placed);
    }

    fn budget(&self, app: &str, allowed: i32) {
        let view = json!({"metadata": {"name": app, "namespace": "n", "uid": app},
            "spec": {"selector": {"matchLabels": {"app": app}}}, "status": {"disruptionsAllowed": allowed}});
        let budget: BudgetView = serde_json::from_value(view).unwrap();
        self.listers.budgets.insert(Arc::new(budget));
    }

    /// `node: victims`, or what is said.
    fn attempt(&mut self, spec: Value, cpu: &str, status: Value) -> String {
        let incoming = pod(view("new", spec, cpu, status), &mut self.cache.symbols);
        match self.profile.schedule(&mut self.cache, &self.listers, &incoming, &mut 0) {
            Outcome::Node(chosen) => format!("fits {}", chosen.node),
            Outcome::NoNodes => "no nodes".into(),
            Outcome::Unfit(error) => match &error.preemption {
                Some(found) => {
                    let names: Vec<&str> = found.victims.iter().map(|p| p.uid.as_str()).collect();
                    format!("{}: {}", found.node, names.join(" "))
                }
                None => error.message(),
            },
        }
    }
}

fn view(name: &str, spec: Value, cpu: &str, status: Value) -> Value {
    let mut view = json!({"metadata": {"name": name, "uid": name, "namespace": "n", "labels": {"app": name}},
        "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]}, "status": status});
    spec.as_object().unwrap().iter().for_each(|(k, v)| view["spec"][k] = v.clone());
    view
}

fn at(priority: i32) -> Value {
    json!({"priority": priority})
}

#[test]
fn who_has_to_go() {
    for (why, pods, cpu, expected) in [
        ("the only one", vec![("a", "1", 1, "4")], "2", "1: a"),
        (
            "only as many as needed, the least important",
            vec![("a", "1", 1, "2"), ("b", "1", 2, "2")],
            "2",
            "1: a",
        ),
        ("who fits beside stays", vec![("a", "1", 1, "3"), ("b", "1", 2, "1")], "3", "1: a"),
        ("both", vec![("a", "1", 1, "2"), ("b", "1", 2, "2")], "4", "1: b a"),
        ("the node with the less important", vec![("a", "1", 3, "4"), ("b", "2", 2, "4")], "4", "2: b"),
        ("fewer of the same", vec![("a", "1", 2, "2"), ("b", "1", 2, "2"), ("c", "2", 2, "4")], "4", "2: c"),
        ("not those as important", vec![("a", "1", 9, "4"), ("b", "2", 1, "4")], "4", "2: b"),
    ] {
        let nodes: &[&str] = if pods.iter().any(|p| p.1 == "2") { &["1", "2"] } else { &["1"] };
        assert_eq!(Cluster::new(nodes, &pods).attempt(at(9), cpu, json!({})), expected, "{why}");
    }
}

#[test]
fn what_is_said_when_nobody_can_go() {
    let full = [("a", "1", 5, "4"), ("b", "2", 1, "1"), ("c", "3", 9, "4")];
    for (why, spec, cpu, expected) in [
        (
            "none is less important",
            at(1),
            "4",
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
        ),
        (
            "too large for any node",
            at(6),
            "5",
            "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            "it does not want to",
            json!({"priority": 100, "preemptionPolicy": "Never"}),
            "4",
            "0/3 nodes are available: 3 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
        ),
    ] {
        assert_eq!(Cluster::new(&["1", "2", "3"], &full).attempt(spec, cpu, json!({})), expected, "{why}");
    }
    // Ports of a more important pod are in the way still when the less important one is gone.
    let mut cluster = Cluster::new(&["1"], &[("a", "1", 1, "1")]);
    let port = json!({"ports": [{"hostPort": 80}]});
    cluster.place("b", json!({"nodeName": "1", "priority": 50, "containers": [port]}), "0", json!({}));
    assert_eq!(
        cluster.attempt(json!({"priority": 9, "containers": [port]}), "0", json!({})),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
}

#[test]
fn budgets_turn_the_choice() {
    let pods = [("a", "1", 1, "4"), ("b", "2", 2, "4")];
    let mut cluster = Cluster::new(&["1", "2"], &pods);
    cluster.budget("a", 0);
    assert_eq!(cluster.attempt(at(9), "4", json!({})), "2: b");
    cluster.budget("b", 0);
    assert_eq!(cluster.attempt(at(9), "4", json!({})), "1: a");
    // On one node the pod with a spent budget is spared first, though it is less important.
    let mut cluster = Cluster::new(&["1"], &[("a", "1", 1, "2"), ("b", "1", 2, "2")]);
    cluster.budget("a", 0);
    assert_eq!(cluster.attempt(at(9), "2", json!({})), "1: b");
}

#[test]
fn what_looks_at_other_nodes_is_asked_again() {
    let term = |app: &str, key: &str| {
        json!({"priority": 9, "affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}]}}})
    };
    let mut cluster = Cluster::new(&["1"], &[("a", "1", 1, "1"), ("b", "1", 1, "1")]);
    assert_eq!(cluster.attempt(term("a", "host"), "1", json!({})), "1: a");
    // Again: what was counted is as it was.
    assert_eq!(cluster.attempt(term("a", "host"), "1", json!({})), "1: a");
    // In a zone that another node shares, pods of the other node stay in the way.
    let mut cluster = Cluster::new(&["1", "2"], &[("a", "1", 1, "1"), ("b", "2", 1, "1")]);
    cluster.place_as("a", "important", json!({"nodeName": "2", "priority": 20}), "1");
    let said = cluster.attempt(term("a", "zone"), "1", json!({}));
    assert!(
        said.contains("preemption: 0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
        "{said}"
    );
    let spread = json!({"priority": 9, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "host",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "new"}}}]});
    let mut cluster = Cluster::new(&["1", "2"], &[("full", "2", 20, "4")]);
    cluster.place("x", json!({"nodeName": "1", "priority": 1}), "1", json!({}));
    cluster.place_as("new", "twin", json!({"nodeName": "1", "priority": 1}), "1");
    assert_eq!(cluster.attempt(spread, "1", json!({})), "1: twin");
}

#[test]
fn nominated_pods_keep_their_place_from_the_less_important() {
    let mut cluster = Cluster::new(&["1"], &[]);
    let waiting = Arc::new(pod(view("waiting", at(5), "3", json!({})), &mut cluster.cache.symbols));
    cluster.cache.nominations.set(waiting, "1");
    for (priority, expected) in [
        (
            4,
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            5,
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (6, "fits 1"),
    ] {
        assert_eq!(cluster.attempt(at(priority), "2", json!({})), expected);
    }
    assert_eq!(cluster.attempt(at(0), "1", json!({})), "fits 1");
    // Itself it does not keep away.
    let itself = pod(view("waiting", at(5), "3", json!({})), &mut cluster.cache.symbols);
    let outcome = cluster.profile.schedule(&mut cluster.cache, &cluster.listers, &itself, &mut 0);
    assert!(matches!(outcome, Outcome::Node(_)));
}

#[test]
fn while_victims_go_nobody_else_must() {
    let mut cluster = Cluster::new(&["1", "2"], &[("b", "2", 1, "4")]);
    let going = json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]});
    let mut victim = view("a", json!({"nodeName": "1", "priority": 1}), "4", going);
    victim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let victim = Arc::new(pod(victim, &mut cluster.cache.symbols));
    cluster.cache.set_pod(victim);
    assert_eq!(
        cluster.attempt(at(9), "4", json!({"nominatedNodeName": "1"})),
        "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node."
    );
    assert_eq!(cluster.attempt(at(9), "4", json!({"nominatedNodeName": "2"})).split(':').count(), 2);
}
