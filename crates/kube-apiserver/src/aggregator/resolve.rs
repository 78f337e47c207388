//! From a Service and a port to an address that can be connected to.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::GroupResource;
use apiserver::resource::Objects;
use rand::RngExt as _;

use crate::strategies::fields::{Fields, map_at, of};

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

impl Resolver {
    /// Host and port.
    pub fn resolve(&self, namespace: &str, name: &str, port: i64) -> Result<(String, u16), Unresolved> {
        let service =
            self.objects.get(&GroupResource::new("", "services"), namespace, name).ok_or_else(|| {
                Unresolved {
                    reason: "ServiceNotFound",
                    message: format!("service/{name} in {namespace:?} is not present"),
                }
            })?;
        let spec = map_at(&service.value, &["spec"]);
        let port_row =
            spec.items("ports").find(|p| p.int("port") == Some(port)).ok_or_else(|| Unresolved {
                reason: "ServicePortError",
                message: format!("service/{name} in {namespace:?} is not listening on port {port}"),
            })?;
        if spec.text("type") == "ExternalName" {
            return Ok((spec.text("externalName").to_owned(), number(port)));
        }
        let endpoints = self.objects.get(&GroupResource::new("", "endpoints"), namespace, name);
        let ready = endpoints.map(|e| addresses(&e.value, port_row.text("name"))).unwrap_or_default();
        if ready.is_empty() && spec.has("selector") {
            return Err(Unresolved {
                reason: "MissingEndpoints",
                message: format!(
                    "endpoints for service/{name} in {namespace:?} have no addresses with port name {:?}",
                    port_row.text("name")
                ),
            });
        }
        if self.to_endpoints && !ready.is_empty() {
            let pick = rand::rng().random_range(0..ready.len());
            return Ok(ready[pick].clone());
        }
        Ok((spec.text("clusterIP").to_owned(), number(port)))
    }
}

fn number(port: i64) -> u16 {
    u16::try_from(port).unwrap_or_default()
}

/// Ready addresses of a port by its name.
fn addresses(endpoints: &Value, port: &str) -> Vec<(String, u16)> {
    let of_subset = |s: &Map| -> Vec<(String, u16)> {
        let Some(p) = s.items("ports").find(|p| p.text("name") == port) else { return Vec::new() };
        s.items("addresses").map(|a| (a.text("ip").to_owned(), number(p.int("port").unwrap_or(0)))).collect()
    };
    of(endpoints).items("subsets").flat_map(of_subset).collect()
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
                json!({"metadata": {"namespace": "n", "name": "s"}, "spec": {"clusterIP": "10.0.0.1", "selector": {"a": "b"}, "ports": [{"port": 443}]}}),
            ),
            (
                "services",
                json!({"metadata": {"namespace": "n", "name": "empty"}, "spec": {"clusterIP": "10.0.0.2", "selector": {"a": "b"}, "ports": [{"port": 443}]}}),
            ),
            (
                "endpoints",
                json!({"metadata": {"namespace": "n", "name": "s"}, "subsets": [{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 8443}]}]}),
            ),
        ]);
        let resolver = |to_endpoints| Resolver { objects: objects.clone(), to_endpoints };
        assert_eq!(resolver(false).resolve("n", "s", 443).unwrap(), ("10.0.0.1".into(), 443));
        assert_eq!(resolver(true).resolve("n", "s", 443).unwrap(), ("10.1.0.1".into(), 8443));
        assert_eq!(resolver(true).resolve("n", "s", 80).unwrap_err().reason, "ServicePortError");
        assert_eq!(resolver(true).resolve("n", "empty", 443).unwrap_err().reason, "MissingEndpoints");
        assert_eq!(resolver(true).resolve("n", "none", 443).unwrap_err().reason, "ServiceNotFound");
    }
}
