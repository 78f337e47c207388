//! Validation of Services.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::{Fields, map_at};
use super::super::{names, validation};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub fn service(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
    let kind = spec.text("type");
    let headless = spec.text("clusterIP") == "None";
    validation::one_of(&mut errors, kind, &TYPES, &path.child("type"), true);
    if spec.list("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    if headless && matches!(kind, "LoadBalancer" | "NodePort") {
        let why = format!("may not be set to 'None' for {kind} services");
        errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", why));
    }
    if kind == "ExternalName" {
        external_name(spec, &path, &mut errors);
    }
    ports(spec, &path.child("ports"), headless, &mut errors);
    if let Some(selector) = spec.sub("selector") {
        validation::labels(selector, &path.child("selector"), &mut errors);
    }
    affinity(spec, &path, &mut errors);
    addresses(spec, &path, &mut errors);
    policies(spec, &path, &mut errors);
    errors
}

fn external_name(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let name = spec.text("externalName").trim_end_matches('.');
    let at = path.child("externalName");
    if spec.has("clusterIP") && !spec.text("clusterIP").is_empty() {
        errors.push(Error::forbidden(&path.child("clusterIPs"), "may not be set for ExternalName services"));
    }
    if name.is_empty() {
        errors.push(Error::required(&at, ""));
    } else {
        errors.extend(
            names::dns1123_subdomain(name)
                .into_iter()
                .map(|why| Error::invalid(&at, spec.text("externalName"), why)),
        );
    }
}

fn ports(spec: &Map, path: &Path, headless: bool, errors: &mut ErrorList) {
    let several = spec.list("ports").len() > 1;
    let mut seen = std::collections::HashSet::new();
    let mut pairs = std::collections::HashSet::new();
    for (i, p) in spec.items("ports").enumerate() {
        let at = path.index(i);
        let name = p.text("name");
        if name.is_empty() && several {
            errors.push(Error::required(&at.child("name"), ""));
        } else if !name.is_empty() {
            errors.extend(
                names::dns1123_label(name)
                    .into_iter()
                    .map(|why| Error::invalid(&at.child("name"), name, why)),
            );
            if !seen.insert(name) {
                errors.push(Error::duplicate(&at.child("name"), name));
            }
        }
        validation::port(errors, p.int("port").unwrap_or(0), &at.child("port"));
        validation::one_of(errors, p.text("protocol"), &["SCTP", "TCP", "UDP"], &at.child("protocol"), true);
        let null = Value::Null;
        let target = p.get("targetPort").unwrap_or(&null);
        validation::port_or_name(errors, target, &at.child("targetPort"));
        let node = p.int("nodePort").unwrap_or(0);
        if node != 0 && (spec.text("type") == "ClusterIP" || headless) {
            errors
                .push(Error::forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
        }
        if !pairs.insert((p.text("protocol"), p.int("port"))) {
            let mut shown = Map::new();
            shown.push("Name", "");
            shown.push("Protocol", p.text("protocol"));
            shown.push("AppProtocol", Value::Null);
            shown.push("Port", p.int("port").unwrap_or(0));
            shown.push("TargetPort", 0i64);
            shown.push("NodePort", 0i64);
            errors.push(Error::duplicate(&at, &validation::Json(&Value::Map(shown))));
        }
    }
    node_port_pairs(spec, path, errors);
}

fn node_port_pairs(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let mut taken = std::collections::HashSet::new();
    for (i, p) in spec.items("ports").enumerate() {
        let node = p.int("nodePort").unwrap_or(0);
        if node != 0 && !taken.insert((p.text("protocol"), node)) {
            errors.push(Error::duplicate(&path.index(i).child("nodePort"), &node));
        }
    }
}

fn affinity(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let word = spec.text("sessionAffinity");
    validation::one_of(errors, word, &["ClientIP", "None"], &path.child("sessionAffinity"), true);
    let seconds = spec
        .sub("sessionAffinityConfig")
        .and_then(|c| c.sub("clientIP"))
        .and_then(|c| c.int("timeoutSeconds"));
    if let Some(n) = seconds
        && !(1..=86400).contains(&n)
    {
        let at = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        errors.push(Error::invalid(&at, &n, "must be greater than 0 and less than 86400"));
    }
}

const NOT_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn addresses(spec: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, ip) in spec.list("clusterIPs").iter().filter_map(Value::as_str).enumerate() {
        let at = path.child("clusterIPs").index(i);
        if i == 0 && ip != spec.text("clusterIP") {
            errors.push(Error::invalid(
                &path.child("clusterIPs"),
                &validation::Json(&Value::List(spec.list("clusterIPs").to_vec())),
                "first value must match `clusterIP`",
            ));
        }
        if ip != "None" && ip.parse::<std::net::IpAddr>().is_err() {
            errors.push(Error::invalid(&at, ip, NOT_IP));
        }
    }
    for (i, ip) in spec.list("externalIPs").iter().filter_map(Value::as_str).enumerate() {
        match ip.parse::<std::net::IpAddr>() {
            Err(_) => errors.push(Error::invalid(&path.child("externalIPs").index(i), ip, NOT_IP)),
            Ok(ip) if ip.is_unspecified() || ip.is_loopback() => {
                let why = if ip.is_loopback() {
                    "may not be in the loopback range (127.0.0.0/8, ::1/128)"
                } else {
                    "may not be unspecified (0.0.0.0 or ::)"
                };
                errors.push(Error::invalid(
                    &path.child("externalIPs").index(i),
                    ip.to_string().as_str(),
                    why,
                ));
            }
            Ok(_) => {}
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    validation::one_of(errors, spec.text("ipFamilyPolicy"), &policies, &path.child("ipFamilyPolicy"), false);
    for (i, family) in spec.list("ipFamilies").iter().filter_map(Value::as_str).enumerate() {
        validation::one_of(errors, family, &["IPv4", "IPv6"], &path.child("ipFamilies").index(i), true);
    }
}

fn policies(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let external = spec.text("externalTrafficPolicy");
    let at = path.child("externalTrafficPolicy");
    validation::one_of(errors, external, &["Cluster", "Local"], &at, false);
    let reached =
        matches!(spec.text("type"), "NodePort" | "LoadBalancer") || !spec.list("externalIPs").is_empty();
    if !external.is_empty() && !reached {
        errors.push(Error::invalid(&at, external, "may only be set for externally-accessible services"));
    }
    let internal = spec.text("internalTrafficPolicy");
    validation::one_of(errors, internal, &["Cluster", "Local"], &path.child("internalTrafficPolicy"), false);
    let health = spec.int("healthCheckNodePort").unwrap_or(0);
    if health != 0 && !super::wants_health_port(spec) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&path.child("healthCheckNodePort"), &health, why));
    }
    if spec.has("allocateLoadBalancerNodePorts") && spec.text("type") != "LoadBalancer" {
        errors.push(Error::forbidden(
            &path.child("allocateLoadBalancerNodePorts"),
            "may only be used when `type` is 'LoadBalancer'",
        ));
    }
    if spec.has("loadBalancerClass") && spec.text("type") != "LoadBalancer" {
        errors.push(Error::forbidden(
            &path.child("loadBalancerClass"),
            "may only be used when `type` is 'LoadBalancer'",
        ));
    }
}

