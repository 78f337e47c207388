//! Tables of the scores that look at the pods of all nodes, computed by hand from upstream's formulas; and that counts
//! which follow pods that come and go are what counting anew gives.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::framework::registry::{Arguments, build};
use crate::framework::{Context, Plugin};
use crate::listers::Listers;
use crate::testing::{node, pod};
use crate::views::{ServiceView, WorkloadView};

struct Cluster {
    cache: Cache,
    listers: Listers,
}

/// Nodes a1, a2 in zone a, b1 in zone b, and `bare` without labels.
fn cluster() -> Cluster {
    let mut cache = Cache::default();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("bare", "")] {
        let labels = match zone {
            "" => json!({}),
            zone => json!({"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name}),
        };
        cache.set_node(&node(json!({"metadata": {"name": name, "labels": labels}})));
    }
    Cluster { cache, listers: Listers::default() }
}

fn app(name: &str, app: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "uid": name, "namespace": "n", "labels": {"app": app}}, "spec": spec})
}

impl Cluster {
    fn on(&mut self, node: &str, name: &str, of: &str, mut spec: Value) {
        spec["nodeName"] = json!(node);
        let placed = Arc::new(pod(app(name, of, spec), &mut self.cache.symbols));
        self.cache.set_pod(placed);
    }

    /// The scores of a1, a2, b1 and bare.
    fn scores(&mut self, plugin: &dyn Plugin, view: Value) -> Option<Vec<i64>> {
        let mut symbols = std::mem::take(&mut self.cache.symbols);
        let pod = pod(view, &mut symbols);
        let context = &mut Context { cache: &self.cache, symbols: &mut symbols, listers: &self.listers };
        let score = plugin.cluster_score(context, &pod);
        self.cache.symbols = symbols;
        let slots: Vec<_> = ["a1", "a2", "b1", "bare"].map(|n| self.cache.slot(n).unwrap()).into();
        score?.scores(&self.cache, &slots)
    }
}

fn plugin(name: &str) -> Arc<dyn Plugin> {
    build(name, &mut Arguments::default(), None).unwrap()
}

fn preferring(kind: &str, weight: i64, of: &str, key: &str) -> Value {
    json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": weight, "podAffinityTerm": {"topologyKey": key, "labelSelector": {"matchLabels": {"app": of}}}}]}}})
}

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

#[test]
fn preferences_between_pods() {
    let affinity = plugin("InterPodAffinity");
    let mut cluster = cluster();
    assert_eq!(cluster.scores(&*affinity, app("p", "web", json!({}))), None);
    cluster.on("a1", "db", "db", json!({}));
    cluster.on("b1", "cache", "cache", json!({}));
    cluster.on("b1", "cache2", "cache", json!({}));
    for (spec, expected) in [
        (preferring("podAffinity", 5, "db", ZONE), Some(vec![100, 100, 0, 0])),
        (preferring("podAffinity", 5, "db", HOST), Some(vec![100, 0, 0, 0])),
        (preferring("podAntiAffinity", 5, "db", ZONE), Some(vec![0, 0, 100, 100])),
        (preferring("podAffinity", 5, "none", ZONE), None),
    ] {
        assert_eq!(cluster.scores(&*affinity, app("p", "web", spec.clone())), expected, "{spec}");
    }
    // 3 for zone a, -2 * 2 for zone b, 0 for none: (x + 4) / 7.
    let mut both = preferring("podAffinity", 3, "db", ZONE);
    both["affinity"]["podAntiAffinity"] =
        preferring("podAntiAffinity", 2, "cache", ZONE)["affinity"]["podAntiAffinity"].clone();
    assert_eq!(cluster.scores(&*affinity, app("p", "web", both)), Some(vec![100, 100, 0, 57]));
    // What pods that are there want counts for one that wants nothing: what they require by 1, what they prefer by
    // its weight.
    let requires = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": HOST, "labelSelector": {"matchLabels": {"app": "web"}}}]}}});
    cluster.on("a2", "fan", "fan", requires);
    cluster.on("b1", "foe", "foe", preferring("podAntiAffinity", 3, "web", HOST));
    assert_eq!(cluster.scores(&*affinity, app("p", "web", json!({}))), Some(vec![75, 100, 0, 75]));
    assert_eq!(cluster.scores(&*affinity, app("p", "other", json!({}))), None);
}

