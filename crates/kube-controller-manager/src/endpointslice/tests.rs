//! Slices from pods, and few writes between them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::plan::{MANAGED_BY, SERVICE_NAME, plan};
use super::reconcile::Change;
use crate::views::{EndpointSlice, Pod, Service};

fn service(more: Value) -> Service {
    let mut spec = json!({"selector": {"a": "b"}, "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(
        json!({"metadata": {"name": "s", "namespace": "n", "uid": "u", "labels": {"x": "y"}}, "spec": spec}),
    )
    .unwrap()
}

fn pod(number: usize, ready: bool) -> Arc<Pod> {
    let status = if ready { "True" } else { "False" };
    Arc::new(serde_json::from_value(json!({
        "metadata": {"name": format!("p{number}"), "namespace": "n", "uid": format!("u{number}"), "labels": {"a": "b"}},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"name": "web", "containerPort": 8000 + number % 2, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": format!("10.1.{}.{}", number / 200, number % 200)}, {"ip": format!("fd00::{number}")}],
            "conditions": [{"type": "Ready", "status": status}]},
    }))
    .unwrap())
}

fn pods(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|i| pod(i, true)).collect()
}

fn planned(service: &Service, pods: &[Arc<Pod>], existing: &[Arc<EndpointSlice>]) -> Vec<Change> {
    plan(service, pods, existing, |_| Some("z".into()), 100)
}

/// The slices after the changes.
fn applied(existing: &[Arc<EndpointSlice>], changes: &[Change]) -> Vec<Arc<EndpointSlice>> {
    let mut slices = existing.to_vec();
    for (i, change) in changes.iter().enumerate() {
        match change {
            Change::Create(slice) => {
                let mut slice = slice.clone();
                slice.metadata.name = format!("new{i}-{}", existing.len()).into();
                slices.push(Arc::new(slice));
            }
            Change::Update(slice) => {
                slices.retain(|s| s.metadata.name != slice.metadata.name);
                slices.push(Arc::new(slice.clone()));
            }
            Change::Delete(name) => slices.retain(|s| s.metadata.name != *name),
        }
    }
    slices
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    let mut sizes: Vec<_> = slices.iter().map(|s| s.endpoints.len()).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn an_endpoint_is_complete() {
    let changes = planned(&service(json!({"trafficDistribution": "PreferClose"})), &[pod(3, true)], &[]);
    let Change::Create(slice) = &changes[0] else { panic!("{changes:?}") };
    let slice = serde_json::to_value(slice).unwrap();
    assert_eq!(
        slice["endpoints"][0],
        json!({
            "addresses": ["10.1.0.3"], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "n", "name": "p3", "uid": "u3"}, "nodeName": "node", "zone": "z",
            "hints": {"forZones": [{"name": "z"}]},
        })
    );
    assert_eq!(slice["ports"], json!([{"name": "http", "protocol": "TCP", "port": 8080}]));
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"x": "y", MANAGED_BY: "endpointslice-controller.k8s.io", SERVICE_NAME: "s"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "u");
}

#[test]
fn slices_are_filled_to_their_limit() {
    let s = service(json!({}));
    let slices = applied(&[], &planned(&s, &pods(250), &[]));
    assert_eq!(sizes(&slices), [50, 100, 100]);
    assert_eq!(planned(&s, &pods(250), &slices), [], "nothing to do");
    // One more goes where it fits, one less touches one slice.
    let changes = planned(&s, &pods(251), &slices);
    assert!(matches!(&changes[..], [Change::Update(slice)] if slice.endpoints.len() == 51));
    assert_eq!(planned(&s, &pods(250)[1..], &slices).len(), 1);
}

#[test]
fn a_change_of_readiness_stays_in_its_slice() {
    let s = service(json!({}));
    let slices = applied(&[], &planned(&s, &pods(3), &[]));
    let mut changed = pods(3);
    changed[1] = pod(1, false);
    let changes = planned(&s, &changed, &slices);
    let [Change::Update(slice)] = &changes[..] else { panic!("{changes:?}") };
    let ready: Vec<_> =
        slice.endpoints.iter().map(|e| (e.addresses[0].as_str(), e.conditions.ready.unwrap())).collect();
    assert!(ready.contains(&("10.1.0.1", false)) && ready.contains(&("10.1.0.2", true)));
}

#[test]
fn one_slice_always_stays() {
    let s = service(json!({}));
    let empty = applied(&[], &planned(&s, &[], &[]));
    assert_eq!(sizes(&empty), [0]);
    assert_eq!(planned(&s, &[], &empty), []);
    let full = applied(&empty, &planned(&s, &pods(2), &empty));
    assert_eq!((sizes(&full), full[0].metadata.name.clone()), (vec![2], empty[0].metadata.name.clone()));
    assert!(
        matches!(&planned(&s, &[], &full)[..], [Change::Update(slice)] if slice.endpoints.is_empty() && slice.ports.is_empty())
    );
}

#[test]
fn named_ports_group_and_families_part() {
    let s = service(
        json!({"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "web"}], "ipFamilies": ["IPv4", "IPv6"]}),
    );
    let slices = applied(&[], &planned(&s, &pods(4), &[]));
    let mut found: Vec<_> = slices
        .iter()
        .map(|s| (s.address_type.to_string(), s.ports[0].port.unwrap(), s.endpoints.len()))
        .collect();
    found.sort();
    let expected = [("IPv4", 8000, 2), ("IPv4", 8001, 2), ("IPv6", 8000, 2), ("IPv6", 8001, 2)];
    assert_eq!(found, expected.map(|(family, port, n)| (family.to_owned(), port, n)));
}

#[test]
fn not_ready_ones_are_published_where_wished() {
    let s = service(json!({"publishNotReadyAddresses": true, "clusterIP": "None", "ports": []}));
    let changes = planned(&s, &[pod(1, false)], &[]);
    let Change::Create(slice) = &changes[0] else { panic!("{changes:?}") };
    let conditions = slice.endpoints[0].conditions;
    assert_eq!((conditions.ready, conditions.serving), (Some(true), Some(false)));
    assert_eq!(slice.metadata.labels.get("service.kubernetes.io/headless"), Some(""));
}
