//! Claims and volumes on small clusters: where a pod can go, and which volumes it gets there.

use serde_json::{Value, json};

use super::*;
use crate::cache::Cache;
use crate::framework::ClusterFilter;
use crate::plugins::volume_restrictions::VolumeRestrictions;
use crate::plugins::volume_zone::VolumeZone;
use crate::testing::{node, pod};
use crate::views::{ClaimView, StorageClassView, VolumeView};

struct Case {
    cache: Cache,
    listers: Listers,
    plugin: VolumeBinding,
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// Nodes a and b, each labelled with its zone; classes `late`, which provisions in zone a only, and `local`, which
/// does not; both wait for the first consumer.
fn case() -> Case {
    let (mut cache, listers) = (Cache::default(), Listers::default());
    for name in ["a", "b"] {
        cache.set_node(&node(
            json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": name}}}),
        ));
    }
    for (name, provisioner) in [("late", "x.io/p"), ("local", "kubernetes.io/no-provisioner")] {
        let class: Arc<StorageClassView> =
            read(json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [
                {"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["a"]}]}]}));
        listers.classes.insert(class);
    }
    Case { cache, listers, plugin: VolumeBinding::new(None, BIND_TIMEOUT) }
}

impl Case {
    fn claim(&self, name: &str, class: &str, size: &str, more: Value) {
        let mut view = json!({"metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
        more.as_object().unwrap().iter().for_each(|(k, v)| view["metadata"][k] = v.clone());
        self.listers.claims.insert(read::<ClaimView>(view));
    }

    fn volume(&self, name: &str, zone: &str, size: &str, claim: Value) {
        let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}]}]}});
        self.listers.volumes.insert(read::<VolumeView>(json!({"metadata": {"name": name, "uid": name,
                "labels": {"topology.kubernetes.io/zone": format!("{zone}__x")}},
            "spec": {"storageClassName": "local", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
                "nodeAffinity": affinity, "claimRef": claim},
            "status": {"phase": "Available"}})));
    }

    fn pod(&mut self, name: &str, claims: &[&str]) -> Pod {
        let volumes: Vec<Value> =
            claims.iter().map(|c| json!({"name": c, "persistentVolumeClaim": {"claimName": c}})).collect();
        let view = json!({"metadata": {"name": name, "uid": name, "namespace": "n"},
            "spec": {"containers": [], "volumes": volumes}});
        pod(view, &mut self.cache.symbols)
    }

    /// `a: volumes`, with `+` where something is provisioned, for each node that fits; else why not.
    fn plans(&mut self, claims: &[&str]) -> String {
        let pod = self.pod("p", claims);
        let mut symbols = std::mem::take(&mut self.cache.symbols);
        let context = &mut Context { cache: &self.cache, symbols: &mut symbols, listers: &self.listers };
        let found = self.plugin.pre_filter(context, &pod);
        self.cache.symbols = symbols;
        let filter = match found {
            PreFilter::Filter(filter) => filter,
            PreFilter::Reject(why) => return why.reasons.join(", "),
            PreFilter::Skip | PreFilter::Only(..) => return "skipped".into(),
        };
        let nodes = ["a", "b"].map(|name| self.cache.node(self.cache.slot(name).unwrap()));
        let mut said = Vec::new();
        for node in nodes.iter().filter(|n| filter.filter(n).is_ok()) {
            let tried = self.plugin.tried.lock();
            let plans = tried.get("p").map(|(plans, _)| plans.lock().clone()).unwrap_or_default();
            let mut plan = plans.get(&node.name).map_or(String::new(), |plan| {
                plan.bind.iter().map(|(_, v)| v.metadata.name.as_str()).collect::<Vec<_>>().join(",")
                    + &"+".repeat(plan.provision.len())
            });
            plan.insert_str(0, &format!("{}:", node.name));
            said.push(plan);
        }
        said.join(" ")
    }
}

