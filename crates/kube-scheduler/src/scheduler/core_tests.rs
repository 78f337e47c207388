//! Changes in, decisions out.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{Options, Settings};

struct Cluster {
    core: Core,
    nodes: HashMap<String, Arc<NodeView>>,
    pods: HashMap<String, Arc<PodView>>,
}

impl Cluster {
    fn new() -> Self {
        let options = Options::parse(["kube-scheduler"].map(Into::into)).unwrap().options;
        let settings = Settings::from_options(&options).unwrap();
        let core =
            Core::new(vec![settings.profiles[0].build(None).unwrap()], Times::default(), Listers::default());
        Self { core, nodes: HashMap::new(), pods: HashMap::new() }
    }

    fn node(&mut self, name: &str, more: Value) {
        let mut view = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "pods": "110"}}});
        more.as_object().unwrap().iter().for_each(|(k, v)| view[k] = v.clone());
        let new: Arc<NodeView> = Arc::new(serde_json::from_value(view).unwrap());
        let event = match self.nodes.insert(name.into(), new.clone()) {
            Some(old) => Event::Modified { old, new },
            None => Event::Added(new),
        };
        self.core.node_event(&event, Instant::now());
    }

    fn pod(&mut self, name: &str, cpu: &str, more: Value) {
        let mut spec = json!({"schedulerName": "default-scheduler", "containers": [{"resources": {"requests": {"cpu": cpu}}}]});
        more.as_object().unwrap().iter().for_each(|(k, v)| spec[k] = v.clone());
        let view = json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": spec});
        let new: Arc<PodView> = Arc::new(serde_json::from_value(view).unwrap());
        let event = match self.pods.insert(name.into(), new.clone()) {
            Some(old) => Event::Modified { old, new },
            None => Event::Added(new),
        };
        self.core.pod_event(&event, Instant::now());
    }

    fn delete(&mut self, name: &str) {
        let gone = self.pods.remove(name).unwrap();
        self.core.pod_event(&Event::Deleted(gone), Instant::now());
    }

    /// `pod -> node`, `pod: why not`, or nothing.
    fn cycle(&mut self) -> String {
        match self.core.cycle(Instant::now()) {
            Some(Decision::Bind { pod, .. }) => format!("{} -> {}", pod.uid, pod.node_name),
            Some(Decision::Fail { queued, message, .. }) => {
                format!("{}: {}", queued.pod.uid, message.split(". ").next().unwrap())
            }
            Some(Decision::Preempt { queued, preemption, .. }) => {
                let victims: Vec<_> = preemption.victims.iter().map(|p| p.uid.as_str()).collect();
                format!("{} preempts {} on {}", queued.pod.uid, victims.join(" "), preemption.node)
            }
            Some(other) => format!("{other:?}"),
            None => String::new(),
        }
    }

    fn place(&self, uid: &str) -> Option<Place> {
        self.core.queue.get(uid).map(|q| q.place)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_is_tried_after_the_right_changes_only() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("first", "2", json!({}));
    cluster.pod("second", "1", json!({}));
    assert_eq!(
        [(); 3].map(|()| cluster.cycle()),
        ["first -> a", "second: 0/1 nodes are available: 1 Insufficient cpu", ""]
    );
    // A label, a taint, a heartbeat: none of them gives CPU.
    cluster.node("a", json!({"metadata": {"name": "a", "labels": {"x": "y"}}}));
    cluster.node("a", json!({"metadata": {"name": "a", "labels": {"x": "y"}, "resourceVersion": "9"}}));
    assert_eq!(cluster.place("second"), Some(Place::Unschedulable));
    // A node that is too small does not help either; a larger one does.
    cluster.node("b", json!({"status": {"allocatable": {"cpu": "500m", "pods": "10"}}}));
    assert_eq!(cluster.place("second"), Some(Place::Unschedulable));
    cluster.node("b", json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}}));
    assert_eq!(cluster.cycle(), "second -> b");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_makes_room_and_an_unrelated_one_keeps_its_backoff() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("old", "2", json!({"nodeName": "a"}));
    cluster.pod("new", "2", json!({}));
    cluster.pod("picky", "1", json!({"nodeSelector": {"x": "y"}}));
    assert_eq!(cluster.cycle(), "new: 0/1 nodes are available: 1 Insufficient cpu");
    assert_eq!(
        cluster.cycle(),
        "picky: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"
    );
    cluster.delete("old");
    assert_eq!(
        [cluster.place("new"), cluster.place("picky")],
        [Some(Place::Backoff), Some(Place::Unschedulable)]
    );
    assert_eq!(cluster.cycle(), "new -> a");
}

#[tokio::test(start_paused = true)]
async fn a_refused_binding_frees_the_place_and_is_tried_again() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("p", "2", json!({}));
    let Some(Decision::Bind { queued, pod }) = cluster.core.cycle(Instant::now()) else {
        panic!("not placed")
    };
    // Changes meanwhile: the pod itself is updated, and another comes that does not fit.
    cluster.pod("p", "2", json!({"tolerations": [{"operator": "Exists"}]}));
    cluster.pod("other", "1", json!({}));
    assert_eq!(cluster.cycle(), "other: 0/1 nodes are available: 1 Insufficient cpu");
    cluster.core.not_bound(queued.profile, &pod, Instant::now());
    assert_eq!(
        [cluster.place("p"), cluster.place("other")],
        [Some(Place::ErrorBackoff), Some(Place::Backoff)]
    );
    assert_eq!(cluster.core.queue.get("p").unwrap().pod.spec().tolerations.len(), 1);
    assert_eq!(cluster.cycle(), "other -> a");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(cluster.cycle(), "p: 0/1 nodes are available: 1 Insufficient cpu");
}

