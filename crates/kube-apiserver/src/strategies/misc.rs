//! Kinds with little behaviour: leases, certificates, runtime classes, API services, DRA, scheduling, migration.

mod pod_certificate;
pub mod signers;
mod trust_bundle;

pub use pod_certificate::POD_CERTIFICATE_REQUEST;
pub use trust_bundle::CLUSTER_TRUST_BUNDLE;

use api::{Map, Value};
use apimachinery::field::{Error, Path};

use super::fields::{self, Fields, map, map_at, of};
use super::kind::{Generation, Kind, PLAIN, SPEC, SPEC_AND_STATUS, StatusField};
use super::{cells, validation};

pub const LEASE: Kind = Kind {
    validate: |object, errors| {
        let spec = map_at(object, &["spec"]);
        let at = Path::new("spec");
        if let Some(n) = spec.int("leaseDurationSeconds")
            && n <= 0
        {
            errors.push(Error::invalid(&at.child("leaseDurationSeconds"), &n, "must be greater than 0"));
        }
        validation::non_negative(
            errors,
            spec.int("leaseTransitions").unwrap_or(0),
            &at.child("leaseTransitions"),
        );
    },
    cells: Some(|o, now| {
        vec![cells::name(o), o.str_at(&["spec", "holderIdentity"]).into(), cells::age(o, now)]
    }),
    create_on_update: true,
    unconditional_update: false,
    ..PLAIN
};

pub const LEASE_CANDIDATE: Kind = Kind {
    cells: Some(|o, now| {
        let spec = |name: &str| Value::from(o.str_at(&["spec", name]));
        vec![
            cells::name(o),
            spec("leaseName"),
            spec("binaryVersion"),
            spec("emulationVersion"),
            cells::age(o, now),
        ]
    }),
    create_on_update: true,
    unconditional_update: false,
    ..PLAIN
};

/// The requestor is who asks, whatever the object says.
pub const CERTIFICATE_SIGNING_REQUEST: Kind = Kind {
    status: StatusField::Own,
    create: |cx, object| {
        let spec = object.map_mut("spec");
        spec.insert("username", cx.user.name.as_str());
        spec.insert("uid", cx.user.uid.as_str());
        spec.insert("groups", cx.user.groups.iter().map(|g| Value::from(g.as_str())).collect::<Vec<_>>());
        spec.remove("extra");
        if !cx.user.extra.is_empty() {
            let list =
                |values: &Vec<String>| Value::List(values.iter().map(|v| Value::from(v.as_str())).collect());
            let extra: Map = cx.user.extra.iter().map(|(k, v)| (k.as_str().into(), list(v))).collect();
            spec.insert("extra", extra);
        }
    },
    update: |_, object, old| object.copy_from(old, "spec"),
    status_update: |_, object, old| {
        // Approval is a subresource of its own: its conditions stay.
        let decided = |o: &Map, yes: bool| -> Vec<Value> {
            let status = o.sub("status").cloned().unwrap_or_default();
            let is = |c: &&Value| matches!(c.str_at(&["type"]), "Approved" | "Denied") == yes;
            status.list("conditions").iter().filter(is).cloned().collect()
        };
        let mut all = decided(old, true);
        all.extend(decided(object, false));
        if all.is_empty() {
            object.map_mut("status").remove("conditions");
        } else {
            object.map_mut("status").insert("conditions", all);
        }
    },
    validate: |object, errors| {
        let spec = map_at(object, &["spec"]);
        let at = Path::new("spec");
        if !is_request(spec.text("request")) {
            errors.push(Error::invalid(
                &at.child("request"),
                "",
                "PEM block type must be CERTIFICATE REQUEST",
            ));
        }
        if spec.list("usages").is_empty() {
            errors.push(Error::required(&at.child("usages"), ""));
        }
        if spec.text("signerName").is_empty() {
            errors.push(Error::required(&at.child("signerName"), ""));
        }
        if let Some(n) = spec.int("expirationSeconds")
            && n < 600
        {
            errors.push(Error::invalid(
                &at.child("expirationSeconds"),
                &n,
                "may not specify a duration less than 600 seconds (10 minutes)",
            ));
        }
    },
    cells: Some(|o, now| {
        let spec = map_at(o, &["spec"]);
        let duration = spec.int("expirationSeconds").map_or("<none>".to_owned(), super::times::duration);
        vec![
            cells::name(o),
            cells::age(o, now),
            cells::or_none(spec.text("signerName")),
            spec.text("username").into(),
            duration.into(),
            csr_condition(o).into(),
        ]
    }),
    ..PLAIN
};

