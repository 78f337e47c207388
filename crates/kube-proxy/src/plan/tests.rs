//! Services and slices in, frontends and endpoints out.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn show(service: Value, slices: Value) -> String {
    let service: Service = serde_json::from_value(service).unwrap();
    let slices: Vec<Slice> = serde_json::from_value(slices).unwrap();
    let plan = plan(&service, slices.iter(), &Node { name: "here".into() });
    let line = |b: &Balance| {
        let address = b.frontend.address.map_or("node".into(), |a| a.to_string());
        let backends: Vec<String> = b.backends.iter().map(|e| format!("{}:{}", e.address, e.port)).collect();
        format!(
            "{address}/{}:{} {:?} {:?} [{}]",
            b.frontend.protocol,
            b.frontend.port,
            b.scope,
            b.masquerade,
            backends.join(" ")
        )
    };
    plan.balances.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn slice(endpoints: Value) -> Value {
    json!([{"addressType": "IPv4", "ports": [{"name": "http", "protocol": "TCP", "port": 8080}], "endpoints": endpoints}])
}

fn web(more: Value) -> Value {
    let mut spec = json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.7"], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"spec": spec})
}

fn two() -> Value {
    slice(json!([
        {"addresses": ["10.244.0.5"], "nodeName": "here", "conditions": {"ready": true}},
        {"addresses": ["10.244.1.6"], "nodeName": "there", "conditions": {}},
        {"addresses": ["10.244.1.7"], "nodeName": "there", "conditions": {"ready": false}},
    ]))
}

#[test]
fn a_cluster_ip_leads_to_ready_endpoints() {
    assert_eq!(show(web(json!({})), two()), "10.96.0.7/6:80 All NotPods [10.244.0.5:8080 10.244.1.6:8080]");
}

#[test]
fn policies_choose_among_this_nodes_endpoints() {
    let internal = web(json!({"internalTrafficPolicy": "Local"}));
    assert_eq!(show(internal, two()), "10.96.0.7/6:80 All NotPods [10.244.0.5:8080]");
    let ports = json!([{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}]);
    let external = web(json!({"type": "NodePort", "ports": ports, "externalTrafficPolicy": "Local"}));
    assert_eq!(
        show(external, two()),
        "node/6:30080 All Always [10.244.0.5:8080 10.244.1.6:8080]\n\
         node/6:30080 Outside Never [10.244.0.5:8080]\n\
         10.96.0.7/6:80 All NotPods [10.244.0.5:8080 10.244.1.6:8080]"
    );
}

#[test]
fn endpoints_that_end_serve_when_nobody_else_does() {
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    let only = slice(json!([{"addresses": ["10.244.0.5"], "nodeName": "here", "conditions": ending}]));
    assert_eq!(show(web(json!({})), only), "10.96.0.7/6:80 All NotPods [10.244.0.5:8080]");
    let with_ready = slice(json!([
        {"addresses": ["10.244.0.5"], "nodeName": "here", "conditions": ending},
        {"addresses": ["10.244.1.6"], "nodeName": "there", "conditions": {"ready": true}}]));
    assert_eq!(
        show(web(json!({"internalTrafficPolicy": "Local"})), with_ready.clone()),
        "10.96.0.7/6:80 All NotPods [10.244.0.5:8080]"
    );
    assert_eq!(show(web(json!({})), with_ready), "10.96.0.7/6:80 All NotPods [10.244.1.6:8080]");
}

#[test]
fn headless_and_external_names_are_not_the_proxys() {
    assert_eq!(show(web(json!({"clusterIPs": ["None"]})), two()), "");
    assert_eq!(show(web(json!({"type": "ExternalName", "clusterIPs": []})), two()), "");
}

#[test]
fn a_balancer_with_source_ranges_stays_closed() {
    let mut service = web(json!({"type": "LoadBalancer"}));
    service["status"] =
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"ip": "192.0.2.8", "ipMode": "Proxy"}]}});
    assert!(show(service.clone(), two()).contains("192.0.2.7/6:80 All Always"));
    assert!(!show(service.clone(), two()).contains("192.0.2.8"));
    service["spec"]["loadBalancerSourceRanges"] = json!(["10.0.0.0/8"]);
    assert!(!show(service, two()).contains("192.0.2.7"));
}
