//! What the server does to `metadata` whatever the kind: system fields, namespaces, names, and the rules of
//! ObjectMeta, in upstream's words.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Status, names, time};

use crate::catalog::Served;
use crate::request::RequestContext;

/// Upstream's limit of all annotations together, in bytes.
const ANNOTATIONS: usize = 256 << 10;

/// Removes what only the server may say.
pub fn wipe(object: &mut Value) {
    let meta = object.meta_mut();
    for key in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        meta.remove(key);
    }
}

/// A new identity, now.
pub fn stamp(object: &mut Value, cx: &RequestContext) {
    let meta = object.meta_mut();
    meta.insert("creationTimestamp", time::format(cx.now));
    meta.insert("uid", uuid::Uuid::new_v4().to_string());
}

/// The request's namespace and the object's must agree; an empty one takes the other.
pub fn ensure_namespace(object: &mut Value, served: &Served, namespace: &str) -> Result<(), Status> {
    let own = object.namespace().to_owned();
    match (served.row.namespaced, own.is_empty()) {
        (true, true) => {
            object.meta_mut().insert("namespace", namespace);
            Ok(())
        }
        (true, false) if own == namespace => Ok(()),
        (false, true) => Ok(()),
        (false, false) if namespace.is_empty() => {
            // A cluster-scoped object says a namespace: upstream drops it.
            object.meta_mut().remove("namespace");
            Ok(())
        }
        _ => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// The URL's name and namespace and the object's must agree on updates.
pub fn ensure_same(object: &mut Value, served: &Served, namespace: &str, name: &str) -> Result<(), Status> {
    let own = object.name();
    if own.is_empty() {
        object.meta_mut().insert("name", name);
    } else if own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    if !served.row.namespaced {
        return Ok(());
    }
    let own = object.namespace();
    if own.is_empty() {
        object.meta_mut().insert("namespace", namespace);
    } else if own != namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(why));
    }
    Ok(())
}

/// The rules of metadata for a new object.
pub fn validate(served: &Served, object: &Value) -> ErrorList {
    let (meta, field) = (object.meta(), Path::new("metadata"));
    let mut errors = ErrorList::new();
    let generate = meta.generate_name();
    if !generate.is_empty() {
        name_errors(served, generate, true, &field.child("generateName"), &mut errors);
    }
    if meta.name().is_empty() {
        errors.push(Error::required(&field.child("name"), "name or generateName is required"));
    } else {
        name_errors(served, meta.name(), false, &field.child("name"), &mut errors);
    }
    if served.row.namespaced {
        if meta.namespace().is_empty() {
            errors.push(Error::required(&field.child("namespace"), ""));
        } else {
            let found = names::dns1123_label(meta.namespace());
            errors.extend(
                found.into_iter().map(|why| Error::invalid(&field.child("namespace"), meta.namespace(), why)),
            );
        }
    } else if !meta.namespace().is_empty() {
        errors.push(Error::forbidden(&field.child("namespace"), "not allowed on this type"));
    }
    common(object, &field, &mut errors);
    errors
}

fn name_errors(served: &Served, name: &str, prefix: bool, field: &Path, errors: &mut ErrorList) {
    let own = served.strategy.name_errors(name, prefix);
    let found = own.unwrap_or_else(|| {
        // A generated name goes on after the prefix, so a trailing dash is fine.
        let generated = prefix && name.len() > 1 && name.ends_with('-');
        names::dns1123_subdomain(&if generated { masked(name) } else { name.to_owned() })
    });
    errors.extend(found.into_iter().map(|why| Error::invalid(field, name, why)));
    if !errors.is_empty() {
        return;
    }
    let path = if prefix { names::path_segment_prefix(name) } else { names::path_segment_name(name) };
    errors.extend(path.into_iter().map(|why| Error::invalid(field, name, why)));
}

/// What a generated name is checked as: something follows the dash.
fn masked(name: &str) -> String {
    let short: String = name.chars().take(name.chars().count().saturating_sub(2)).collect();
    format!("{short}a")
}

