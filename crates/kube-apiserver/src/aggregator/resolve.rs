//! From a Service and a port to an address that can be connected to.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::GroupResource;
use apiserver::resource::{Object, Objects};
use rand::seq::IndexedRandom as _;

use crate::strategies::fields::{Fields, map_at};

/// Why there is no address, with the reason that conditions give.
#[derive(Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub reason: &'static str,
    pub message: String,
}

#[derive(Clone)]
pub struct Resolver {
    pub objects: Arc<dyn Objects>,
    /// An endpoint of the Service rather than its own address.
    pub to_endpoints: bool,
}

const SLICES: (&str, &str) = ("discovery.k8s.io", "endpointslices");

impl Resolver {
    /// Host and port.
    pub fn resolve(&self, namespace: &str, name: &str, port: i64) -> Result<(String, u16), Unresolved> {
        let unreachable = |message: String| Unresolved { reason: "ServiceAccessError", message };
        let service = self.service(namespace, name);
        let service = service.ok_or_else(|| unreachable(format!("service {name:?} not found")))?;
        let spec = map_at(&service.value, &["spec"]);
        if spec.text("type") == "ExternalName" {
            return Ok((spec.text("externalName").to_owned(), number(port)));
        }
        let port_name = port_name(spec, port)
            .ok_or_else(|| unreachable(format!("no service port {port} found for service {name:?}")))?;
        if !self.to_endpoints {
            return Ok((spec.text("clusterIP").to_owned(), number(port)));
        }
        let ready = ready_endpoints(&*self.objects, namespace, name, port_name);
        let found = ready.choose(&mut rand::rng()).cloned();
        found.ok_or_else(|| unreachable(format!("no endpoints available for service {name:?}")))
    }

    /// Whether calls can get through, in the words of the condition of an APIService.
    pub fn check(&self, namespace: &str, name: &str, port: i64) -> Result<(), Unresolved> {
        let lacks = |reason, message: String| Err(Unresolved { reason, message });
        let Some(service) = self.service(namespace, name) else {
            return lacks("ServiceNotFound", format!("service/{name} in {namespace:?} is not present"));
        };
        let spec = map_at(&service.value, &["spec"]);
        if spec.text("type") != "ClusterIP" {
            return Ok(());
        }
        let Some(port_name) = port_name(spec, port) else {
            let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return lacks("ServicePortError", message);
        };
        if slices_of(&*self.objects, namespace, name).is_empty() {
            let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return lacks("EndpointsNotFound", message);
        }
        if ready_endpoints(&*self.objects, namespace, name, port_name).is_empty() {
            let of = format!("endpointslices for service/{name} in {namespace:?}");
            return lacks("MissingEndpoints", format!("{of} have no addresses with port name {port_name:?}"));
        }
        Ok(())
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Object> {
        self.objects.get(&GroupResource::new("", "services"), namespace, name)
    }
}

/// The name of a Service's port, which may be empty.
fn port_name(spec: &Map, port: i64) -> Option<&str> {
    spec.items("ports").find(|p| p.int("port") == Some(port)).map(|p| p.text("name"))
}

fn slices_of(objects: &dyn Objects, namespace: &str, service: &str) -> Vec<Object> {
    let mut slices = objects.list(&GroupResource::new(SLICES.0, SLICES.1), namespace);
    slices.retain(|s| s.value.meta().label("kubernetes.io/service-name") == Some(service));
    slices
}

/// The ready endpoints of a Service for its port of this name.
pub fn ready_endpoints(
    objects: &dyn Objects,
    namespace: &str,
    service: &str,
    port_name: &str,
) -> Vec<(String, u16)> {
    slices_of(objects, namespace, service).iter().flat_map(|s| addresses(&s.value, port_name)).collect()
}

fn number(port: i64) -> u16 {
    u16::try_from(port).unwrap_or_default()
}

/// Ready addresses of a slice with the number of the port of this name.
fn addresses(slice: &Value, name: &str) -> Vec<(String, u16)> {
    let port = slice.list_at(&["ports"]).iter().find(|p| p.str_at(&["name"]) == name);
    let Some(number) = port.and_then(|p| p.int_at(&["port"])).map(number) else { return Vec::new() };
    let ready =
        slice.list_at(&["endpoints"]).iter().filter(|e| e.bool_at(&["conditions", "ready"]) != Some(false));
    ready
        .filter_map(|e| e.list_at(&["addresses"]).first()?.as_str())
        .map(|ip| (ip.to_owned(), number))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;
    use serde_json::json;

    #[test]
    fn services_resolve_to_addresses_or_endpoints() {
        let objects = Fake::with(&[
            (
                "services",
                json!({"metadata": {"namespace": "n", "name": "s"}, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"a": "b"}, "ports": [{"port": 443}]}}),
            ),
            (
                "services",
                json!({"metadata": {"namespace": "n", "name": "empty"}, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.2", "selector": {"a": "b"}, "ports": [{"port": 443}]}}),
            ),
            (
                "services",
                json!({"metadata": {"namespace": "n", "name": "new"}, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.3", "ports": [{"port": 443}]}}),
            ),
            (
                "endpointslices.discovery.k8s.io",
                json!({"metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                    "endpoints": [{"addresses": ["10.1.0.1"]}, {"addresses": ["10.1.0.2"], "conditions": {"ready": false}}], "ports": [{"name": "", "port": 8443}]}),
            ),
            (
                "endpointslices.discovery.k8s.io",
                json!({"metadata": {"namespace": "n", "name": "empty-1", "labels": {"kubernetes.io/service-name": "empty"}}}),
            ),
        ]);
        let resolver = |to_endpoints| Resolver { objects: objects.clone(), to_endpoints };
        assert_eq!(resolver(false).resolve("n", "s", 443).unwrap(), ("10.0.0.1".into(), 443));
        assert_eq!(resolver(true).resolve("n", "s", 443).unwrap(), ("10.1.0.1".into(), 8443));
        assert_eq!(resolver(false).resolve("n", "empty", 443).unwrap(), ("10.0.0.2".into(), 443));
        let wrong = |name, port| resolver(true).resolve("n", name, port).unwrap_err().message;
        assert_eq!(wrong("s", 80), "no service port 80 found for service \"s\"");
        assert_eq!(wrong("empty", 443), "no endpoints available for service \"empty\"");
        assert_eq!(wrong("none", 443), "service \"none\" not found");
        let lacks = |name, port| resolver(false).check("n", name, port).unwrap_err().reason;
        assert_eq!(resolver(false).check("n", "s", 443), Ok(()));
        assert_eq!(lacks("s", 80), "ServicePortError");
        assert_eq!(lacks("none", 443), "ServiceNotFound");
        assert_eq!(lacks("new", 443), "EndpointsNotFound");
        assert_eq!(lacks("empty", 443), "MissingEndpoints");
    }
}
