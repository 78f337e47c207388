//! Tables: the verdict or score of one plugin about one node, as upstream's formulas give them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::framework::registry::{Arguments, build};
use crate::framework::{Context, Plugin, PreFilter, Rejection};
use crate::listers::Listers;
use crate::plugins::node_resources::{NodeResourcesBalancedAllocation, NodeResourcesFit, Strategy, Weighted};
use crate::testing::{node, pod};

/// The first of the nodes is judged; `pods` are on it.
struct Case {
    cache: Cache,
}

impl Case {
    fn new(nodes: Vec<Value>, pods: Vec<Value>) -> Self {
        let mut cache = Cache::default();
        nodes.into_iter().for_each(|n| cache.set_node(&node(n)));
        for (at, mut view) in pods.into_iter().enumerate() {
            view["metadata"] = json!({"name": at.to_string(), "uid": at.to_string()});
            view["spec"]["nodeName"] = json!("n");
            let placed = Arc::new(pod(view, &mut cache.symbols));
            cache.set_pod(placed);
        }
        Self { cache }
    }

    fn filter(&mut self, plugin: &dyn Plugin, view: Value) -> Result<(), Rejection> {
        let mut symbols = std::mem::take(&mut self.cache.symbols);
        let pod = pod(view, &mut symbols);
        let context =
            &mut Context { cache: &self.cache, symbols: &mut symbols, listers: &Listers::default() };
        let prepared = plugin.pre_filter(context, &pod);
        self.cache.symbols = symbols;
        match prepared {
            PreFilter::Skip => Ok(()),
            PreFilter::Reject(rejection) => Err(rejection),
            PreFilter::Filter(filter) => filter.filter(self.node()),
            PreFilter::Only(names, filter) => {
                let named = names.contains("n");
                if named {
                    filter.filter(self.node())
                } else {
                    Err(Rejection::unresolvable("other nodes only"))
                }
            }
        }
    }

    fn score(&mut self, plugin: &dyn Plugin, view: Value) -> Option<i64> {
        let mut symbols = std::mem::take(&mut self.cache.symbols);
        let pod = pod(view, &mut symbols);
        let context =
            &mut Context { cache: &self.cache, symbols: &mut symbols, listers: &Listers::default() };
        let score = plugin.pre_score(context, &pod);
        self.cache.symbols = symbols;
        score.map(|s| s.score(&self.cache, self.node()))
    }

    fn node(&self) -> &crate::cache::NodeInfo {
        self.cache.node(self.cache.slot("n").unwrap())
    }
}

fn plugin(name: &str) -> Arc<dyn Plugin> {
    build(name, &mut Arguments::default(), None).unwrap()
}

fn sized(cpu: &str, memory: &str) -> Value {
    json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "3", "x.io/gpu": "2"}}})
}

fn asks(requests: Value) -> Value {
    json!({"spec": {"containers": [{"resources": {"requests": requests}}]}})
}

#[test]
fn fit() {
    let fit = plugin("NodeResourcesFit");
    for (pods, request, expected) in [
        (vec![], json!({"cpu": "4", "memory": "8Gi"}), ""),
        (vec![json!({"cpu": "1"})], json!({"cpu": "3001m"}), "Insufficient cpu"),
        (
            vec![json!({"cpu": "1"})],
            json!({"cpu": "5", "memory": "9Gi"}),
            "!Insufficient cpu, Insufficient memory",
        ),
        (vec![json!({"memory": "8Gi"})], json!({"cpu": "1"}), ""),
        (vec![json!({}), json!({}), json!({})], json!({}), "Too many pods"),
        (vec![json!({"x.io/gpu": "1"})], json!({"x.io/gpu": "2"}), "Insufficient x.io/gpu"),
        (vec![], json!({"x.io/fpga": "1"}), "!Insufficient x.io/fpga"),
        (vec![], json!({"x.io/fpga": "0"}), ""),
        (vec![], json!({"ephemeral-storage": "1"}), "!Insufficient ephemeral-storage"),
    ] {
        let mut case = Case::new(vec![sized("4", "8Gi")], pods.into_iter().map(asks).collect());
        let found = match case.filter(&*fit, asks(request.clone())) {
            Ok(()) => String::new(),
            Err(r) => format!("{}{}", if r.unresolvable { "!" } else { "" }, r.reasons.join(", ")),
        };
        assert_eq!(found, expected, "{request}");
    }
}

