//! Services: defaults, what an update keeps, rows. Addresses and ports are taken by the allocators.

pub mod validate;

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::Status;
use apimachinery::field::ErrorList;
use apiserver::request::RequestContext;
use apiserver::strategy::{Strategy, Undo};
use async_trait::async_trait;
use jiff::Timestamp;

use super::cells;
use super::fields::{self, Fields, map_at};
use crate::allocators::ServiceAllocator;

pub struct Service {
    /// Set once the allocators run; without it (tests of defaults) nothing is allocated.
    pub allocator: Option<Arc<ServiceAllocator>>,
}

pub fn is_external(service: &Map) -> bool {
    service.sub("spec").is_some_and(|s| s.text("type") == "ExternalName")
}

/// Types that take node ports.
pub fn wants_node_ports(spec: &Map) -> bool {
    match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.get("allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false),
        _ => false,
    }
}

/// Load balancers that keep traffic on its node answer health checks at a port of their own.
pub fn wants_health_port(spec: &Map) -> bool {
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

fn is_externally_reached(spec: &Map) -> bool {
    let by_ip = spec.text("type") == "ClusterIP" && !spec.list("externalIPs").is_empty();
    matches!(spec.text("type"), "NodePort" | "LoadBalancer") || by_ip
}

#[async_trait]
impl Strategy for Service {
    fn default(&self, _version: &str, object: &mut Map) {
        let Some(spec) = object.sub_mut("spec") else { return };
        spec.default("sessionAffinity", "None");
        if spec.text("sessionAffinity") == "None" {
            spec.remove("sessionAffinityConfig");
        } else if spec.text("sessionAffinity") == "ClientIP" {
            spec.map_mut("sessionAffinityConfig")
                .map_mut("clientIP")
                .default_zero("timeoutSeconds", 10800i64);
        }
        spec.default("type", "ClusterIP");
        spec.items_mut("ports").for_each(default_port);
        if is_externally_reached(spec) {
            spec.default("externalTrafficPolicy", "Cluster");
        }
        if spec.text("type") != "ExternalName" {
            spec.default("internalTrafficPolicy", "Cluster");
        }
        if spec.text("type") == "LoadBalancer" {
            spec.default("allocateLoadBalancerNodePorts", true);
            let balancer = object.sub_mut("status").and_then(|s| s.sub_mut("loadBalancer"));
            for ingress in balancer.into_iter().flat_map(|b| b.items_mut("ingress")) {
                if !ingress.text("ip").is_empty() {
                    ingress.default("ipMode", "VIP");
                }
            }
        }
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", fields::map([("loadBalancer", Value::map())]));
        let Some(spec) = object.sub_mut("spec") else { return };
        normalize_ips(spec, None);
        drop_type_dependent(spec, None);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        object.copy_from(old, "status");
        let kind = |o: &Map| o.sub("spec").map(|s| s.text("type").to_owned()).unwrap_or_default();
        if kind(old) == "LoadBalancer" && kind(object) != "LoadBalancer" {
            object.map_mut("status").insert("loadBalancer", Map::new());
        }
        let empty = Map::new();
        let before = old.sub("spec").unwrap_or(&empty).clone();
        let Some(spec) = object.sub_mut("spec") else { return };
        patch_allocated(spec, &before);
        normalize_ips(spec, Some(&before));
        drop_type_dependent(spec, Some(&before));
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        validate::status(object, old)
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        validate::service(object)
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        validate::update(object, old)
    }

    async fn allocate(
        &self,
        cx: &RequestContext,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Box<dyn Undo>>, Status> {
        match &self.allocator {
            Some(allocator) => allocator.allocate(cx, object, old).await,
            None => Ok(None),
        }
    }

    async fn committed(&self, cx: &RequestContext, object: Option<&Arc<Value>>, old: Option<&Arc<Value>>) {
        if let (Some(allocator), Some(old)) = (&self.allocator, old) {
            allocator.release(cx, object.map(|o| &**o), old).await;
        }
    }

    fn name_errors(&self, name: &str, generated_prefix: bool) -> Option<Vec<String>> {
        Some(super::names::dns1123_label(&super::names::masked(name, generated_prefix)))
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let spec = map_at(object, &["spec"]);
        Some(vec![
            cells::name(object),
            spec.text("type").into(),
            cells::or_none(spec.text("clusterIP")),
            external(object).into(),
            ports(spec),
            cells::age(object, now),
            cells::labels(spec.sub("selector").unwrap_or(&Map::new())),
        ])
    }
}

fn default_port(port: &mut Map) {
    let number = port.get("port").cloned().unwrap_or_default();
    let unset = match port.get("targetPort") {
        None | Some(Value::Null | Value::Int(0)) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(_) => false,
    };
    if unset {
        port.insert("targetPort", number);
    }
    port.default("protocol", "TCP");
}

/// `clusterIP` is the first of `clusterIPs`; a client that knows only one of them is understood.
fn normalize_ips(spec: &mut Map, old: Option<&Map>) {
    let ip = spec.text("clusterIP").to_owned();
    let Some(old) = old else {
        if !ip.is_empty() && spec.list("clusterIPs").is_empty() {
            spec.insert("clusterIPs", vec![Value::from(ip)]);
        }
        return;
    };
    let ips_same = spec.same(old, "clusterIPs");
    if ip != old.text("clusterIP") && ips_same {
        if ip.is_empty() {
            spec.remove("clusterIPs");
        } else {
            spec.insert("clusterIPs", vec![Value::from(ip)]);
        }
    } else if ip == old.text("clusterIP") && !ips_same && !ip.is_empty() && spec.list("clusterIPs").is_empty()
    {
        spec.insert("clusterIPs", vec![Value::from(ip)]);
    }
}

/// An update that leaves out what the server allocated means to keep it.
fn patch_allocated(spec: &mut Map, old: &Map) {
    let needs_ip = |s: &Map| matches!(s.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer");
    if needs_ip(old) && needs_ip(spec) {
        if spec.text("clusterIP").is_empty() {
            spec.copy_from(old, "clusterIP");
        }
        if spec.list("clusterIPs").is_empty() && spec.text("clusterIP") == old.text("clusterIP") {
            spec.copy_from(old, "clusterIPs");
        }
    }
    if wants_node_ports(old) && wants_node_ports(spec) {
        keep_node_ports(spec, old);
    }
    if wants_health_port(old) && wants_health_port(spec) && spec.int("healthCheckNodePort").unwrap_or(0) == 0
    {
        spec.copy_from(old, "healthCheckNodePort");
    }
}

fn keep_node_ports(spec: &mut Map, old: &Map) {
    let taken: Vec<i64> = spec.items("ports").filter_map(|p| p.int("nodePort")).collect();
    for port in spec.items_mut("ports") {
        if port.int("nodePort").unwrap_or(0) != 0 {
            continue;
        }
        let same =
            |o: &&Map| o.int("port") == port.int("port") && o.text("protocol") == port.text("protocol");
        if let Some(number) = old.items("ports").find(same).and_then(|o| o.int("nodePort"))
            && !taken.contains(&number)
            && number != 0
        {
            port.insert("nodePort", number);
        }
    }
}

/// Fields that a former type set and the new type does not know go, unless the caller changed them, which
/// validation then refuses.
fn drop_type_dependent(spec: &mut Map, old: Option<&Map>) {
    let Some(old) = old else {
        drop_health(spec, None);
        return;
    };
    if spec.text("type") == "ExternalName" && old.text("type") != "ExternalName" {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if spec.same(old, name) {
                spec.remove(name);
            }
        }
    }
    if wants_node_ports_at_all(old) && !wants_node_ports_at_all(spec) {
        drop_node_ports(spec, old);
    }
    drop_health(spec, Some(old));
    if old.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer" {
        for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.same(old, name) {
                spec.remove(name);
            }
        }
    }
    if is_externally_reached(old) && !is_externally_reached(spec) && spec.same(old, "externalTrafficPolicy") {
        spec.remove("externalTrafficPolicy");
    }
}