fn texts(map: Option<&Map>) -> impl Iterator<Item = (&str, &str)> {
    map.into_iter().flat_map(Map::iter).map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

fn common(object: &Value, field: &Path, errors: &mut ErrorList) {
    let meta = object.meta();
    errors.extend(apimachinery::labels::validate(texts(meta.labels()), &field.child("labels")));
    let at = field.child("annotations");
    let mut size = 0;
    for (key, value) in texts(meta.annotations()) {
        let found = names::qualified_name(&key.to_lowercase());
        errors.extend(found.into_iter().map(|why| Error::invalid(&at, key, why)));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS {
        errors.push(Error::too_long(&at, ANNOTATIONS));
    }
    if meta.generation() < 0 {
        let why = "must be greater than or equal to 0";
        errors.push(Error::invalid(&field.child("generation"), &meta.generation(), why));
    }
    owners(object, &field.child("ownerReferences"), errors);
    finalizers(object, &field.child("finalizers"), errors);
}

fn owners(object: &Value, field: &Path, errors: &mut ErrorList) {
    let mut controller: Option<String> = None;
    for (at, owner) in object.meta().owners().enumerate() {
        let here = field.index(at);
        for (name, value) in [
            ("apiVersion", owner.api_version),
            ("kind", owner.kind),
            ("name", owner.name),
            ("uid", owner.uid),
        ] {
            if value.is_empty() {
                errors.push(Error::required(&here.child(name), "must not be empty"));
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            let shown = object.list_at(&["metadata", "ownerReferences"]).get(at).map(api::json::to_string);
            errors.push(Error { value: shown, ..Error::invalid(&here, "", why) });
        }
        if !owner.controller {
            continue;
        }
        match &controller {
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {}/{}",
                    owner.kind, owner.name
                );
                let all = object.at(&["metadata", "ownerReferences"]).map(api::json::to_string);
                errors.push(Error { value: all, ..Error::invalid(field, "", why) });
            }
            None => controller = Some(format!("{}/{}", owner.kind, owner.name)),
        }
    }
}

/// Finalizers without a domain that everybody may use.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Built-in groups whose finalizers, as those of custom kinds, need no domain.
const FREE_FINALIZERS: [&str; 4] =
    ["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io"];

fn needs_domain(object: &Value) -> bool {
    let (group, _) = api::resources::split(object.api_version());
    !FREE_FINALIZERS.contains(&group) && api::resources::builtin().iter().any(|r| *r.group == *group)
}

fn finalizers(object: &Value, field: &Path, errors: &mut ErrorList) {
    for (at, name) in object.meta().finalizers().enumerate() {
        let found = names::qualified_name(name);
        let here = field.index(at);
        errors.extend(found.into_iter().map(|why| Error::invalid(field, name, why)));
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) && needs_domain(object) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&here, name, why));
        }
    }
    let both = ["orphan", "foregroundDeletion"].iter().all(|f| object.meta().has_finalizer(f));
    if both {
        let list: Vec<&str> = object.meta().finalizers().collect();
        errors.push(Error::invalid(
            field,
            &format!("[{}]", list.join(" ")),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// Gives an update what it may leave out: uid and times, and what deletion has set.
pub fn inherit(object: &mut Value, old: &Value) {
    let had = |key: &str| old.at(&["metadata", key]).cloned();
    let meta = object.meta_mut();
    if let Some(created) = had("creationTimestamp") {
        meta.insert("creationTimestamp", created);
    }
    if meta.get("uid").is_none_or(|v| v.is_null() || v.as_str() == Some(""))
        && let Some(uid) = had("uid")
    {
        meta.insert("uid", uid);
    }
    if let Some(value) = had("deletionTimestamp") {
        meta.insert("deletionTimestamp", value);
    }
    if !meta.contains_key("deletionGracePeriodSeconds")
        && let Some(value) = had("deletionGracePeriodSeconds")
    {
        meta.insert("deletionGracePeriodSeconds", value);
    }
}

/// The rules of metadata for an update.
pub fn validate_update(object: &Value, old: &Value) -> ErrorList {
    let field = Path::new("metadata");
    let mut errors = ErrorList::new();
    let (is, was) = (object.meta(), old.meta());
    if was.deletion_timestamp().is_some() {
        let added: Vec<&str> = is.finalizers().filter(|f| !was.has_finalizer(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            errors.push(Error::forbidden(
                &field.child("finalizers"),
                format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}", list.join(", ")),
            ));
        }
    }
    if is.resource_version().is_empty() {
        errors.push(Error {
            value: Some("0x0".into()),
            ..Error::invalid(&field.child("resourceVersion"), "", "must be specified for an update")
        });
    }
    if is.generation() < was.generation() {
        errors.push(Error::invalid(&field.child("generation"), &is.generation(), "must not be decremented"));
    }
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"] {
        let (new, old) = (object.str_at(&["metadata", key]), old.str_at(&["metadata", key]));
        if new != old {
            errors.push(Error::invalid(&field.child(key), new, "field is immutable"));
        }
    }
    let (new, old_period) = (is.deletion_grace_period_seconds(), was.deletion_grace_period_seconds());
    if new != old_period {
        errors.push(Error::invalid(
            &field.child("deletionGracePeriodSeconds"),
            &new.unwrap_or_default(),
            "field is immutable",
        ));
    }
    common(object, &field, &mut errors);
    errors
}