#[test]
fn extended_resources_can_be_ignored() {
    let fit = NodeResourcesFit {
        ignored: vec!["x.io/a".into()],
        ignored_groups: vec!["y.io".into()],
        ..NodeResourcesFit::default()
    };
    let mut case = Case::new(vec![sized("4", "8Gi")], vec![]);
    assert!(case.filter(&fit, asks(json!({"x.io/a": "1", "y.io/b": "1"}))).is_ok());
    assert!(case.filter(&fit, asks(json!({"x.io/b": "1"}))).is_err());
}

#[test]
fn allocation_scores() {
    // Four CPUs and 10000 bytes; what is asked for is explicit, so that no default counts.
    let with = |cpu: &str, memory: &str| asks(json!({"cpu": cpu, "memory": memory}));
    let strategy = |strategy, resources: &[(&str, i64)]| NodeResourcesFit {
        strategy,
        resources: resources
            .iter()
            .map(|(name, weight)| Weighted { name: (*name).into(), weight: *weight })
            .collect(),
        ..NodeResourcesFit::default()
    };
    let both = &[("cpu", 1), ("memory", 1)][..];
    for (plugin, pods, expected) in [
        // (4000-3000)*100/4000 = 25, (10000-5000)*100/10000 = 50
        (strategy(Strategy::LeastAllocated, both), vec![], (25 + 50) / 2),
        (strategy(Strategy::LeastAllocated, &[("cpu", 3), ("memory", 1)]), vec![], (25 * 3 + 50) / 4),
        // 6000 of 4000: nothing left; 9000 of 10000
        (strategy(Strategy::LeastAllocated, both), vec![with("3", "4000")], 10 / 2),
        (strategy(Strategy::MostAllocated, both), vec![], (75 + 50) / 2),
        (strategy(Strategy::MostAllocated, both), vec![with("3", "4000")], (100 + 90) / 2),
        // At 75% of the CPU 7.5 of 10, at 50% of the memory 5 of 10; rounded.
        (strategy(Strategy::RequestedToCapacityRatio(vec![(0, 0), (100, 100)]), both), vec![], 63),
        (strategy(Strategy::RequestedToCapacityRatio(vec![(0, 100), (60, 40), (100, 0)]), both), vec![], 38),
    ] {
        let mut case = Case::new(vec![sized("4", "10000")], pods);
        assert_eq!(case.score(&plugin, with("3", "5000")), Some(expected), "{:?}", plugin.strategy);
    }
    // Containers that ask for nothing count as 100m and 200 Mi: 300 of 4000, 600 of 1000 Mi with the two that are there.
    let mut case = Case::new(vec![sized("4", "1000Mi")], vec![asks(json!({})), asks(json!({}))]);
    assert_eq!(case.score(&*plugin("NodeResourcesFit"), asks(json!({}))), Some((92 + 40) / 2));
}

