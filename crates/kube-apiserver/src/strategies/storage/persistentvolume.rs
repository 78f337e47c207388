//! PersistentVolumes.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{self, Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN, StatusField};
use crate::strategies::{cells, pod, quantities, validation};

pub const PERSISTENT_VOLUME: Kind = Kind {
    defaults,
    status: StatusField::Own,
    create: |cx, object| {
        let status = object.map_mut("status");
        status.insert("phase", "Pending");
        status.insert("lastPhaseTransitionTime", fields::time(cx.now));
    },
    status_update: |cx, object, old| {
        let phase = |o: &Map| o.sub("status").map(|s| s.text("phase").to_owned());
        if phase(object) != phase(old) {
            let time = fields::time(cx.now);
            object.map_mut("status").insert("lastPhaseTransitionTime", time);
        }
    },
    validate,
    validate_update,
    cells: Some(row),
    returns_deleted: true,
    ..PLAIN
};

fn defaults(object: &mut Map) {
    object.map_mut("status").default("phase", "Pending");
    let Some(spec) = object.sub_mut("spec") else { return };
    spec.default("persistentVolumeReclaimPolicy", "Retain");
    spec.default("volumeMode", "Filesystem");
    pod::defaults::sources(spec);
}

/// Fields of the spec that are no source.
const NOT_SOURCES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(spec: &Map) -> Vec<(&str, &Value)> {
    spec.iter()
        .filter(|(k, v)| !NOT_SOURCES.contains(&k.as_str()) && !v.is_null())
        .map(|(k, v)| (k.as_str(), v))
        .collect()
}

fn validate(object: &Value, errors: &mut ErrorList) {
    let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
    if spec.list("accessModes").is_empty() {
        errors.push(Error::required(&path.child("accessModes"), ""));
    }
    for mode in spec.list("accessModes").iter().filter_map(Value::as_str) {
        validation::one_of(errors, mode, &super::MODES, &path.child("accessModes"), true);
    }
    let capacity = spec.sub("capacity");
    match capacity {
        None => {
            errors.push(Error::required(&path.child("capacity"), ""));
            let shown = Value::Null;
            errors.push(Error::not_supported(
                &path.child("capacity"),
                &validation::Json(&shown),
                &["storage"],
            ));
        }
        Some(c) if !c.contains_key("storage") || c.len() > 1 => {
            let shown = Value::Map(c.clone());
            errors.push(Error::not_supported(
                &path.child("capacity"),
                &validation::Json(&shown),
                &["storage"],
            ));
        }
        Some(c) => {
            if let Some(v) = c.get("storage").filter(|v| quantities::is_negative(v) || quantities::is_zero(v))
            {
                let text = v.as_str().unwrap_or_default();
                errors.push(Error::invalid(
                    &path.child("capacity").key("storage"),
                    text,
                    "must be greater than zero",
                ));
            }
        }
    }
    let policies = ["Delete", "Recycle", "Retain"];
    validation::one_of(
        errors,
        spec.text("persistentVolumeReclaimPolicy"),
        &policies,
        &path.child("persistentVolumeReclaimPolicy"),
        false,
    );
    validation::one_of(
        errors,
        spec.text("volumeMode"),
        &["Block", "Filesystem"],
        &path.child("volumeMode"),
        false,
    );
    let found = sources(spec);
    match found.as_slice() {
        [] => errors.push(Error::required(&path, "must specify a volume type")),
        [_] => {}
        [_, more @ ..] => {
            for (name, _) in more {
                errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 volume type"));
            }
        }
    }
    if spec.has("local") && !spec.has("nodeAffinity") {
        errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
    }
}

fn validate_update(object: &Value, old: &Value, errors: &mut ErrorList) {
    let (now, before) = (map_at(object, &["spec"]), map_at(old, &["spec"]));
    if sources(now) != sources(before) {
        let why = "spec.persistentvolumesource is immutable after creation\n";
        errors.push(Error::forbidden(&Path::new("spec").child("persistentvolumesource"), why));
    }
    errors.extend(validation::immutable(object, old, &["spec", "volumeMode"]));
    if before.has("nodeAffinity") {
        errors.extend(validation::immutable(object, old, &["spec", "nodeAffinity"]));
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = map_at(object, &["spec"]);
    let claim = match spec.sub("claimRef") {
        Some(r) => format!("{}/{}", r.text("namespace"), r.text("name")),
        None => String::new(),
    };
    let deleted = map_at(object, &["metadata"]).has("deletionTimestamp");
    let phase = if deleted { "Terminating" } else { object.str_at(&["status", "phase"]) };
    vec![
        cells::name(object),
        object.str_at(&["spec", "capacity", "storage"]).into(),
        super::access_modes(spec.list("accessModes")).into(),
        spec.text("persistentVolumeReclaimPolicy").into(),
        phase.into(),
        claim.into(),
        spec.text("storageClassName").into(),
        cells::or_unset(spec.text("volumeAttributesClassName")),
        object.str_at(&["status", "reason"]).into(),
        cells::age(object, now),
        cells::or_unset(spec.text("volumeMode")),
    ]
}
