//! StorageClasses and VolumeAttributesClasses.

use apimachinery::field::{Error, Path};

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, PLAIN};
use crate::strategies::{cells, names, validation};

pub const STORAGE_CLASS: Kind = Kind {
    returns_deleted: true,
    defaults: |object| {
        object.default("reclaimPolicy", "Delete");
        object.default("volumeBindingMode", "Immediate");
    },
    validate: |object, errors| {
        let provisioner = object.str_at(&["provisioner"]);
        let at = Path::new("provisioner");
        if !provisioner.is_empty() {
            let why = names::qualified_name(&provisioner.to_lowercase());
            errors.extend(why.into_iter().map(|why| Error::invalid(&at, provisioner, why)));
        }
        let policy = object.str_at(&["reclaimPolicy"]);
        validation::one_of(errors, policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"), false);
        let mode = object.str_at(&["volumeBindingMode"]);
        validation::one_of(
            errors,
            mode,
            &["Immediate", "WaitForFirstConsumer"],
            &Path::new("volumeBindingMode"),
            true,
        );
    },
    // The other fields' rules stand in the table.
    validate_update: |object, old, errors| {
        if !crate::strategies::fields::same(object.get("parameters"), old.get("parameters")) {
            errors.push(Error::forbidden(&Path::new("parameters"), "updates to parameters are forbidden."));
        }
    },
    cells: Some(|o, now| {
        let annotations = map_at(o, &["metadata", "annotations"]);
        let mut name = o.str_at(&["metadata", "name"]).to_owned();
        let default = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if default.iter().any(|a| annotations.text(a) == "true") {
            name.push_str(" (default)");
        }
        vec![
            name.into(),
            o.str_at(&["provisioner"]).into(),
            o.str_at(&["reclaimPolicy"]).into(),
            o.str_at(&["volumeBindingMode"]).into(),
            cells::flag(o, &["allowVolumeExpansion"]),
            cells::age(o, now),
        ]
    }),
    ..PLAIN
};

pub const VOLUME_ATTRIBUTES_CLASS: Kind = Kind {
    validate_update: |object, old, errors| {
        errors.extend(validation::immutable(object, old, &["driverName"]));
        errors.extend(validation::immutable(object, old, &["parameters"]));
    },
    cells: Some(|o, now| vec![cells::name(o), o.str_at(&["driverName"]).into(), cells::age(o, now)]),
    returns_deleted: true,
    ..PLAIN
};