#[test]
fn balance_scores() {
    let balanced = NodeResourcesBalancedAllocation::default();
    let with = |cpu: &str, memory: &str| asks(json!({"cpu": cpu, "memory": memory}));
    for (pods, request, expected) in [
        // Equal before (nothing), 75% and 50% after: (1-0.125)*100 = 87; 50+(50+87-100)/2 = 68
        (vec![], with("3", "5000"), Some(68)),
        (vec![], with("2", "5000"), Some(75)),
        // 25% and 0 before: 87; 50% and 50% after: 100; 50+(50+100-87)/2 = 81
        (vec![with("1", "0")], with("1", "5000"), Some(81)),
        (vec![], asks(json!({})), None),
    ] {
        let mut case = Case::new(vec![sized("4", "10000")], pods);
        assert_eq!(case.score(&balanced, request.clone()), expected, "{request}");
    }
    let resources =
        ["cpu", "memory", "x.io/gpu"].map(|name| Weighted { name: name.into(), weight: 1 }).into();
    let three = NodeResourcesBalancedAllocation { resources };
    let mut case = Case::new(vec![sized("4", "10000")], vec![]);
    // 50%, 50%, 100%: the deviation is 0.2357, (1-0.2357)*100 = 76; 50+(50+76-100)/2 = 63
    assert_eq!(case.score(&three, asks(json!({"cpu": "2", "memory": "5000", "x.io/gpu": "2"}))), Some(63));
    assert_eq!(case.score(&three, with("2", "5000")), Some(75));
}

#[test]
fn node_affinity() {
    let labelled = json!({"metadata": {"name": "n", "labels": {"zone": "a", "gen": "4"}}});
    let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let field = |operator: &str, name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": operator, "values": [name]}]});
    let affinity = plugin("NodeAffinity");
    for (terms, fits) in [
        (json!([expression("zone", "In", json!(["a", "b"]))]), true),
        (json!([expression("zone", "In", json!(["b"]))]), false),
        (json!([expression("zone", "NotIn", json!(["b"]))]), true),
        (json!([expression("none", "NotIn", json!(["b"]))]), true),
        (json!([expression("zone", "Exists", json!([]))]), true),
        (json!([expression("none", "DoesNotExist", json!([]))]), true),
        (json!([expression("gen", "Gt", json!(["3"]))]), true),
        (json!([expression("gen", "Gt", json!(["4"]))]), false),
        (json!([expression("gen", "Lt", json!(["5"]))]), true),
        (json!([expression("zone", "Gt", json!(["3"]))]), false),
        (json!([expression("zone", "In", json!(["b"])), expression("gen", "Exists", json!([]))]), true),
        (json!([{}]), false),
        (json!([field("In", "n")]), true),
        (json!([field("In", "m")]), false),
        (json!([field("NotIn", "m")]), true),
        (json!([field("In", "m"), expression("zone", "Exists", json!([]))]), true),
    ] {
        let view = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}});
        let mut case = Case::new(vec![labelled.clone()], vec![]);
        assert_eq!(case.filter(&*affinity, view).is_ok(), fits, "{terms}");
    }
    for (selector, fits) in [(json!({"zone": "a"}), true), (json!({"zone": "a", "gen": "5"}), false)] {
        let mut case = Case::new(vec![labelled.clone()], vec![]);
        assert_eq!(
            case.filter(&*affinity, json!({"spec": {"nodeSelector": selector}})).is_ok(),
            fits,
            "{selector}"
        );
    }
    let contradiction = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}, {"key": "metadata.name", "operator": "In", "values": ["m"]}]}]);
    let view = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": contradiction}}}}});
    let refused = Case::new(vec![labelled.clone()], vec![]).filter(&*affinity, view).unwrap_err();
    assert_eq!(refused.reasons[0], "pod affinity terms conflict");
    let preferred = json!([{"weight": 5, "preference": expression("zone", "Exists", json!([]))}, {"weight": 2, "preference": expression("gen", "In", json!(["4"]))},
        {"weight": 9, "preference": expression("none", "Exists", json!([]))}]);
    let view = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}});
    assert_eq!(Case::new(vec![labelled.clone()], vec![]).score(&*affinity, view), Some(7));
    assert_eq!(Case::new(vec![labelled], vec![]).score(&*affinity, json!({})), None);
}