/// PEM of a request, as base64.
fn is_request(text: &str) -> bool {
    use base64::Engine as _;
    let pem = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----")
}

fn csr_condition(o: &Value) -> String {
    let status = map_at(o, &["status"]);
    let has = |kind: &str| status.items("conditions").any(|c| c.text("type") == kind);
    let mut words = Vec::new();
    match (has("Denied"), has("Approved")) {
        (true, _) => words.push("Denied"),
        (false, true) => words.push("Approved"),
        (false, false) => words.push("Pending"),
    }
    if has("Failed") {
        words.push("Failed");
    }
    if !status.text("certificate").is_empty() {
        words.push("Issued");
    }
    words.join(",")
}

pub const RUNTIME_CLASS: Kind = Kind {
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["handler"])),
    cells: Some(|o, now| vec![cells::name(o), o.str_at(&["handler"]).into(), cells::age(o, now)]),
    ..PLAIN
};

/// A local group needs no probing: it is available from the start.
pub const API_SERVICE: Kind = Kind {
    defaults: |object| {
        if let Some(s) = object.sub_mut("spec").and_then(|s| s.sub_mut("service")) {
            s.default("port", 443i64);
        }
    },
    status: StatusField::Own,
    create: |cx, object| {
        let local = object.sub("spec").is_none_or(|s| !s.has("service"));
        if local {
            let condition = map([
                ("lastTransitionTime", fields::time(cx.now)),
                ("message", "Local APIServices are always available".into()),
                ("reason", "Local".into()),
                ("status", "True".into()),
                ("type", "Available".into()),
            ]);
            object.map_mut("status").insert("conditions", vec![Value::Map(condition)]);
        }
    },
    validate: |object, errors| {
        let (spec, at) = (map_at(object, &["spec"]), Path::new("spec"));
        let (group, version) = (spec.text("group"), spec.text("version"));
        let wanted = format!("{version}.{group}");
        if object.str_at(&["metadata", "name"]) != wanted {
            let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.push(Error::invalid(
                &Path::new("metadata").child("name"),
                object.str_at(&["metadata", "name"]),
                why,
            ));
        }
        for name in ["groupPriorityMinimum", "versionPriority"] {
            let max = if name == "versionPriority" { 1000 } else { 20000 };
            let n = spec.int(name).unwrap_or(0);
            if n <= 0 || n > max {
                let why = format!("must be positive and less than {max}");
                errors.push(Error::invalid(&at.child(name), &n, why));
            }
        }
    },
    cells: Some(|o, now| {
        let spec = map_at(o, &["spec"]);
        let service = match spec.sub("service") {
            Some(s) => format!("{}/{}", s.text("namespace"), s.text("name")),
            None => "Local".into(),
        };
        let available =
            match map_at(o, &["status"]).items("conditions").find(|c| c.text("type") == "Available") {
                Some(c) if c.text("status") == "True" => "True".to_owned(),
                Some(c) => format!("{} ({})", c.text("status"), c.text("reason")),
                None => "Unknown".into(),
            };
        vec![cells::name(o), service.into(), available.into(), cells::age(o, now)]
    }),
    name: Some(super::names::path_segment),
    unconditional_update: false,
    ..PLAIN
};

// -- resource.k8s.io

