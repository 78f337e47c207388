//! Endpoints and EndpointSlices.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, of};
use crate::strategies::kind::{Generation, Kind, PLAIN};
use crate::strategies::{cells, names, validation};

pub const ENDPOINTS: Kind = Kind {
    deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    defaults: |object| {
        for port in object.items_mut("subsets").flat_map(|s| s.items_mut("ports")) {
            port.default("protocol", "TCP");
        }
    },
    validate: endpoints,
    cells: Some(|o, now| vec![cells::name(o), summary(o), cells::age(o, now)]),
    create_on_update: true,
    ..PLAIN
};

const NOT_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn endpoints(object: &Value, errors: &mut ErrorList) {
    for (i, subset) in of(object).items("subsets").enumerate() {
        let path = Path::new("subsets").index(i);
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.push(Error::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for part in ["addresses", "notReadyAddresses"] {
            for (j, a) in subset.items(part).enumerate() {
                address(a.text("ip"), &path.child(part).index(j).child("ip"), true, errors);
            }
        }
        let several = subset.list("ports").len() > 1;
        for (j, p) in subset.items("ports").enumerate() {
            let at = path.child("ports").index(j);
            if several && p.text("name").is_empty() {
                errors.push(Error::required(&at.child("name"), ""));
            }
            validation::port(errors, p.int("port").unwrap_or(0), &at.child("port"));
            validation::one_of(
                errors,
                p.text("protocol"),
                &["SCTP", "TCP", "UDP"],
                &at.child("protocol"),
                true,
            );
        }
    }
}

/// `again`: the older of the two kinds checks twice. An endpoint may not be this machine itself, nor a link's own.
fn address(text: &str, at: &Path, again: bool, errors: &mut ErrorList) {
    let Ok(ip) = text.parse::<std::net::IpAddr>() else {
        errors.push(Error::invalid(at, text, NOT_IP));
        if again {
            errors.push(Error::invalid(at, text, "must be a valid IP address"));
        }
        return;
    };
    if ip.is_unspecified() {
        errors.push(Error::invalid(at, text, "may not be unspecified (0.0.0.0 or ::)"));
    }
    if ip.is_loopback() {
        errors.push(Error::invalid(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"));
    }
    let link_local = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_link_local());
    if link_local {
        errors.push(Error::invalid(
            at,
            text,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ));
    }
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// At most three endpoints, then how many more.
fn summary(object: &Value) -> Value {
    let mut all = Vec::new();
    for subset in of(object).items("subsets") {
        let ips = || subset.items("addresses").map(|a| a.text("ip"));
        if subset.list("ports").is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in subset.items("ports") {
            all.extend(ips().map(|ip| host_port(ip, port.int("port").unwrap_or(0))));
        }
    }
    limited(&all, 3, "<none>")
}

fn limited(all: &[String], max: usize, none: &str) -> Value {
    let shown = all.iter().take(max).cloned().collect::<Vec<_>>().join(",");
    match all.len() {
        0 => none.into(),
        n if n > max => format!("{shown} + {} more...", n - max).into(),
        _ => shown.into(),
    }
}

pub const ENDPOINT_SLICE: Kind = Kind {
    defaults: |object| {
        for port in object.items_mut("ports") {
            if !port.has("name") {
                port.insert("name", "");
            }
            port.default("protocol", "TCP");
        }
    },
    generation: Generation::Of(&["endpoints", "ports"]),
    validate: slice,
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable(object, old, &["addressType"]))
    },
    cells: Some(slice_row),
    ..PLAIN
};

fn slice(object: &Value, errors: &mut ErrorList) {
    let kind = object.str_at(&["addressType"]);
    validation::one_of(errors, kind, &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"), true);
    let endpoints = of(object).list("endpoints");
    if endpoints.len() > 1000 {
        errors.push(Error::too_many(&Path::new("endpoints"), endpoints.len(), 1000));
    }
    for (i, e) in of(object).items("endpoints").enumerate() {
        let path = Path::new("endpoints").index(i);
        for (j, a) in e.list("addresses").iter().filter_map(Value::as_str).enumerate() {
            let at = path.child("addresses").index(j);
            match kind {
                "IPv4" | "IPv6" => address(a, &at, false, errors),
                _ => errors
                    .extend(names::dns1123_subdomain(a).into_iter().map(|why| Error::invalid(&at, a, why))),
            }
        }
    }
    let ports = of(object);
    let mut seen = std::collections::HashSet::new();
    for (i, p) in ports.items("ports").enumerate() {
        let at = Path::new("ports").index(i);
        if !seen.insert(p.text("name")) {
            errors.push(Error::duplicate(&at.child("name"), p.text("name")));
        }
        validation::one_of(errors, p.text("protocol"), &["SCTP", "TCP", "UDP"], &at.child("protocol"), true);
    }
}

fn slice_row(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = of(object).items("ports").map(port_text).collect();
    let addresses: Vec<String> = of(object)
        .items("endpoints")
        .flat_map(|e| e.list("addresses"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        cells::name(object),
        object.str_at(&["addressType"]).into(),
        limited(&ports, 3, "<unset>"),
        limited(&addresses, 3, "<unset>"),
        cells::age(object, now),
    ]
}

fn port_text(p: &Map) -> String {
    match p.int("port") {
        Some(n) => n.to_string(),
        None if !p.text("name").is_empty() => p.text("name").to_owned(),
        None => "*".into(),
    }
}