#[test]
fn where_claims_can_be_had() {
    let mut case = case();
    case.claim("small", "local", "1Gi", json!({}));
    case.claim("large", "local", "5Gi", json!({}));
    case.claim("late", "late", "1Gi", json!({}));
    case.claim("told", "late", "1Gi", json!({"annotations": {"volume.kubernetes.io/selected-node": "a"}}));
    case.claim(
        "elsewhere",
        "late",
        "1Gi",
        json!({"annotations": {"volume.kubernetes.io/selected-node": "b"}}),
    );
    assert_eq!(case.plans(&["small"]), "");
    case.volume("a1", "a", "1Gi", json!(null));
    case.volume("a9", "a", "9Gi", json!(null));
    case.volume("b5", "b", "5Gi", json!(null));
    case.volume("b2", "b", "2Gi", json!({"name": "other", "namespace": "n", "uid": "other"}));
    for (claims, expected) in [
        // The smallest that is large enough.
        (&["small"][..], "a:a1 b:b5"),
        (&["large"], "a:a9 b:b5"),
        // Smaller claims choose first, and none gets what another has.
        (&["large", "small"], "a:a1,a9"),
        // Provisioned where the class allows it.
        (&["late"], "a:+"),
        (&["told"], "a:+"),
        (&["elsewhere"], ""),
        (&["late", "small"], "a:a1+"),
        (&["none"], "persistentvolumeclaim \"none\" not found"),
    ] {
        assert_eq!(case.plans(claims), expected, "{claims:?}");
    }
    // One that was made for the claim goes first, and only that.
    case.volume("reserved", "b", "9Gi", json!({"name": "small", "namespace": "n"}));
    assert_eq!(case.plans(&["small"]), "b:reserved");
}

#[test]
fn what_a_pod_on_its_way_gets_is_taken() {
    let mut case = case();
    case.claim("one", "local", "1Gi", json!({}));
    case.claim("two", "local", "1Gi", json!({}));
    case.volume("a1", "a", "1Gi", json!(null));
    assert_eq!(case.plans(&["one"]), "a:a1");
    let pod = case.pod("p", &["one"]);
    assert!(case.plugin.reserve(&pod, "a").is_ok());
    assert_eq!(case.plans(&["two"]), "");
    assert_eq!(case.plans(&["one"]), "a:a1");
    case.plugin.unreserve(&pod, "a");
    assert_eq!(case.plans(&["two"]), "a:a1");
}

#[test]
fn zones_of_volumes() {
    let mut case = case();
    case.volume("v", "a", "1Gi", json!(null));
    case.listers.claims.insert(read::<ClaimView>(
        json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"volumeName": "v"}}),
    ));
    let pod = case.pod("p", &["c"]);
    let mut symbols = std::mem::take(&mut case.cache.symbols);
    let context = &mut Context { cache: &case.cache, symbols: &mut symbols, listers: &case.listers };
    let PreFilter::Filter(filter) = VolumeZone.pre_filter(context, &pod) else { panic!("no filter") };
    let fits = ["a", "b"].map(|n| filter.filter(case.cache.node(case.cache.slot(n).unwrap())).is_ok());
    assert_eq!(fits, [true, false]);
}

#[test]
fn exclusive_claims() {
    let mut case = case();
    case.listers.claims.insert(read::<ClaimView>(json!({"metadata": {"name": "c", "namespace": "n"},
        "spec": {"accessModes": ["ReadWriteOncePod"]}})));
    let mut user = case.pod("user", &["c"]);
    user.node_name = "a".into();
    case.cache.set_pod(Arc::new(user));
    let pod = case.pod("p", &["c"]);
    let mut symbols = std::mem::take(&mut case.cache.symbols);
    let context = &mut Context { cache: &case.cache, symbols: &mut symbols, listers: &case.listers };
    let mut filter: Box<dyn ClusterFilter> = VolumeRestrictions.cluster_filter(context, &pod).unwrap();
    assert!(filter.filter(1).is_err());
    let seen = case.cache.journal().end();
    case.cache.remove_pod("user");
    case.cache.journal().since(seen).unwrap().for_each(|moved| filter.moved(&case.cache, moved));
    assert!(filter.filter(1).is_ok());
}
