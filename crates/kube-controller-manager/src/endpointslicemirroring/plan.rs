//! The slices that mirror Endpoints which somebody else writes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use client::{StringMap, resource};

use crate::control::controller_ref;
use crate::endpointslice::plan::{MANAGED_BY, SERVICE_NAME};
use crate::endpointslice::reconcile::{Change, Common, Wanted, reconcile, sorted};
use crate::views::network::{Endpoint, EndpointAddress, EndpointConditions, EndpointPort, Subset};
use crate::views::{EndpointSlice, Endpoints, Service};

pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const PER_SLICE: usize = 1000;

/// Whether Endpoints are to be mirrored: somebody else's, of a Service without a selector.
pub fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let meta = &endpoints.metadata;
    let skipped =
        meta.labels.get(SKIP) == Some("true") || meta.annotations.contains_key(crate::endpoints::LEADER);
    !skipped
        && service.spec.selector.is_empty()
        && service.spec.kind != "ExternalName"
        && !meta.is_being_deleted()
}

/// The writes for one Endpoints object; `limit` addresses of a subset count.
pub fn plan(endpoints: &Endpoints, existing: &[Arc<EndpointSlice>], limit: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    for family in ["IPv4", "IPv6"] {
        let own: Vec<_> = existing.iter().filter(|s| s.address_type == family).cloned().collect();
        changes.extend(reconcile(&own, wanted(endpoints, family, limit), &common(endpoints, family)));
    }
    changes
}

fn common(endpoints: &Endpoints, family: &'static str) -> Common {
    let meta = &endpoints.metadata;
    let labels = meta.labels.with(SERVICE_NAME, &meta.name).with(MANAGED_BY, MANAGER);
    let annotations: StringMap =
        meta.annotations.iter().filter(|(k, _)| ![LAST_APPLIED, TRIGGER_TIME].contains(k)).collect();
    let owner = controller_ref(&resource::ENDPOINTS, meta);
    let (name, namespace) = (meta.name.clone(), meta.namespace.clone());
    Common {
        name,
        namespace,
        owner,
        labels,
        annotations,
        address_type: family,
        max: PER_SLICE,
        placeholder: false,
    }
}

fn wanted(endpoints: &Endpoints, family: &str, limit: usize) -> Wanted {
    let mut wanted: Wanted = BTreeMap::new();
    for subset in &endpoints.subsets {
        let mut seen = HashSet::new();
        let ready = subset.addresses.iter().map(|a| (a, true));
        let addresses = ready.chain(subset.not_ready_addresses.iter().map(|a| (a, false)));
        for (address, ready) in addresses.filter(|(a, _)| is_of(a, family)).take(limit) {
            if seen.insert(&address.ip) {
                wanted.entry(ports(subset)).or_default().push(endpoint(address, ready));
            }
        }
    }
    wanted
}

fn is_of(address: &EndpointAddress, family: &str) -> bool {
    address.ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"))
}

fn ports(subset: &Subset) -> Vec<EndpointPort> {
    let ports: Vec<EndpointPort> = subset
        .ports
        .iter()
        .map(|p| EndpointPort {
            name: Some(p.name.clone()),
            protocol: Some(if p.protocol.is_empty() { "TCP".into() } else { p.protocol.clone() }),
            port: Some(p.port),
            app_protocol: p.app_protocol.clone(),
        })
        .collect();
    sorted(&ports)
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: EndpointConditions { ready: Some(ready), ..EndpointConditions::default() },
        hostname: (!address.hostname.is_empty()).then(|| address.hostname.clone()),
        target_ref: address.target_ref.clone(),
        node_name: address.node_name.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn subsets_become_slices() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "e", "namespace": "n", "uid": "u", "labels": {"a": "b"}, "annotations": {LAST_APPLIED: "x", "k": "v"}},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "p", "port": 1}]}],
        }))
        .unwrap();
        let changes = plan(&endpoints, &[], 1000);
        let slices: Vec<&EndpointSlice> =
            changes.iter().map(|c| if let Change::Create(s) = c { s } else { panic!("{c:?}") }).collect();
        assert_eq!(slices.len(), 2);
        assert_eq!(slices[0].endpoints.len(), 2);
        assert_eq!(slices[0].metadata.labels.get(MANAGED_BY), Some(MANAGER));
        assert_eq!(slices[0].metadata.annotations.iter().collect::<Vec<_>>(), [("k", "v")]);
        let ready: Vec<_> = slices[0].endpoints.iter().map(|e| e.conditions.ready.unwrap()).collect();
        assert!(ready.contains(&true) && ready.contains(&false));
        assert!(plan(&Endpoints::default(), &[], 1000).is_empty());
    }
}