/// The first address is fixed while the type needs one.
pub fn update(object: &Value, old: &Value) -> ErrorList {
    let mut errors = service(object);
    let (spec, before) = (map_at(object, &["spec"]), map_at(old, &["spec"]));
    let external = |s: &Map| s.text("type") == "ExternalName";
    if !external(spec) && !external(before) {
        let (now, then) = (spec.text("clusterIP"), before.text("clusterIP"));
        if !then.is_empty() && now != then {
            let at = Path::new("spec").child("clusterIPs").index(0);
            let shown = Value::List(spec.list("clusterIPs").to_vec());
            errors.push(Error::invalid(&at, &validation::Json(&shown), "may not change once set"));
        }
        let (now, then) = (spec.list("ipFamilies").first(), before.list("ipFamilies").first());
        if then.is_some() && now.is_some() && now != then {
            let at = Path::new("spec").child("ipFamilies").index(0);
            let shown = Value::List(spec.list("ipFamilies").to_vec());
            errors.push(Error::invalid(&at, &validation::Json(&shown), "may not change once set"));
        }
    }
    if spec.text("type") == "LoadBalancer" && before.text("type") == "LoadBalancer" {
        errors.extend(validation::immutable_because(
            object,
            old,
            &["spec", "loadBalancerClass"],
            "may not change once set",
        ));
    }
    errors
}

/// The status: where a load balancer was made. Only what changed is looked at.
pub fn status(object: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let (now, before) = (balancer(object), balancer(old));
    if now == before || now.is_empty() {
        return errors;
    }
    if object.str_at(&["spec", "type"]) != "LoadBalancer" {
        errors.push(Error::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'"));
        return errors;
    }
    for (i, ingress) in now.iter().filter_map(Value::as_map).enumerate() {
        let (ip, mode, host, at) =
            (ingress.text("ip"), ingress.text("ipMode"), ingress.text("hostname"), path.index(i));
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(Error::invalid(&at.child("ip"), ip, why));
        }
        if ip.is_empty() && !mode.is_empty() {
            errors.push(Error::forbidden(&at.child("ipMode"), "may not be specified when `ip` is not set"));
        } else if !matches!(mode, "" | "VIP" | "Proxy") {
            errors.push(Error::not_supported(&at.child("ipMode"), mode, &["Proxy", "VIP"]));
        }
        if !host.is_empty() {
            let why = names::dns1123_subdomain(host);
            errors.extend(why.into_iter().map(|why| Error::invalid(&at.child("hostname"), host, why)));
            if host.parse::<std::net::IpAddr>().is_ok() {
                let why = "must be a DNS name, not an IP address";
                errors.push(Error::invalid(&at.child("hostname"), host, why));
            }
        }
    }
    errors
}

fn balancer(object: &Value) -> &[Value] {
    object.list_at(&["status", "loadBalancer", "ingress"])
}
