//! Ingresses, NetworkPolicies, IngressClasses, IPAddresses, ServiceCIDRs.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::fields::{Fields, map_at};
use super::kind::{Kind, PLAIN, SPEC, SPEC_AND_STATUS, StatusField};
use super::{cells, names, selectors, validation};

pub const INGRESS: Kind = Kind {
    validate: ingress,
    cells: Some(|o, now| {
        let spec = map_at(o, &["spec"]);
        let hosts: Vec<&str> =
            spec.items("rules").map(|r| r.text("host")).filter(|h| !h.is_empty()).collect();
        let shown = match hosts.len() {
            0 => "*".to_owned(),
            n if n > 3 => format!("{} + {} more...", hosts[..3].join(","), n - 3),
            _ => hosts.join(","),
        };
        let balancer = map_at(o, &["status", "loadBalancer"]);
        let addresses: Vec<&str> = balancer
            .items("ingress")
            .map(|i| if i.text("ip").is_empty() { i.text("hostname") } else { i.text("ip") })
            .filter(|a| !a.is_empty())
            .collect();
        let class = match spec.text("ingressClassName") {
            "" => map_at(o, &["metadata", "annotations"]).text("kubernetes.io/ingress.class"),
            name => name,
        };
        let ports = if spec.list("tls").is_empty() { "80" } else { "80, 443" };
        vec![
            cells::name(o),
            cells::or_none(class),
            shown.into(),
            addresses.join(",").into(),
            ports.into(),
            cells::age(o, now),
        ]
    }),
    ..SPEC_AND_STATUS
};

