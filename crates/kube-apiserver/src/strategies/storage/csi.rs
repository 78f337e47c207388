//! CSIDrivers, CSINodes, CSIStorageCapacities, VolumeAttachments.

use api::Value;
use apimachinery::field::{Error, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN, StatusField};
use crate::strategies::{cells, validation};

pub const CSI_DRIVER: Kind = Kind {
    returns_deleted: true,
    defaults: |object| {
        let spec = object.map_mut("spec");
        spec.default("attachRequired", true);
        for name in [
            "podInfoOnMount",
            "storageCapacity",
            "requiresRepublish",
            "seLinuxMount",
            "preventPodSchedulingIfMissing",
        ] {
            spec.default(name, false);
        }
        spec.default("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.list("volumeLifecycleModes").is_empty() {
            spec.insert("volumeLifecycleModes", vec![Value::from("Persistent")]);
        }
    },
    validate_update: |object, old, errors| {
        for name in ["attachRequired", "fsGroupPolicy", "volumeLifecycleModes"] {
            errors.extend(validation::immutable(object, old, &["spec", name]));
        }
    },
    cells: Some(driver_row),
    unconditional_update: false,
    ..PLAIN
};

fn driver_row(o: &Value, now: Timestamp) -> Vec<Value> {
    let spec = map_at(o, &["spec"]);
    let flag = |name: &str, otherwise: bool| {
        Value::from(spec.get(name).and_then(Value::as_bool).unwrap_or(otherwise))
    };
    let audiences: Vec<&str> = spec.items("tokenRequests").map(|t| t.text("audience")).collect();
    vec![
        cells::name(o),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        cells::or_unset(&audiences.join(",")),
        flag("requiresRepublish", false),
        cells::or_none(&cells::joined(spec.list("volumeLifecycleModes"), ",")),
        cells::age(o, now),
    ]
}

pub const CSI_NODE: Kind = Kind {
    returns_deleted: true,
    // An empty list does not survive protobuf: it is read back as none.
    create: |_, object| {
        if let Some(spec) = object.sub_mut("spec").filter(|s| s.list("drivers").is_empty()) {
            spec.remove("drivers");
        }
    },
    validate: |object, errors| {
        for (i, d) in map_at(object, &["spec"]).items("drivers").enumerate() {
            let at = Path::new("spec").child("drivers").index(i);
            for name in ["name", "nodeID"] {
                if d.text(name).is_empty() {
                    errors.push(Error::required(&at.child(name), ""));
                }
            }
        }
    },
    cells: Some(|o, now| {
        let count = map_at(o, &["spec"]).list("drivers").len() as i64;
        vec![cells::name(o), Value::Int(count), cells::age(o, now)]
    }),
    unconditional_update: false,
    ..PLAIN
};

pub const CSI_STORAGE_CAPACITY: Kind = Kind {
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable(object, old, &["nodeTopology"]));
        errors.extend(validation::immutable(object, old, &["storageClassName"]));
    },
    cells: Some(|o, _| vec![cells::name(o), cells::created(o)]),
    unconditional_update: false,
    ..PLAIN
};

pub const VOLUME_ATTACHMENT: Kind = Kind {
    returns_deleted: true,
    status: StatusField::Own,
    validate: |object, errors| {
        let spec = Path::new("spec");
        for name in ["attacher", "nodeName"] {
            if object.str_at(&["spec", name]).is_empty() {
                errors.push(Error::required(&spec.child(name), ""));
            }
        }
    },
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["spec"])),
    cells: Some(|o, now| {
        vec![
            cells::name(o),
            o.str_at(&["spec", "attacher"]).into(),
            o.str_at(&["spec", "source", "persistentVolumeName"]).into(),
            o.str_at(&["spec", "nodeName"]).into(),
            cells::flag(o, &["status", "attached"]),
            cells::age(o, now),
        ]
    }),
    unconditional_update: false,
    ..PLAIN
};
