//! What follows from changes in the graph of owners.

use std::sync::Arc;

use client::{OwnerReference, Propagation, Resource, resource};

use super::graph::{FOREGROUND, Graph, ORPHAN, Object, Standing, Verdict, Work};

fn object(kind: &Resource, name: &str, owners: &[&str]) -> Object {
    let owner = |owner: &&str| {
        let kind = if owner.starts_with("rs") { "ReplicaSet" } else { "Deployment" };
        OwnerReference {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            name: (*owner).into(),
            uid: (*owner).into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    };
    Object {
        kind: Arc::new(kind.clone()),
        namespace: "ns".into(),
        name: name.into(),
        uid: name.into(),
        resource_version: "1".into(),
        owners: owners.iter().map(owner).collect(),
        finalizers: vec![],
        deleting: false,
    }
}

fn deleting(mut object: Object, finalizer: &str) -> Object {
    object.deleting = true;
    object.finalizers = vec![finalizer.into()];
    object
}

fn delete(uid: &str) -> Work {
    Work::Delete(uid.into())
}

/// d <- rs <- pod
fn family() -> Graph {
    let mut graph = Graph::default();
    assert_eq!(graph.upsert(object(&resource::DEPLOYMENTS, "d", &[])), []);
    assert_eq!(graph.upsert(object(&resource::REPLICA_SETS, "rs", &["d"])), []);
    assert_eq!(graph.upsert(object(&resource::PODS, "pod", &["rs"])), []);
    graph
}

fn verdict(graph: &Graph, uid: &str) -> Verdict {
    let object = graph.get(uid).unwrap();
    let standings: Vec<_> =
        object.owners.iter().map(|o| (o.uid.clone(), graph.standing(object, o))).collect();
    graph.verdict(object, &standings)
}

#[test]
fn background_deletion_cascades() {
    let mut graph = family();
    assert_eq!(verdict(&graph, "rs"), Verdict::Nothing);
    assert_eq!(graph.remove(&"d".into()), [delete("rs")]);
    assert_eq!(verdict(&graph, "rs"), Verdict::Delete(Propagation::Background));
    assert_eq!(graph.remove(&"rs".into()), [delete("pod")]);
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete(Propagation::Background));
    assert_eq!(graph.remove(&"pod".into()), []);
}

#[test]
fn foreground_deletion_goes_from_the_leaves() {
    let mut graph = family();
    let work = graph.upsert(deleting(object(&resource::DEPLOYMENTS, "d", &[]), FOREGROUND));
    assert_eq!(work, [delete("rs"), delete("d")]);
    // The ReplicaSet has dependents of its own, so it is deleted in the foreground too.
    assert_eq!(verdict(&graph, "rs"), Verdict::Delete(Propagation::Foreground));
    assert_eq!(
        graph.upsert(deleting(object(&resource::REPLICA_SETS, "rs", &["d"]), FOREGROUND)),
        [delete("pod"), delete("rs")]
    );
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete(Propagation::Background));
    assert_eq!(graph.blocking("rs").len(), 1);
    assert_eq!(graph.remove(&"pod".into()), [delete("rs")]);
    assert!(graph.blocking("rs").is_empty());
    assert_eq!(graph.remove(&"rs".into()), [delete("d")]);
}

#[test]
fn orphans_are_let_go() {
    let mut graph = family();
    let work = graph.upsert(deleting(object(&resource::DEPLOYMENTS, "d", &[]), ORPHAN));
    assert_eq!(work, [Work::Orphan("d".into())]);
    graph.upsert(object(&resource::REPLICA_SETS, "rs", &[]));
    assert!(graph.dependents("d").is_empty());
    assert_eq!(graph.remove(&"d".into()), []);
}

#[test]
fn one_owner_of_two_is_enough() {
    let mut graph = family();
    graph.upsert(object(&resource::REPLICA_SETS, "rs2", &[]));
    graph.upsert(object(&resource::PODS, "pod", &["rs", "rs2"]));
    graph.remove(&"rs".into());
    assert_eq!(verdict(&graph, "pod"), Verdict::Release(vec!["rs".into()]));
    // Also where the lost one waits for its dependents.
    let mut graph = family();
    graph.upsert(object(&resource::REPLICA_SETS, "rs2", &[]));
    graph.upsert(object(&resource::PODS, "pod", &["rs", "rs2"]));
    graph.upsert(deleting(object(&resource::REPLICA_SETS, "rs", &["d"]), FOREGROUND));
    assert_eq!(verdict(&graph, "pod"), Verdict::Release(vec!["rs".into()]));
    // Without the reference it no longer blocks.
    assert_eq!(graph.upsert(object(&resource::PODS, "pod", &["rs2"])), [delete("rs")]);
}

#[test]
fn an_owner_that_is_not_known_is_asked_for() {
    let mut graph = Graph::default();
    assert_eq!(graph.upsert(object(&resource::PODS, "pod", &["rs"])), [Work::DeleteLater("pod".into())]);
    let pod = graph.get("pod").unwrap();
    assert_eq!(graph.standing(pod, &pod.owners[0]), Standing::Unknown);
    graph.note_absent(&"rs".into());
    let pod = graph.get("pod").unwrap();
    assert_eq!(graph.standing(pod, &pod.owners[0]), Standing::Absent);
}

#[test]
fn an_owner_in_another_namespace_is_none() {
    let mut graph = Graph::default();
    let mut far = object(&resource::REPLICA_SETS, "rs", &[]);
    far.namespace = "elsewhere".into();
    graph.upsert(far);
    graph.upsert(object(&resource::PODS, "pod", &["rs"]));
    let pod = graph.get("pod").unwrap();
    assert_eq!(graph.standing(pod, &pod.owners[0]), Standing::Unknown);
}

#[test]
fn a_circle_is_broken() {
    let mut graph = Graph::default();
    graph.upsert(object(&resource::REPLICA_SETS, "rs1", &["rs2"]));
    graph.upsert(object(&resource::REPLICA_SETS, "rs2", &["rs1"]));
    graph.upsert(deleting(object(&resource::REPLICA_SETS, "rs1", &["rs2"]), FOREGROUND));
    assert_eq!(verdict(&graph, "rs2"), Verdict::Unblock);
    let mut unblocked = object(&resource::REPLICA_SETS, "rs2", &["rs1"]);
    unblocked.owners[0].block_owner_deletion = Some(false);
    assert_eq!(graph.upsert(unblocked), [delete("rs1"), delete("rs2")]);
    assert_eq!(verdict(&graph, "rs2"), Verdict::Delete(Propagation::Foreground));
    assert!(graph.blocking("rs1").is_empty());
}
