//! Roles and bindings. Escalation is refused by the authorizer's side, not here.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use jiff::Timestamp;

use crate::strategies::fields::{Fields, of};
use crate::strategies::kind::{Kind, PLAIN};
use crate::strategies::{cells, names, validation};

const GROUP: &str = "rbac.authorization.k8s.io";

pub const ROLE: Kind = Kind {
    validate: rules,
    cells: Some(|o, _| vec![cells::name(o), cells::created(o)]),
    name: Some(names::path_segment),
    create_on_update: true,
    ..PLAIN
};

pub const BINDING: Kind = Kind {
    defaults: |object| {
        if let Some(reference) = object.sub_mut("roleRef") {
            reference.default("apiGroup", GROUP);
        }
        for subject in object.items_mut("subjects") {
            if matches!(subject.text("kind"), "User" | "Group") {
                subject.default("apiGroup", GROUP);
            }
        }
    },
    validate: binding,
    validate_update: |object, old, errors| {
        let role = |o: &Value, name: &str| o.str_at(&["roleRef", name]).to_owned();
        if object.at(&["roleRef"]) != old.at(&["roleRef"]) {
            let (group, kind, name) = (role(object, "apiGroup"), role(object, "kind"), role(object, "name"));
            let shown = validation::Verbatim(format!(
                "{{\"APIGroup\":{group:?},\"Kind\":{kind:?},\"Name\":{name:?}}}"
            ));
            errors.push(Error::invalid(&Path::new("roleRef"), &shown, "field is immutable"));
        }
    },
    cells: Some(row),
    name: Some(names::path_segment),
    create_on_update: true,
    ..PLAIN
};

fn rules(object: &Value, errors: &mut ErrorList) {
    let namespaced = object.str_at(&["kind"]) == "Role";
    for (i, rule) in of(object).items("rules").enumerate() {
        let path = Path::new("rules").index(i);
        let urls = rule.list("nonResourceURLs");
        if !urls.is_empty() {
            if namespaced {
                let shown = Value::List(urls.to_vec());
                errors.push(Error::invalid(
                    &path.child("nonResourceURLs"),
                    &validation::Json(&shown),
                    "namespaced rules cannot apply to non-resource URLs",
                ));
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|n| !rule.list(n).is_empty()) {
                let shown = Value::List(urls.to_vec());
                errors.push(Error::invalid(
                    &path.child("nonResourceURLs"),
                    &validation::Json(&shown),
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        if rule.list("apiGroups").is_empty() {
            errors.push(Error::required(
                &path.child("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if rule.list("resources").is_empty() {
            errors.push(Error::required(
                &path.child("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
}

fn binding(object: &Value, errors: &mut ErrorList) {
    let empty = Map::new();
    let reference = of(object).sub("roleRef").unwrap_or(&empty);
    let path = Path::new("roleRef");
    if reference.text("apiGroup") != GROUP {
        errors.push(Error::not_supported(&path.child("apiGroup"), reference.text("apiGroup"), &[GROUP]));
    }
    let kinds: &[&str] = match object.str_at(&["kind"]) {
        "ClusterRoleBinding" => &["ClusterRole"],
        _ => &["Role", "ClusterRole"],
    };
    if !kinds.contains(&reference.text("kind")) {
        errors.push(Error::not_supported(&path.child("kind"), reference.text("kind"), kinds));
    }
    let namespaced = object.str_at(&["kind"]) == "RoleBinding";
    for (i, s) in of(object).items("subjects").enumerate() {
        subject(s, namespaced, &Path::new("subjects").index(i), errors);
    }
}

fn subject(s: &Map, namespaced: bool, path: &Path, errors: &mut ErrorList) {
    let group = s.text("apiGroup");
    match s.text("kind") {
        "ServiceAccount" => {
            if !group.is_empty() {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && s.text("namespace").is_empty() {
                errors.push(Error::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[GROUP]));
            }
        }
        other => errors.push(Error::not_supported(
            &path.child("kind"),
            other,
            &["ServiceAccount", "User", "Group"],
        )),
    }
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let names = |kind: &str| {
        let of_kind = of(object).items("subjects").filter(|s| s.text("kind") == kind);
        let text = |s: &Map| match s.text("namespace") {
            "" => s.text("name").to_owned(),
            ns => format!("{ns}/{}", s.text("name")),
        };
        Value::from(of_kind.map(text).collect::<Vec<_>>().join(", "))
    };
    let role = format!("{}/{}", object.str_at(&["roleRef", "kind"]), object.str_at(&["roleRef", "name"]));
    vec![
        cells::name(object),
        role.into(),
        cells::age(object, now),
        names("User"),
        names("Group"),
        names("ServiceAccount"),
    ]
}