#[test]
fn spreading_by_preference() {
    let spread = plugin("PodTopologySpread");
    let soft = |key: &str, skew: i64| {
        json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "web"}}})
    };
    let mut cluster = cluster();
    for (node, name) in [("a1", "1"), ("a1", "2"), ("b1", "3")] {
        cluster.on(node, name, "web", json!({}));
    }
    for (constraints, expected) in [
        // Two zones: weight ln 4; 2 and 1 pods are 2.77 and 1.39, rounded 3 and 1: 100 * (4 - x) / 3.
        (json!([soft(ZONE, 1)]), Some(vec![33, 33, 100, 0])),
        // Three hosts: weight ln 5; 2, 0, 1 pods are 3.2, 0, 1.6, with skew 2 one more: 4, 1, 3.
        (json!([soft(HOST, 2)]), Some(vec![25, 100, 50, 0])),
        // Both: 2.77 + 3.22 = 6, 2.77, 1.39 + 1.61 = 3.
        (json!([soft(ZONE, 1), soft(HOST, 1)]), Some(vec![50, 100, 100, 0])),
    ] {
        let view = app("p", "web", json!({"topologySpreadConstraints": constraints}));
        assert_eq!(cluster.scores(&*spread, view), expected, "{constraints}");
    }
    let hard = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"});
    assert_eq!(cluster.scores(&*spread, app("p", "web", json!({"topologySpreadConstraints": [hard]}))), None);
}

#[test]
fn spreading_by_default() {
    let spread = plugin("PodTopologySpread");
    let mut cluster = cluster();
    for (node, name) in [("a1", "1"), ("a1", "2"), ("b1", "3")] {
        cluster.on(node, name, "web", json!({}));
    }
    // Neither a service nor a controller: nothing to spread.
    assert_eq!(cluster.scores(&*spread, app("p", "web", json!({}))), None);
    let service: ServiceView = serde_json::from_value(
        json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"selector": {"app": "web"}}}),
    )
    .unwrap();
    cluster.listers.services.insert(Arc::new(service));
    // Hosts: four of them, ln 6 * pods + 2; zones: three with that of none, ln 5 * pods + 4. 2, 0, 1 and no pods are
    // 5.58 + 7.22 = 13, 2 + 7.22 = 9, 3.79 + 5.61 = 9, 0.
    assert_eq!(cluster.scores(&*spread, app("p", "web", json!({}))), Some(vec![0, 30, 30, 100]));
    assert_eq!(cluster.scores(&*spread, app("p", "other", json!({}))), None);
    let set: WorkloadView = serde_json::from_value(json!({"metadata": {"name": "rs", "namespace": "n"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}}}))
    .unwrap();
    cluster.listers.replica_sets.insert(Arc::new(set));
    let mut owned = app("p", "other", json!({}));
    owned["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": "rs", "controller": true}]);
    assert_eq!(cluster.scores(&*spread, owned), Some(vec![0, 30, 30, 100]));
}

/// Whoever follows the pods that come and go comes to what counting anew gives.
#[test]
fn following_is_counting() {
    let mut cluster = cluster();
    let term =
        |of: &str, key: &str| json!([{"topologyKey": key, "labelSelector": {"matchLabels": {"app": of}}}]);
    let mut picky = preferring("podAffinity", 7, "web", ZONE);
    picky["affinity"]["podAntiAffinity"] =
        json!({"requiredDuringSchedulingIgnoredDuringExecution": term("db", HOST)});
    picky["topologySpreadConstraints"] = json!([
        {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}},
        {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let foe = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("web", HOST)}}});
    let plugins = ["PodTopologySpread", "InterPodAffinity"].map(plugin);
    let incoming = pod(app("p", "web", picky), &mut cluster.cache.symbols);
    let prepare = |cluster: &mut Cluster| {
        let mut symbols = std::mem::take(&mut cluster.cache.symbols);
        let context =
            &mut Context { cache: &cluster.cache, symbols: &mut symbols, listers: &cluster.listers };
        let made: Vec<_> = plugins
            .iter()
            .map(|p| {
                (p.cluster_filter(context, &incoming).unwrap(), p.cluster_score(context, &incoming).unwrap())
            })
            .collect();
        cluster.cache.symbols = symbols;
        made
    };
    let (mut followed, mut seen) = (prepare(&mut cluster), cluster.cache.journal().end());
    let slots = cluster.cache.order().to_vec();
    for step in 0..60_usize {
        let name = (step * 7 % 11).to_string();
        if step % 3 == 2 {
            cluster.cache.remove_pod(&name);
        } else {
            let node = ["a1", "b1", "a2", "bare"][step % 4];
            let (of, spec) =
                [("web", json!({})), ("db", foe.clone()), ("db", json!({}))][step % 5 % 3].clone();
            cluster.on(node, &name, of, spec);
        }
        for (filter, score) in &mut followed {
            for moved in cluster.cache.journal().since(seen).unwrap() {
                filter.moved(&cluster.cache, moved);
                score.moved(&cluster.cache, moved);
            }
        }
        seen = cluster.cache.journal().end();
        for ((filter, score), (anew, anew_score)) in followed.iter_mut().zip(&mut prepare(&mut cluster)) {
            let verdicts: Vec<_> = slots.iter().map(|s| filter.filter(*s)).collect();
            assert_eq!(verdicts, slots.iter().map(|s| anew.filter(*s)).collect::<Vec<_>>(), "step {step}");
            assert_eq!(
                score.scores(&cluster.cache, &slots),
                anew_score.scores(&cluster.cache, &slots),
                "step {step}"
            );
        }
    }
}