fn wants_node_ports_at_all(spec: &Map) -> bool {
    matches!(spec.text("type"), "NodePort" | "LoadBalancer")
}

fn drop_node_ports(spec: &mut Map, old: &Map) {
    for port in spec.items_mut("ports") {
        let number = port.int("nodePort").unwrap_or(0);
        if number != 0 && old.items("ports").any(|o| o.int("nodePort") == Some(number)) {
            port.remove("nodePort");
        }
    }
}

fn drop_health(spec: &mut Map, old: Option<&Map>) {
    if let Some(old) = old
        && wants_health_port(old)
        && !wants_health_port(spec)
        && spec.same(old, "healthCheckNodePort")
    {
        spec.remove("healthCheckNodePort");
    }
}

fn ports(spec: &Map) -> Value {
    let one_port = |p: &Map| {
        let (port, node, protocol) =
            (p.int("port").unwrap_or(0), p.int("nodePort").unwrap_or(0), p.text("protocol"));
        if node > 0 { format!("{port}:{node}/{protocol}") } else { format!("{port}/{protocol}") }
    };
    cells::or_none(&spec.items("ports").map(one_port).collect::<Vec<_>>().join(","))
}

fn external(service: &Value) -> String {
    let spec = map_at(service, &["spec"]);
    let ips = cells::joined(spec.list("externalIPs"), ",");
    let none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
    match spec.text("type") {
        "ExternalName" => spec.text("externalName").to_owned(),
        "LoadBalancer" => {
            let balancer = map_at(service, &["status", "loadBalancer"]);
            let mut all: Vec<&str> = balancer
                .items("ingress")
                .map(|i| if i.text("ip").is_empty() { i.text("hostname") } else { i.text("ip") })
                .filter(|t| !t.is_empty())
                .collect();
            all.sort_unstable();
            all.dedup();
            match (all.is_empty(), ips.is_empty()) {
                (true, true) => "<pending>".into(),
                (true, false) => ips,
                (false, true) => all.join(","),
                (false, false) => format!("{},{ips}", all.join(",")),
            }
        }
        _ => none(ips),
    }
}