fn ingress(object: &Value, errors: &mut ErrorList) {
    let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
    if spec.list("rules").is_empty() && !spec.has("defaultBackend") {
        let shown = Value::Null;
        errors.push(Error::invalid(
            &path,
            &validation::Json(&shown),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if let Some(b) = spec.sub("defaultBackend") {
        backend(b, &path.child("defaultBackend"), errors);
    }
    for (i, rule) in spec.items("rules").enumerate() {
        let at = path.child("rules").index(i);
        let host = rule.text("host");
        if !host.is_empty() {
            let plain = host.strip_prefix("*.").unwrap_or(host);
            errors.extend(
                names::dns1123_subdomain(plain)
                    .into_iter()
                    .map(|why| Error::invalid(&at.child("host"), host, why)),
            );
        }
        let Some(http) = rule.sub("http") else { continue };
        let at = at.child("http").child("paths");
        if http.list("paths").is_empty() {
            errors.push(Error::required(&at, ""));
        }
        for (j, p) in http.items("paths").enumerate() {
            ingress_path(p, &at.index(j), errors);
        }
    }
}

fn ingress_path(p: &Map, path: &Path, errors: &mut ErrorList) {
    let kind = p.text("pathType");
    match kind {
        "" => errors.push(Error::required(&path.child("pathType"), "pathType must be specified")),
        "Exact" | "Prefix" if !p.text("path").starts_with('/') => {
            errors.push(Error::invalid(&path.child("path"), p.text("path"), "must be an absolute path"));
        }
        "Exact" | "Prefix" | "ImplementationSpecific" => {}
        other => errors.push(Error::not_supported(
            &path.child("pathType"),
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    match p.sub("backend") {
        Some(b) => backend(b, &path.child("backend"), errors),
        None => errors.push(Error::required(&path.child("backend"), "")),
    }
}

fn backend(b: &Map, path: &Path, errors: &mut ErrorList) {
    match (b.sub("service"), b.sub("resource")) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(path, "", "cannot set both resource and service backends"))
        }
        (None, None) => errors.push(Error::invalid(path, "", "resource or service backend is required")),
        (Some(s), None) => {
            if s.text("name").is_empty() {
                errors.push(Error::required(&path.child("service").child("name"), ""));
            }
            let port = s.sub("port").cloned().unwrap_or_default();
            if port.text("name").is_empty() && port.int("number").unwrap_or(0) == 0 {
                errors.push(Error::required(path, "port name or number is required"));
            }
        }
        (None, Some(_)) => {}
    }
}

pub const INGRESS_CLASS: Kind = Kind {
    defaults: |object| {
        if let Some(p) = object.sub_mut("spec").and_then(|s| s.sub_mut("parameters")) {
            p.default("scope", "Cluster");
        }
    },
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable_because(
            object,
            old,
            &["spec", "controller"],
            "field is immutable",
        ));
    },
    cells: Some(|o, now| {
        let p = map_at(o, &["spec", "parameters"]);
        let shown = match (p.text("kind"), p.text("apiGroup")) {
            ("", _) => "<none>".to_owned(),
            (kind, "") => format!("{kind}/{}", p.text("name")),
            (kind, group) => format!("{kind}.{group}/{}", p.text("name")),
        };
        vec![cells::name(o), o.str_at(&["spec", "controller"]).into(), shown.into(), cells::age(o, now)]
    }),
    ..SPEC
};

pub const NETWORK_POLICY: Kind = Kind {
    defaults: |object| {
        let Some(spec) = object.sub_mut("spec") else { return };
        for list in ["ingress", "egress"] {
            for port in spec.items_mut(list).flat_map(|r| r.items_mut("ports")) {
                port.default("protocol", "TCP");
            }
        }
        if spec.list("policyTypes").is_empty() {
            let mut types = vec![Value::from("Ingress")];
            if !spec.list("egress").is_empty() {
                types.push("Egress".into());
            }
            spec.insert("policyTypes", types);
        }
    },
    validate: |object, errors| {
        let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
        if let Some(s) = spec.sub("podSelector") {
            selectors::validate(s, &path.child("podSelector"), errors);
        }
        for (part, peers) in [("ingress", "from"), ("egress", "to")] {
            for (i, rule) in spec.items(part).enumerate() {
                peers_and_ports(rule, peers, &path.child(part).index(i), errors);
            }
        }
        for (i, t) in spec.list("policyTypes").iter().filter_map(Value::as_str).enumerate() {
            validation::one_of(errors, t, &["Ingress", "Egress"], &path.child("policyTypes").index(i), true);
        }
    },
    cells: Some(|o, now| {
        vec![cells::name(o), cells::selector(o, &["spec", "podSelector"]), cells::age(o, now)]
    }),
    ..SPEC
};

fn peers_and_ports(rule: &Map, peers: &str, path: &Path, errors: &mut ErrorList) {
    for (i, p) in rule.items("ports").enumerate() {
        let at = path.child("ports").index(i);
        validation::one_of(errors, p.text("protocol"), &["SCTP", "TCP", "UDP"], &at.child("protocol"), false);
        if let Some(port) = p.get("port") {
            validation::port_or_name(errors, port, &at.child("port"));
        }
    }
    for (i, peer) in rule.items(peers).enumerate() {
        let at = path.child(peers).index(i);
        let selected = peer.has("podSelector") || peer.has("namespaceSelector");
        match (selected, peer.sub("ipBlock")) {
            (false, None) => errors.push(Error::required(&at, "must specify a peer")),
            (true, Some(_)) => {
                errors.push(Error::forbidden(&at, "may not specify both ipBlock and another peer"))
            }
            (_, Some(block)) if block.text("cidr").parse::<ipnet::IpNet>().is_err() => {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(Error::invalid(&at.child("ipBlock").child("cidr"), block.text("cidr"), why));
            }
            _ => {}
        }
    }
}

fn ip_name(name: &str) -> Vec<String> {
    match name.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.to_string() == name => Vec::new(),
        Ok(_) => vec!["must be a valid address in canonical format".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

pub const IP_ADDRESS: Kind = Kind {
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable(object, old, &["spec", "parentRef"]))
    },
    cells: Some(|o, now| {
        let p = map_at(o, &["spec", "parentRef"]);
        let parts = [p.text("group"), p.text("resource"), p.text("namespace"), p.text("name")];
        let shown: Vec<&str> = parts.into_iter().filter(|t| !t.is_empty()).collect();
        vec![cells::name(o), shown.join("/").into(), cells::age(o, now)]
    }),
    name: Some(ip_name),
    ..PLAIN
};

pub const SERVICE_CIDR: Kind = Kind {
    status: StatusField::Own,
    validate: |object, errors| {
        let list = map_at(object, &["spec"]).list("cidrs");
        let at = Path::new("spec").child("cidrs");
        if list.is_empty() {
            errors.push(Error::required(&at, "at least one CIDR required"));
        }
        for (i, c) in list.iter().filter_map(Value::as_str).enumerate() {
            if c.parse::<ipnet::IpNet>().is_err() {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(Error::invalid(&at.index(i), c, why));
            }
        }
    },
    validate_update: |object, old, errors| {
        let list = |o: &Value| map_at(o, &["spec"]).list("cidrs").to_vec();
        let (now, before) = (list(object), list(old));
        if !now.starts_with(&before) {
            errors.extend(validation::immutable(object, old, &["spec", "cidrs"]));
        }
    },
    cells: Some(|o, now| {
        let list = cells::joined(map_at(o, &["spec"]).list("cidrs"), ",");
        vec![cells::name(o), list.into(), cells::age(o, now)]
    }),
    ..PLAIN
};
