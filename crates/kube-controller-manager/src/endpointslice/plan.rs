//! The endpoints that a Service wants: one a selected pod and address family, grouped by ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{OwnerReference, StringMap, resource};

use super::reconcile::{Change, Common, Wanted, reconcile, sorted};
use crate::control::controller_ref;
use crate::views::network::{
    Endpoint, EndpointConditions, EndpointPort, Hints, Named, ServicePort, TargetPort, TargetRef,
};
use crate::views::{EndpointSlice, Pod, Service};

pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The writes for one Service. `existing` are the slices that this controller manages for it; `zone_of` gives a
/// node's zone.
pub fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    existing: &[Arc<EndpointSlice>],
    zone_of: impl Fn(&str) -> Option<String>,
    max: usize,
) -> Vec<Change> {
    let families = families(service);
    let mut changes = Vec::new();
    for family in &families {
        let wanted = wanted(service, pods, family, &zone_of);
        let own: Vec<_> = existing.iter().filter(|s| s.address_type == *family).cloned().collect();
        changes.extend(reconcile(&own, wanted, &common(service, family, max)));
    }
    let unserved = existing.iter().filter(|s| !families.contains(&&*s.address_type));
    changes.extend(unserved.map(|s| Change::Delete(s.metadata.name.clone())));
    changes
}

fn families(service: &Service) -> Vec<&'static str> {
    let named = |family: &str| match family {
        "IPv6" => "IPv6",
        _ => "IPv4",
    };
    if !service.spec.ip_families.is_empty() {
        return service.spec.ip_families.iter().map(|f| named(f)).collect();
    }
    match &*service.spec.cluster_ip {
        "" | "None" => vec!["IPv4", "IPv6"],
        address if address.contains(':') => vec!["IPv6"],
        _ => vec!["IPv4"],
    }
}

fn common(service: &Service, family: &'static str, max: usize) -> Common {
    let owner: OwnerReference = controller_ref(&resource::SERVICES, &service.metadata);
    Common {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        owner,
        labels: labels(service),
        annotations: StringMap::default(),
        address_type: family,
        max,
        placeholder: true,
    }
}

/// The Service's labels, and what tells the slice's Service and manager.
fn labels(service: &Service) -> StringMap {
    let own = [SERVICE_NAME, MANAGED_BY, HEADLESS];
    let copied: StringMap = service.metadata.labels.iter().filter(|(k, _)| !own.contains(k)).collect();
    let labels = copied.with(SERVICE_NAME, &service.metadata.name).with(MANAGED_BY, MANAGER);
    if service.is_headless() { labels.with(HEADLESS, "") } else { labels }
}

fn wanted(
    service: &Service,
    pods: &[Arc<Pod>],
    family: &str,
    zone_of: &impl Fn(&str) -> Option<String>,
) -> Wanted {
    let mut wanted: Wanted = BTreeMap::new();
    for pod in pods.iter().filter(|p| !p.is_terminal()) {
        let address = pod.ips().find(|ip| ip.contains(':') == (family == "IPv6"));
        let Some(address) = address else { continue };
        let ports = sorted(&ports(service, pod));
        if ports.is_empty() && !(service.is_headless() && service.spec.ports.is_empty()) {
            continue;
        }
        wanted.entry(ports).or_default().push(endpoint(service, pod, address, zone_of));
    }
    wanted
}

/// The Service's ports as the pod has them; a name that the pod does not have is left out.
pub fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let of = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone()),
            protocol: Some(port.protocol.clone()),
            port: Some(find_port(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service.spec.ports.iter().filter_map(of).collect()
}

/// The number of a Service's target port on a pod; names also of restartable init containers.
pub fn find_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(TargetPort::Number(0)) => return Some(port.port),
        Some(TargetPort::Number(number)) => return Some(*number),
        Some(TargetPort::Name(name)) => name,
    };
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
    let mut all = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    all.find(|p| p.name == *name && p.protocol == port.protocol).map(|p| p.container_port)
}

/// Whether the pod's DNS name is to hold its host name.
pub fn has_hostname(service: &Service, pod: &Pod) -> bool {
    !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name
}

fn endpoint(
    service: &Service,
    pod: &Pod,
    address: &str,
    zone_of: &impl Fn(&str) -> Option<String>,
) -> Endpoint {
    let (serving, terminating) = (pod.is_ready(), pod.metadata.is_being_deleted());
    let ready = service.spec.publish_not_ready_addresses || (serving && !terminating);
    let node = (!pod.spec.node_name.is_empty()).then(|| pod.spec.node_name.clone());
    let zone = node.as_deref().and_then(zone_of);
    Endpoint {
        addresses: vec![address.into()],
        conditions: EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        },
        hostname: has_hostname(service, pod).then(|| pod.spec.hostname.clone()),
        target_ref: Some(TargetRef {
            kind: "Pod".into(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        }),
        hints: if ready { hints(service, node.as_deref(), zone.as_deref()) } else { None },
        node_name: node,
        zone: zone.map(Into::into),
    }
}

/// Where traffic should come from (`trafficDistribution`).
fn hints(service: &Service, node: Option<&str>, zone: Option<&str>) -> Option<Hints> {
    let named = |name: Option<&str>| name.map(|n| Named { name: n.into() }).into_iter().collect::<Vec<_>>();
    let hints = match &*service.spec.traffic_distribution {
        "PreferClose" | "PreferSameZone" => Hints { for_zones: named(zone), for_nodes: vec![] },
        "PreferSameNode" => Hints { for_zones: named(zone), for_nodes: named(node) },
        _ => return None,
    };
    (hints != Hints::default()).then_some(hints)
}
