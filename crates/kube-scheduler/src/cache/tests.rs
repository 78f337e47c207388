//! Nodes, their order and generations; pods that are assumed, confirmed, forgotten.

use std::time::Duration;

use super::*;
use crate::testing::{node, pod};

#[test]
fn zones_take_turns() {
    let mut cache = Cache::default();
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        cache.set_node(&node(
            serde_json::json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}),
        ));
    }
    let names = |cache: &Cache| {
        cache.order().iter().map(|s| cache.node(*s).name.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&cache), "a1 b1 a2 a3");
    cache.remove_node("a1");
    assert_eq!(names(&cache), "a2 b1 a3");
    cache.set_node(&node(
        serde_json::json!({"metadata": {"name": "a3", "labels": {"topology.kubernetes.io/zone": "b"}}}),
    ));
    assert_eq!(names(&cache), "a2 b1 a3");
    assert_eq!(cache.order().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn assumed_pods_are_confirmed_forgotten_or_expire() {
    let mut cache = Cache::default();
    cache.set_node(&node(serde_json::json!({"metadata": {"name": "n"}})));
    let slot = cache.slot("n").unwrap();
    let make = |name: &str, cache: &mut Cache| {
        let view = serde_json::json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": "n",
            "containers": [{"resources": {"requests": {"cpu": "1", "x.io/y": "2"}}, "ports": [{"hostPort": 80}]}]}});
        Arc::new(pod(view, &mut cache.symbols))
    };
    for name in ["confirmed", "forgotten", "expired", "kept"] {
        let pod = make(name, &mut cache);
        cache.assume(pod);
    }
    assert_eq!((cache.node(slot).requested.milli_cpu, cache.assumed_pods()), (4000, 4));
    let confirmed = make("confirmed", &mut cache);
    cache.set_pod(confirmed);
    assert!(cache.forget("forgotten") && !cache.forget("confirmed"));
    let now = Instant::now();
    cache.finish_binding("expired", Some(now + Duration::from_secs(30)));
    cache.finish_binding("confirmed", Some(now));
    cache.finish_binding("kept", None);
    assert!(cache.expire(now + Duration::from_secs(29)).is_empty());
    let gone = cache.expire(now + Duration::from_secs(30));
    assert_eq!(gone.iter().map(|p| p.uid.as_str()).collect::<Vec<_>>(), ["expired"]);
    let found = cache.node(slot);
    let scalar = cache.symbols.find("x.io/y").unwrap();
    assert_eq!(
        (found.requested.milli_cpu, found.requested.scalar(scalar), found.pods.len(), found.ports.len()),
        (2000, 4, 2, 2)
    );
    assert!(cache.is_assumed("kept"));
}

#[test]
fn only_what_changes_gets_a_new_generation() {
    let mut cache = Cache::default();
    for name in ["a", "b"] {
        cache.set_node(&node(serde_json::json!({"metadata": {"name": name}})));
    }
    let generations = |cache: &Cache| ["a", "b"].map(|n| cache.generation(cache.slot(n).unwrap()));
    let before = generations(&cache);
    let view = serde_json::json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeName": "a", "containers": []}});
    let placed = Arc::new(pod(view.clone(), &mut cache.symbols));
    cache.set_pod(placed);
    let after = generations(&cache);
    assert!(after[0] > before[0] && after[1] == before[1]);
    let again = Arc::new(pod(view, &mut cache.symbols));
    cache.set_pod(again);
    assert_eq!(generations(&cache), after);
}

#[test]
fn a_node_that_is_gone_keeps_its_pods() {
    let mut cache = Cache::default();
    let view = serde_json::json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeName": "late",
        "containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
    let early = Arc::new(pod(view, &mut cache.symbols));
    cache.set_pod(early);
    assert!(cache.slot("late").is_none() && cache.order().is_empty());
    cache.set_node(&node(serde_json::json!({"metadata": {"name": "late"}})));
    let slot = cache.slot("late").unwrap();
    assert_eq!(cache.node(slot).requested.milli_cpu, 1000);
    cache.remove_node("late");
    assert_eq!(cache.node(slot).pods.len(), 1);
    cache.remove_pod("p");
    assert!(cache.by_name.is_empty());
}

#[test]
fn images_are_counted() {
    let mut cache = Cache::default();
    for name in ["a", "b"] {
        cache.set_node(&node(serde_json::json!({"metadata": {"name": name}, "status": {"images": [{"names": ["i:1", "i@x"], "sizeBytes": 5}]}})));
    }
    let image = cache.symbols.find("i:1").unwrap();
    assert_eq!(cache.nodes_with_image(image), 2);
    let epoch = cache.epoch();
    cache.set_node(&node(serde_json::json!({"metadata": {"name": "a"}})));
    assert_eq!(cache.nodes_with_image(image), 1);
    assert!(cache.epoch() > epoch);
}