#[tokio::test(start_paused = true)]
async fn the_informer_confirms_before_or_after_the_answer() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("p", "2", json!({}));
    let Some(Decision::Bind { pod, .. }) = cluster.core.cycle(Instant::now()) else { panic!("not placed") };
    // The API still shows the pod without a node: it is not tried twice.
    cluster.pod("p", "2", json!({}));
    assert_eq!((cluster.cycle().as_str(), cluster.core.cache.assumed_pods()), ("", 1));
    cluster.pod("p", "2", json!({"nodeName": "a"}));
    cluster.core.bound(&pod);
    assert_eq!(
        (cluster.core.cache.assumed_pods(), cluster.core.cache.pods(), cluster.place("p")),
        (0, 1, None)
    );
    cluster.delete("p");
    assert_eq!(cluster.core.cache.pods(), 0);
}

#[tokio::test(start_paused = true)]
async fn gates_open_and_other_schedulers_pods_are_left_alone() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("gated", "1", json!({"schedulingGates": [{"name": "g"}]}));
    cluster.pod("other", "1", json!({"schedulerName": "somebody"}));
    assert_eq!((cluster.cycle().as_str(), cluster.place("gated")), ("", Some(Place::Gated)));
    cluster.pod("gated", "1", json!({}));
    assert_eq!(cluster.cycle(), "gated -> a");
}

#[tokio::test(start_paused = true)]
async fn without_nodes_a_pod_is_tried_again() {
    let mut cluster = Cluster::new();
    cluster.pod("p", "1", json!({}));
    assert_eq!(cluster.cycle(), "p: no nodes available to schedule pods");
    cluster.node("a", json!({}));
    assert_eq!(cluster.cycle(), "");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(cluster.cycle(), "p -> a");
}

#[tokio::test(start_paused = true)]
async fn a_toleration_that_is_added_brings_the_pod_back() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    cluster.pod("p", "1", json!({}));
    assert_eq!(cluster.cycle(), "p: 0/1 nodes are available: 1 node(s) had untolerated taint(s)");
    cluster.pod("p", "1", json!({"tolerations": [{"key": "k", "operator": "Exists"}]}));
    assert_eq!(cluster.cycle(), "p -> a");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_others_keep_away_waits_for_these() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({"metadata": {"name": "a", "labels": {"host": "a"}}}));
    let term = json!([{"topologyKey": "host", "labelSelector": {}, "namespaceSelector": {}}]);
    cluster.pod("there", "100m", json!({"nodeName": "a"}));
    cluster.pod(
        "alone",
        "100m",
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}),
    );
    assert_eq!(
        cluster.cycle(),
        "alone: 0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules"
    );
    cluster.pod("another", "100m", json!({"nodeName": "a"}));
    assert_eq!(cluster.place("alone"), Some(Place::Unschedulable));
    cluster.delete("another");
    assert_eq!(
        cluster.cycle(),
        "alone: 0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules"
    );
    cluster.delete("there");
    assert_eq!(cluster.cycle(), "alone -> a");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_preempts_waits_for_its_victims_and_keeps_its_place() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("low", "2", json!({"nodeName": "a", "priority": 1}));
    cluster.pod("high", "2", json!({"priority": 9}));
    assert_eq!(cluster.cycle(), "high preempts low on a");
    let high = cluster.core.queue.get("high").unwrap().pod.clone();
    // Until the victims are told, nothing brings it back.
    cluster.node("b", json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}}));
    cluster.delete("low");
    assert_eq!((cluster.place("high"), cluster.cycle().as_str()), (Some(Place::Unschedulable), ""));
    // A less important pod does not get the place.
    cluster.pod("middle", "2", json!({"priority": 5}));
    assert_eq!(cluster.cycle(), "middle: 0/2 nodes are available: 2 Insufficient cpu");
    cluster.core.preempted(&high, true, Instant::now());
    assert_eq!(cluster.cycle(), "high -> a");
    assert!(cluster.core.cache.nominations.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_preemption_that_fails_is_void_and_tried_again() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("low", "2", json!({"nodeName": "a", "priority": 1}));
    cluster.pod("high", "2", json!({"priority": 9}));
    assert_eq!(cluster.cycle(), "high preempts low on a");
    let high = cluster.core.queue.get("high").unwrap().pod.clone();
    cluster.core.preempted(&high, false, Instant::now());
    assert!(cluster.core.cache.nominations.is_empty());
    assert_eq!(cluster.cycle(), "high preempts low on a");
    // It goes away itself: who waited for its place hears of it.
    cluster.pod("middle", "1", json!({"priority": 9}));
    cluster.delete("low");
    assert_eq!(cluster.cycle(), "middle: 0/1 nodes are available: 1 Insufficient cpu");
    cluster.delete("high");
    assert_eq!(cluster.cycle(), "middle -> a");
}

#[tokio::test(start_paused = true)]
async fn the_most_important_takes_a_nominated_place_over() {
    let mut cluster = Cluster::new();
    cluster.node("a", json!({}));
    cluster.pod("low", "2", json!({"nodeName": "a", "priority": 1}));
    cluster.pod("high", "2", json!({"priority": 9}));
    assert_eq!(cluster.cycle(), "high preempts low on a");
    cluster.pod("highest", "2", json!({"priority": 10}));
    let Some(Decision::Preempt { demoted, .. }) = cluster.core.cycle(Instant::now()) else {
        panic!("not preempted")
    };
    assert_eq!(demoted.iter().map(|p| p.uid.as_str()).collect::<Vec<_>>(), ["high"]);
    assert_eq!(cluster.core.cache.nominations.node("highest").unwrap(), "a");
    assert_eq!(cluster.core.cache.nominations.node("high"), None);
}