fn device_requests(object: &mut Map) {
    let Some(devices) = object.sub_mut("devices") else { return };
    for request in devices.items_mut("requests") {
        if let Some(exactly) = request.sub_mut("exactly") {
            device_request(exactly);
        }
        request.items_mut("firstAvailable").for_each(device_request);
        // v1beta1 keeps a single request's fields beside its name.
        if request.has("deviceClassName") && !request.has("firstAvailable") {
            device_request(request);
        }
    }
}

fn device_request(request: &mut Map) {
    request.default("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.default_zero("count", 1i64);
    }
    request.items_mut("tolerations").for_each(|t| t.default("operator", "Equal"));
}

pub const RESOURCE_CLAIM: Kind = Kind {
    returns_deleted: true,
    defaults: |object| {
        if let Some(spec) = object.sub_mut("spec") {
            device_requests(spec);
        }
    },
    status: StatusField::Own,
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["spec"])),
    cells: Some(|o, now| {
        let status = map_at(o, &["status"]);
        let mut words: Vec<&str> = Vec::new();
        if map_at(o, &["metadata"]).has("deletionTimestamp") {
            words.push("deleted");
        }
        match (status.has("allocation"), status.list("reservedFor").is_empty()) {
            (false, _) => words.push("pending"),
            (true, true) => words.push("allocated"),
            (true, false) => words.extend(["allocated", "reserved"]),
        }
        vec![cells::name(o), words.join(",").into(), cells::age(o, now)]
    }),
    ..PLAIN
};

pub const RESOURCE_CLAIM_TEMPLATE: Kind = Kind {
    returns_deleted: true,
    defaults: |object| {
        if let Some(spec) = object.sub_mut("spec").and_then(|s| s.sub_mut("spec")) {
            device_requests(spec);
        }
    },
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["spec"])),
    cells: Some(|o, now| vec![cells::name(o), cells::age(o, now)]),
    ..PLAIN
};

pub const DEVICE_CLASS: Kind =
    Kind { cells: Some(|o, now| vec![cells::name(o), cells::age(o, now)]), returns_deleted: true, ..SPEC };

pub const RESOURCE_SLICE: Kind = Kind {
    returns_deleted: true,
    create: |cx, object| taint_times(object, fields::time(cx.now)),
    update: |cx, object, _| taint_times(object, fields::time(cx.now)),
    validate_update: |object, old, errors| {
        for name in ["driver", "nodeName"] {
            errors.extend(validation::immutable(object, old, &["spec", name]));
        }
    },
    cells: Some(|o, now| {
        let spec = map_at(o, &["spec"]);
        let node = match (spec.text("nodeName"), spec.flag("allNodes")) {
            ("", true) => "<all>".to_owned(),
            ("", false) => "<unset>".into(),
            (name, _) => name.to_owned(),
        };
        let pool = o.str_at(&["spec", "pool", "name"]);
        vec![cells::name(o), node.into(), spec.text("driver").into(), pool.into(), cells::age(o, now)]
    }),
    ..SPEC
};

fn taint_times(object: &mut Map, now: Value) {
    let Some(spec) = object.sub_mut("spec") else { return };
    for taint in spec.items_mut("devices").flat_map(|d| d.items_mut("taints")) {
        taint.default("timeAdded", now.clone());
    }
}

pub const DEVICE_TAINT_RULE: Kind = Kind {
    create: |cx, object| {
        if let Some(t) = object.sub_mut("spec").and_then(|s| s.sub_mut("taint")) {
            t.default("timeAdded", fields::time(cx.now));
        }
    },
    cells: Some(|o, now| {
        let taint = map_at(o, &["spec", "taint"]);
        let text = |name: &str| Value::from(taint.text(name));
        vec![
            cells::name(o),
            text("key"),
            text("value"),
            text("effect"),
            cells::age_of(taint.text("timeAdded"), now),
            cells::age(o, now),
        ]
    }),
    ..SPEC_AND_STATUS
};

pub const RESOURCE_POOL_STATUS_REQUEST: Kind = Kind { status: StatusField::None, ..PLAIN };

