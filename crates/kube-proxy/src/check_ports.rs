//! Health check node ports: for each Service of type LoadBalancer with external policy Local a small HTTP server that
//! tells the balancer whether this node has endpoints of it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::ObjectKey;
use component_base::serving::{Handler, Server, answer};
use http::{HeaderValue, Response, StatusCode};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::health::{Health, json_answer};
use crate::views::{Service, Slice};

/// The port at which a Service's balancer asks; None: it does not.
pub fn port(service: &Service) -> Option<u16> {
    let spec = &service.spec;
    let asks = spec.kind == "LoadBalancer" && spec.external_traffic_policy == "Local";
    Some(spec.health_check_node_port).filter(|port| asks && *port != 0)
}

/// Ready endpoints on this node, by address.
pub fn local_endpoints<'a>(slices: impl Iterator<Item = &'a Slice>, node: &str) -> usize {
    let endpoints = slices.filter(|s| s.address_type == "IPv4").flat_map(|s| &s.endpoints);
    let local = endpoints.filter(|e| e.conditions.ready.unwrap_or(true) && e.node_name == node);
    local.filter_map(|e| e.addresses.first()).collect::<HashSet<_>>().len()
}

/// A server that runs, until this goes.
struct Running {
    port: u16,
    endpoints: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// The servers of this node.
pub struct CheckPorts {
    address: Ipv4Addr,
    health: Health,
    running: HashMap<ObjectKey, Running>,
}

impl CheckPorts {
    pub fn new(address: Ipv4Addr, health: Health) -> Self {
        Self { address, health, running: HashMap::new() }
    }

    /// `wanted`: port and number of local endpoints. A port that cannot be had is told, and tried again when the
    /// Service changes.
    pub async fn set(&mut self, key: &ObjectKey, wanted: Option<(u16, usize)>) {
        let Some((port, endpoints)) = wanted else {
            self.running.remove(key);
            return;
        };
        if let Some(running) = self.running.get(key).filter(|r| r.port == port) {
            running.endpoints.store(endpoints, Ordering::Relaxed);
            return;
        }
        self.running.remove(key);
        match Server::bind(SocketAddr::new(IpAddr::V4(self.address), port), None).await {
            Ok(server) => {
                let (endpoints, stop) = (Arc::new(AtomicUsize::new(endpoints)), CancellationToken::new());
                let handler = handler(key.clone(), endpoints.clone(), self.health.clone());
                tokio::spawn(server.serve(handler, stop.clone(), Duration::from_secs(1)));
                self.running.insert(key.clone(), Running { port, endpoints, _stop: stop.drop_guard() });
            }
            Err(error) => tracing::warn!(service = %key, %error, "the health check port is not served"),
        }
    }
}

fn handler(key: ObjectKey, endpoints: Arc<AtomicUsize>, health: Health) -> Handler {
    Arc::new(move |_| {
        let found = respond(&key, endpoints.load(Ordering::Relaxed), health.healthy());
        Box::pin(std::future::ready(answer(found)))
    })
}

/// Upstream's body, spaces included.
fn respond(key: &ObjectKey, endpoints: usize, healthy: bool) -> Response<http_body_util::Full<bytes::Bytes>> {
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\
         \t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}",
        key.namespace(),
        key.name()
    );
    let good = endpoints > 0 && healthy;
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut found = json_answer(status, body);
    if let Ok(weight) = HeaderValue::from_str(&endpoints.to_string()) {
        found.headers_mut().insert("x-load-balancing-endpoint-weight", weight);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn only_balancers_with_policy_local_ask() {
        let of = |kind: &str, policy: &str| {
            let spec = json!({"type": kind, "externalTrafficPolicy": policy, "healthCheckNodePort": 31000});
            port(&serde_json::from_value(json!({"spec": spec})).unwrap())
        };
        assert_eq!(of("LoadBalancer", "Local"), Some(31000));
        assert_eq!(of("LoadBalancer", "Cluster"), None);
        assert_eq!(of("NodePort", "Local"), None);
    }

    #[test]
    fn ready_endpoints_of_this_node_count_once() {
        let endpoint = |address: &str, node: &str, ready: bool| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": ready}});
        let endpoints = [
            endpoint("10.1.1.1", "here", true),
            endpoint("10.1.1.2", "here", false),
            endpoint("10.1.1.3", "there", true),
        ];
        let slice: Slice =
            serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints})).unwrap();
        assert_eq!(local_endpoints([&slice, &slice].into_iter(), "here"), 1);
    }

    async fn ask(port: u16) -> String {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn the_balancer_hears_how_many_there_are() {
        let (health, key) = (Health::default(), ObjectKey::new("ns", "web"));
        health.updated();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut ports = CheckPorts::new([127, 0, 0, 1].into(), health);
        ports.set(&key, Some((free, 2))).await;
        let said = ask(free).await;
        assert!(said.starts_with("HTTP/1.0 200"), "{said}");
        assert!(said.contains("x-load-balancing-endpoint-weight: 2"), "{said}");
        assert!(said.ends_with("\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"), "{said}");
        ports.set(&key, Some((free, 0))).await;
        assert!(ask(free).await.starts_with("HTTP/1.0 503"));
        ports.set(&key, None).await;
        // The listener goes with its task, a moment later.
        while tokio::net::TcpStream::connect(("127.0.0.1", free)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