#[test]
fn taints() {
    let tainted = |effect: &str| json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}});
    let taints = plugin("TaintToleration");
    for (toleration, fits) in [
        (json!({}), true),
        (json!({"key": "k", "operator": "Equal", "value": "v"}), true),
        (json!({"key": "k", "value": "w"}), false),
        (json!({"key": "k", "operator": "Exists"}), true),
        (json!({"key": "j", "operator": "Exists"}), false),
        (json!({"operator": "Exists"}), true),
        (json!({"operator": "Exists", "effect": "NoExecute"}), false),
    ] {
        let view =
            if toleration == json!({}) { json!({}) } else { json!({"spec": {"tolerations": [toleration]}}) };
        let mut case = Case::new(vec![tainted("NoSchedule")], vec![]);
        let expected = fits && toleration != json!({});
        assert_eq!(case.filter(&*taints, view).is_ok(), expected, "{toleration}");
    }
    assert!(Case::new(vec![tainted("NoExecute")], vec![]).filter(&*taints, json!({})).is_err());
    assert!(Case::new(vec![tainted("PreferNoSchedule")], vec![]).filter(&*taints, json!({})).is_ok());
    assert_eq!(Case::new(vec![tainted("PreferNoSchedule")], vec![]).score(&*taints, json!({})), Some(1));
    let hard_only = json!({"spec": {"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}]}});
    assert_eq!(Case::new(vec![tainted("PreferNoSchedule")], vec![]).score(&*taints, hard_only), Some(1));
    let all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    assert_eq!(Case::new(vec![tainted("PreferNoSchedule")], vec![]).score(&*taints, all), Some(0));
}

#[test]
fn ports_names_and_cordons() {
    let uses = |port: Value| json!({"spec": {"containers": [{"ports": [port]}]}});
    let ports = plugin("NodePorts");
    let taken = vec![uses(json!({"hostPort": 80, "hostIP": "10.0.0.1", "protocol": "TCP"}))];
    for (port, free) in [
        (json!({"hostPort": 80}), false),
        (json!({"hostPort": 80, "hostIP": "0.0.0.0"}), false),
        (json!({"hostPort": 80, "hostIP": "10.0.0.2"}), true),
        (json!({"hostPort": 80, "hostIP": "10.0.0.1", "protocol": "UDP"}), true),
        (json!({"hostPort": 81}), true),
        (json!({"containerPort": 80}), true),
    ] {
        let mut case = Case::new(vec![json!({"metadata": {"name": "n"}})], taken.clone());
        assert_eq!(case.filter(&*ports, uses(port.clone())).is_ok(), free, "{port}");
    }
    let cordoned =
        || Case::new(vec![json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true}})], vec![]);
    let unschedulable = plugin("NodeUnschedulable");
    assert!(cordoned().filter(&*unschedulable, json!({})).is_err());
    let tolerates = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]}});
    assert!(cordoned().filter(&*unschedulable, tolerates).is_ok());
}

#[test]
fn image_locality() {
    const MIB: i64 = 1024 * 1024;
    let with = |name: &str, images: &[(&str, i64)]| {
        let images: Vec<Value> =
            images.iter().map(|(name, mib)| json!({"names": [name], "sizeBytes": mib * MIB})).collect();
        json!({"metadata": {"name": name}, "status": {"images": images}})
    };
    let uses = |images: &[&str]| json!({"spec": {"containers": images.iter().map(|i| json!({"image": i})).collect::<Vec<_>>()}});
    let locality = plugin("ImageLocality");
    let nodes = || vec![with("n", &[("a:latest", 250), ("b:1", 40)]), with("m", &[("b:1", 40)])];
    for (view, expected) in [
        // 250 Mi on one node of two count half: 100*(125-23)/(1000-23) = 10
        (uses(&["a"]), Some(10)),
        // on both: 100*(40-23)/977 = 1
        (uses(&["b:1"]), Some(1)),
        // 100*(165-23)/(2000-23) = 7
        (uses(&["a", "b:1"]), Some(7)),
        (uses(&["c"]), Some(0)),
    ] {
        assert_eq!(Case::new(nodes(), vec![]).score(&*locality, view.clone()), expected, "{view}");
    }
}
