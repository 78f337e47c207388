//! The subsets of a Service's Endpoints: addresses with the same ports together, ready and not ready apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpointslice::plan::{find_port, has_hostname};
use crate::views::network::{EndpointAddress, Subset, SubsetPort, TargetRef};
use crate::views::{Pod, Service};

/// Addresses that an Endpoints object may have.
pub const CAPACITY: usize = 1000;

type Ports = Vec<SubsetPort>;

/// The subsets of a Service, and whether addresses had to be left out.
pub fn plan(service: &Service, pods: &[Arc<Pod>]) -> (Vec<Subset>, bool) {
    let mut subsets: BTreeMap<Ports, Subset> = BTreeMap::new();
    let publish = service.spec.publish_not_ready_addresses;
    for pod in pods.iter().filter(|p| !p.is_terminal() && (publish || !p.metadata.is_being_deleted())) {
        let Some(address) = address(service, pod) else { continue };
        let ports = ports(service, pod);
        if ports.is_empty() && !(service.is_headless() && service.spec.ports.is_empty()) {
            continue;
        }
        let subset = subsets.entry(ports.clone()).or_insert_with(|| Subset { ports, ..Subset::default() });
        let list =
            if publish || pod.is_ready() { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.push(address);
    }
    let mut subsets: Vec<Subset> = subsets.into_values().collect();
    sort(&mut subsets);
    let truncated = truncate(&mut subsets);
    (subsets, truncated)
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let ipv6 = match service.spec.ip_families.first() {
        Some(family) => family == "IPv6",
        None if service.spec.cluster_ip.is_empty() || service.is_headless() => {
            pod.ips().next()?.contains(':')
        }
        None => service.spec.cluster_ip.contains(':'),
    };
    let ip = pod.ips().find(|ip| ip.contains(':') == ipv6)?;
    Some(EndpointAddress {
        ip: ip.into(),
        hostname: if has_hostname(service, pod) { pod.spec.hostname.clone() } else { Default::default() },
        node_name: (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.clone()),
        target_ref: Some(TargetRef {
            kind: "Pod".into(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        }),
    })
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let of = |port: &crate::views::network::ServicePort| {
        Some(SubsetPort {
            name: port.name.clone(),
            port: find_port(port, pod)?,
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
    };
    let mut ports: Ports = service.spec.ports.iter().filter_map(of).collect();
    ports.sort();
    ports
}

/// One order for comparing; the API gives none a meaning.
pub fn sort(subsets: &mut [Subset]) {
    let key = |a: &EndpointAddress| (a.ip.clone(), a.target_ref.as_ref().map(|t| t.uid.clone()));
    for subset in &mut *subsets {
        subset.ports.sort();
        subset.addresses.sort_by_key(key);
        subset.not_ready_addresses.sort_by_key(key);
    }
    subsets.sort_by(|a, b| a.ports.cmp(&b.ports));
}

/// Leaves out what is beyond the capacity, not ready ones first.
fn truncate(subsets: &mut [Subset]) -> bool {
    let total: usize = subsets.iter().map(|s| s.addresses.len() + s.not_ready_addresses.len()).sum();
    let mut left = CAPACITY;
    for subset in &mut *subsets {
        subset.addresses.truncate(left);
        left -= subset.addresses.len();
    }
    for subset in &mut *subsets {
        subset.not_ready_addresses.truncate(left);
        left -= subset.not_ready_addresses.len();
    }
    total > CAPACITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pods(count: usize) -> Vec<Arc<Pod>> {
        let pod = |n: usize| {
            let ready = if n.is_multiple_of(2) { "True" } else { "False" };
            json!({"metadata": {"name": format!("p{n}"), "namespace": "n", "uid": n.to_string()}, "spec": {"nodeName": "a"},
                "status": {"phase": "Running", "podIP": format!("10.0.{}.{}", n / 100, n % 100), "conditions": [{"type": "Ready", "status": ready}]}})
        };
        (0..count).map(|n| Arc::new(serde_json::from_value(pod(n)).unwrap())).collect()
    }

    fn service(more: &str) -> Service {
        let text = format!(
            r#"{{"metadata":{{"name":"s"}},"spec":{{"selector":{{"a":"b"}},"clusterIP":"10.9.0.1","ports":[{{"port":80,"protocol":"TCP","targetPort":8080}}]{more}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn ready_and_not_ready() {
        let (subsets, truncated) = plan(&service(""), &pods(3));
        assert!(!truncated);
        let value = serde_json::to_value(&subsets).unwrap();
        assert_eq!(value[0]["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
        assert_eq!((subsets[0].addresses.len(), subsets[0].not_ready_addresses.len()), (2, 1));
        let (subsets, _) = plan(&service(r#","publishNotReadyAddresses":true"#), &pods(3));
        assert_eq!((subsets[0].addresses.len(), subsets[0].not_ready_addresses.len()), (3, 0));
    }

    #[test]
    fn capacity() {
        let (subsets, truncated) = plan(&service(""), &pods(2500));
        assert!(truncated);
        assert_eq!((subsets[0].addresses.len(), subsets[0].not_ready_addresses.len()), (1000, 0));
    }
}
