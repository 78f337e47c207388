//! Services and slices in, frontends and endpoints out.

use serde_json::{Value, json};

use super::*;

fn show(service: Value, slices: Value) -> String {
    let service: Service = serde_json::from_value(service).unwrap();
    let slices: Vec<Slice> = serde_json::from_value(slices).unwrap();
    let plan = plan(&service, slices.iter(), &Node { name: "here".into(), ..Node::default() });
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
        "node/6:30080 All NotPods [10.244.0.5:8080 10.244.1.6:8080]\n\
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
fn a_balancer_is_open_to_its_source_ranges() {
    let mut service = web(json!({"type": "LoadBalancer"}));
    service["status"] =
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"ip": "192.0.2.8", "ipMode": "Proxy"}]}});
    assert!(show(service.clone(), two()).contains("192.0.2.7/6:80 All Always"));
    assert!(!show(service.clone(), two()).contains("192.0.2.8"));
    let allowed = |ranges: Value, own: [u8; 4]| {
        let mut service = service.clone();
        service["spec"]["loadBalancerSourceRanges"] = ranges;
        let service: Service = serde_json::from_value(service).unwrap();
        let node = Node { address: Some(own.into()), ..Node::default() };
        let found = plan(&service, std::iter::empty(), &node).allowed;
        found.iter().map(|a| format!("{:?} {:?}", a.frontend.address.unwrap(), a.sources)).collect::<Vec<_>>()
    };
    assert_eq!(allowed(json!([" 10.0.0.0/8 "]), [192, 168, 0, 1]), ["192.0.2.7 [10.0.0.0/8]"]);
    assert_eq!(allowed(json!(["10.0.0.0/8"]), [10, 0, 0, 1]), ["192.0.2.7 [10.0.0.0/8, 192.0.2.7/32]"]);
    assert!(allowed(json!(["2001:db8::/32"]), [10, 0, 0, 1]).is_empty(), "none of this family: open to all");
}

#[test]
fn affinity_has_a_time() {
    let seconds = |spec: Value| {
        let service: Service = serde_json::from_value(web(spec)).unwrap();
        let slices: Vec<Slice> = serde_json::from_value(two()).unwrap();
        plan(&service, slices.iter(), &Node::default()).balances[0].affinity
    };
    assert_eq!(seconds(json!({"sessionAffinity": "None"})), None);
    assert_eq!(seconds(json!({"sessionAffinity": "ClientIP"})), Some(10800));
    let config = json!({"clientIP": {"timeoutSeconds": 7}});
    assert_eq!(seconds(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config})), Some(7));
}

#[test]
fn hints_count_when_every_ready_endpoint_has_one() {
    let hinted = |zones: [&str; 2], nodes: [&str; 2]| {
        let hint = |name: &str| if name.is_empty() { json!([]) } else { json!([{"name": name}]) };
        let endpoint = |address: &str, at: usize| {
            json!({"addresses": [address], "nodeName": "there", "conditions": {"ready": true},
                   "hints": {"forZones": hint(zones[at]), "forNodes": hint(nodes[at])}})
        };
        let slices: Vec<Slice> =
            serde_json::from_value(slice(json!([endpoint("10.244.1.1", 0), endpoint("10.244.1.2", 1)])))
                .unwrap();
        let service: Service = serde_json::from_value(web(json!({}))).unwrap();
        let node = Node { name: "here".into(), zone: "a".into(), address: None };
        let plan = plan(&service, slices.iter(), &node);
        plan.balances[0].backends.iter().map(|b| b.address.octets()[3]).collect::<Vec<_>>()
    };
    assert_eq!(hinted(["a", "b"], ["", ""]), [1]);
    assert_eq!(hinted(["a", ""], ["", ""]), [1, 2]);
    assert_eq!(hinted(["b", "b"], ["", ""]), [1, 2]);
    assert_eq!(hinted(["a", "b"], ["there", "here"]), [2]);
    assert_eq!(hinted(["a", "b"], ["there", "there"]), [1]);
}
