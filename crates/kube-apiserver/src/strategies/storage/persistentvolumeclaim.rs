//! PersistentVolumeClaims.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN, StatusField};
use crate::strategies::{cells, quantities, selectors, validation};

pub const PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    defaults,
    status: StatusField::Own,
    create: |_, object| same_source(object),
    update: |_, object, _| same_source(object),
    validate,
    validate_update,
    cells: Some(row),
    returns_deleted: true,
    ..PLAIN
};

/// Also of claim templates.
pub fn defaults(object: &mut Map) {
    object.map_mut("status").default("phase", "Pending");
    if let Some(spec) = object.sub_mut("spec") {
        spec.default("volumeMode", "Filesystem");
    }
}

/// `dataSource` and `dataSourceRef` say the same, the second one more: the missing one is filled in.
fn same_source(object: &mut Map) {
    let Some(spec) = object.sub_mut("spec") else { return };
    match (spec.sub("dataSource").cloned(), spec.sub("dataSourceRef").cloned()) {
        (Some(source), None) => {
            spec.insert("dataSourceRef", source);
        }
        (None, Some(reference)) if reference.text("namespace").is_empty() => {
            let group = reference.text("apiGroup");
            let known = match reference.text("kind") {
                "PersistentVolumeClaim" => group.is_empty(),
                "VolumeSnapshot" => group == "snapshot.storage.k8s.io",
                _ => false,
            };
            if known {
                let mut source = reference;
                source.remove("namespace");
                spec.insert("dataSource", source);
            }
        }
        _ => {}
    }
}

fn validate(object: &Value, errors: &mut ErrorList) {
    validate_spec(map_at(object, &["spec"]), &Path::new("spec"), errors);
}

pub fn validate_spec(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let modes = spec.list("accessModes");
    if modes.is_empty() {
        errors.push(Error::required(&path.child("accessModes"), "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter_map(Value::as_str) {
        validation::one_of(errors, mode, &super::MODES, &path.child("accessModes"), true);
    }
    if let Some(s) = spec.sub("selector") {
        selectors::validate(s, &path.child("selector"), errors);
    }
    let storage = spec.sub("resources").and_then(|r| r.sub("requests")).and_then(|r| r.get("storage"));
    let at = path.child("resources").key("storage");
    match storage {
        None => errors.push(Error::required(&at, "")),
        Some(v) if quantities::is_negative(v) || quantities::is_zero(v) => {
            errors.push(Error::invalid(&at, v.as_str().unwrap_or_default(), "must be greater than zero"));
        }
        Some(_) => {}
    }
    validation::one_of(
        errors,
        spec.text("volumeMode"),
        &["Block", "Filesystem"],
        &path.child("volumeMode"),
        false,
    );
}

const IMMUTABLE: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n";

fn validate_update(object: &Value, old: &Value, errors: &mut ErrorList) {
    let bound = old.str_at(&["status", "phase"]) == "Bound";
    let rest = |o: &Value| {
        let mut spec = map_at(o, &["spec"]).clone();
        if let Some(r) = spec.sub_mut("resources") {
            r.remove("requests");
        }
        spec.retain(|k, v| {
            let empty = matches!(v, Value::Map(m) if m.is_empty()) || v.is_null();
            k != "volumeAttributesClassName" && !empty
        });
        spec
    };
    let (mut now, mut before) = (rest(object), rest(old));
    // The binder fills in the volume's name once; a class may be assigned once.
    for name in ["volumeName", "storageClassName"] {
        if before.text(name).is_empty() {
            now.remove(name);
            before.remove(name);
        }
    }
    if now != before {
        errors.push(Error::forbidden(&Path::new("spec"), IMMUTABLE));
    }
    shrink(object, old, bound, errors);
}

fn shrink(object: &Value, old: &Value, bound: bool, errors: &mut ErrorList) {
    let path = ["spec", "resources", "requests", "storage"];
    let (Some(now), Some(before)) = (object.at(&path), old.at(&path)) else { return };
    let at = Path::new("spec").child("resources").child("requests").child("storage");
    match quantities::compare(now, before) {
        std::cmp::Ordering::Equal => {}
        _ if !bound => errors.push(Error::forbidden(&Path::new("spec"), IMMUTABLE)),
        std::cmp::Ordering::Less => {
            let floor = old
                .at(&["status", "capacity", "storage"])
                .is_none_or(|c| quantities::compare(now, c).is_le());
            if floor {
                errors.push(Error::forbidden(&at, "field can not be less than status.capacity"));
            }
        }
        std::cmp::Ordering::Greater => {}
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (map_at(object, &["spec"]), map_at(object, &["status"]));
    let deleted = map_at(object, &["metadata"]).has("deletionTimestamp");
    let phase = if deleted { "Terminating" } else { status.text("phase") };
    let bound = !spec.text("volumeName").is_empty();
    let (capacity, modes) = match bound {
        true => (
            object.str_at(&["status", "capacity", "storage"]).to_owned(),
            super::access_modes(status.list("accessModes")),
        ),
        false => Default::default(),
    };
    vec![
        cells::name(object),
        phase.into(),
        spec.text("volumeName").into(),
        capacity.into(),
        modes.into(),
        spec.text("storageClassName").into(),
        cells::or_unset(spec.text("volumeAttributesClassName")),
        cells::age(object, now),
        cells::or_unset(spec.text("volumeMode")),
    ]
}