// -- scheduling.k8s.io

fn pod_group_defaults(object: &mut Map) {
    if let Some(spec) = object.sub_mut("spec") {
        spec.default("preemptionPolicy", "PreemptLowerPriority");
        spec.default("priority", 0i64);
    }
}

pub const POD_GROUP: Kind = Kind {
    create: |_, object| {
        pod_group_defaults(object);
        add_finalizer(object, "scheduling.k8s.io/podgroup-protection");
    },
    status: StatusField::Own,
    ..PLAIN
};

pub const COMPOSITE_POD_GROUP: Kind =
    Kind { create: |_, object| pod_group_defaults(object), status: StatusField::Own, ..PLAIN };

pub const WORKLOAD: Kind = Kind { cells: Some(|o, now| vec![cells::name(o), cells::age(o, now)]), ..PLAIN };

fn add_finalizer(object: &mut Map, name: &str) {
    let metadata = object.map_mut("metadata");
    let mut list = metadata.list("finalizers").to_vec();
    if !list.iter().any(|f| f.as_str() == Some(name)) {
        list.push(name.into());
        metadata.insert("finalizers", list);
    }
}

// -- others

pub const STORAGE_VERSION_MIGRATION: Kind = Kind {
    status: StatusField::Own,
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["spec"])),
    cells: Some(|o, _| {
        let resource = map_at(o, &["spec", "resource"]);
        let shown = match resource.text("group") {
            "" => resource.text("resource").to_owned(),
            group => format!("{}.{group}", resource.text("resource")),
        };
        let now = map_at(o, &["status"]).items("conditions").find(|c| c.text("status") == "True");
        vec![cells::name(o), shown.into(), now.map_or("Unknown", |c| c.text("type")).into()]
    }),
    ..PLAIN
};

pub const STORAGE_VERSION: Kind = Kind {
    cells: Some(|o, now| {
        let common = o.str_at(&["status", "commonEncodingVersion"]);
        let all: Vec<String> = map_at(o, &["status"])
            .items("storageVersions")
            .map(|s| format!("{}={}", s.text("apiServerID"), s.text("encodingVersion")))
            .collect();
        vec![cells::name(o), cells::or_unset(common), cells::or_unset(&all.join(",")), cells::age(o, now)]
    }),
    ..PLAIN
};

/// `lifecycle.k8s.io`, with every gate on.
pub const EVICTION_REQUEST: Kind =
    Kind { generation: Generation::Of(&["spec"]), status: StatusField::Own, ..PLAIN };

pub const COMPONENT_STATUS: Kind = Kind {
    cells: Some(|o, _| {
        let health = of(o).items("conditions").find(|c| c.text("type") == "Healthy");
        let text = |name: &str| Value::from(health.map(|c| c.text(name)).unwrap_or_default());
        let status = match health.map(|c| c.text("status")) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        vec![cells::name(o), status.into(), text("message"), text("error")]
    }),
    ..PLAIN
};

/// The row of a CustomResourceDefinition: Name, Scope, Versions, Created At, Group, Kind, ShortNames, Established.
pub fn definition_cells(o: &Value) -> Vec<Value> {
    let (spec, names) = (map_at(o, &["spec"]), map_at(o, &["spec", "names"]));
    let shown = |v: &Map| match v.flag("storage") {
        true => format!("{}(storage)", v.text("name")),
        false => v.text("name").to_owned(),
    };
    let versions: Vec<String> = spec.items("versions").filter(|v| v.flag("served")).map(shown).collect();
    let established = map_at(o, &["status"])
        .items("conditions")
        .any(|c| c.text("type") == "Established" && c.text("status") == "True");
    vec![
        cells::name(o),
        spec.text("scope").into(),
        versions.join(",").into(),
        cells::created(o),
        spec.text("group").into(),
        names.text("kind").into(),
        cells::joined(names.list("shortNames"), ",").into(),
        established.into(),
    ]
}
