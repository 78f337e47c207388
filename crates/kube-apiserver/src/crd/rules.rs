//! Validation of a CustomResourceDefinition in the form in which it is stored: paths of what all versions share are
//! at the top (`spec.validation`), as upstream's internal form has them.

use api::jsonpath::JsonPath;
use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use apimachinery::names;

use super::expressions::written;
use super::schema_rules;
use super::structural::flag;

const APPROVED: &str = "api-approved.kubernetes.io";

fn refused(path: &Path, value: &Value, detail: impl Into<String>) -> Error {
    Error {
        kind: ErrorType::Invalid,
        field: path.clone(),
        value: Some(super::check::shown(value)),
        detail: detail.into(),
    }
}

fn text_refused(path: &Path, text: &str, errors: Vec<String>) -> Option<Error> {
    (!errors.is_empty()).then(|| Error::invalid(path, text, errors.join(",")))
}

/// The schemas of a stored definition with their paths.
pub(super) fn schemas(object: &Value) -> Vec<(Path, &Value)> {
    let spec = Path::new("spec");
    let mut out = Vec::new();
    if let Some(shared) = object.at(&["spec", "validation", "openAPIV3Schema"]) {
        out.push((spec.child("validation").child("openAPIV3Schema"), shared));
    }
    for (i, version) in object.list_at(&["spec", "versions"]).iter().enumerate() {
        if let Some(schema) = version.at(&["schema", "openAPIV3Schema"]) {
            out.push((spec.child("versions").index(i).child("schema").child("openAPIV3Schema"), schema));
        }
    }
    out
}

/// A definition on its own.
pub fn validate(object: &Value) -> ErrorList {
    validate_against(object, None)
}

fn validate_against(object: &Value, old: Option<&Value>) -> ErrorList {
    let mut out = ErrorList::new();
    let spec = object.get("spec").cloned().unwrap_or_default();
    let path = Path::new("spec");
    let expected = format!("{}.{}", spec.str_at(&["names", "plural"]), spec.str_at(&["group"]));
    if object.name() != expected {
        let name = Path::new("metadata").child("name");
        out.push(Error::invalid(&name, object.name(), "must be spec.names.plural+\".\"+spec.group"));
    }
    group(object, &spec, &path, &mut out);
    scope(&spec, &path, &mut out);
    versions(&spec, &path, &mut out);
    names_of(&spec, &path.child("names"), &mut out);
    columns_and_fields(&spec, &path, &mut out);
    conversion(&spec, &path.child("conversion"), &mut out);
    let before = old.map(schemas).unwrap_or_default();
    for (path, schema) in schemas(object) {
        let found = out.len();
        schema_rules::validate(schema, &path, &mut out);
        let unchanged = before.iter().any(|(_, old)| *old == schema);
        written(schema, &path, out.len() == found, unchanged, &mut out);
    }
    out.extend(stored_versions(object));
    out
}

fn group(object: &Value, spec: &Value, path: &Path, out: &mut ErrorList) {
    let (group, path) = (spec.str_at(&["group"]), path.child("group"));
    if group.is_empty() {
        out.push(Error::required(&path, ""));
        return;
    }
    let errors = names::dns1123_subdomain(group);
    if let Some(error) = text_refused(&path, group, errors) {
        out.push(error);
    } else if !group.contains('.') {
        out.push(Error::invalid(&path, group, "should be a domain with at least one dot"));
    }
    let protected =
        ["k8s.io", "kubernetes.io"].iter().any(|d| group == *d || group.ends_with(&format!(".{d}")));
    let approval = object.meta().annotation(APPROVED).unwrap_or_default();
    let path = Path::new("metadata").child("annotations").key(APPROVED);
    if protected && approval.is_empty() {
        let detail = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        out.push(Error::required(&path, detail));
    } else if protected && !approval.starts_with("unapproved") && !approval.contains("://") {
        let detail = format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        out.push(Error::invalid(&path, approval, detail));
    }
}

fn scope(spec: &Value, path: &Path, out: &mut ErrorList) {
    let (scope, path) = (spec.str_at(&["scope"]), path.child("scope"));
    match scope {
        "" => out.push(Error::required(&path, "")),
        "Cluster" | "Namespaced" => {}
        other => out.push(Error::not_supported(&path, other, &["Cluster", "Namespaced"])),
    }
}

fn versions(spec: &Value, path: &Path, out: &mut ErrorList) {
    let list = spec.list_at(&["versions"]);
    let at = path.child("versions");
    let all = || Value::List(list.to_vec());
    let mut seen: Vec<&str> = Vec::new();
    for (i, version) in list.iter().enumerate() {
        let name = version.str_at(&["name"]);
        out.extend(text_refused(&at.index(i).child("name"), name, names::dns1035_label(name)));
        if seen.contains(&name) {
            out.push(refused(&at, &all(), "must contain unique version names"));
        }
        seen.push(name);
        let has_schema = version.at(&["schema", "openAPIV3Schema"]).is_some();
        if !has_schema && spec.at(&["validation", "openAPIV3Schema"]).is_none() {
            out.push(Error::required(&at.index(i).child("schema").child("openAPIV3Schema"), ""));
        }
        let warning = version.str_at(&["deprecationWarning"]);
        if !warning.is_empty() && !flag(version, "deprecated") {
            let path = at.index(i).child("deprecationWarning");
            out.push(Error::invalid(&path, warning, "can only be set for deprecated versions"));
        }
    }
    let first = spec.str_at(&["version"]);
    if !first.is_empty() {
        out.extend(text_refused(&path.child("version"), first, names::dns1035_label(first)));
    }
    let storage = list.iter().filter(|v| flag(v, "storage")).count();
    if storage != 1 {
        out.push(refused(&at, &all(), "must have exactly one version marked as storage version"));
    }
    if list.len() > 1 && flag(spec, "preserveUnknownFields") {
        out.push(refused(
            &path.child("preserveUnknownFields"),
            &true.into(),
            "must be false in order to use multiple versions",
        ));
    } else if flag(spec, "preserveUnknownFields") {
        let text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        out.push(refused(&path.child("preserveUnknownFields"), &true.into(), text));
    }
}

fn names_of(spec: &Value, path: &Path, out: &mut ErrorList) {
    let of = spec.get("names").cloned().unwrap_or_default();
    let caseless = |text: &str| {
        let errors = names::dns1035_label(&text.to_lowercase());
        if errors.is_empty() {
            errors
        } else {
            vec![format!("may have mixed case, but should otherwise match: {}", errors.join(","))]
        }
    };
    for (key, must) in [("plural", true), ("singular", false)] {
        let text = of.str_at(&[key]);
        if must && text.is_empty() {
            out.push(Error::required(&path.child(key), ""));
        } else if !text.is_empty() {
            out.extend(text_refused(&path.child(key), text, names::dns1035_label(text)));
        }
    }
    for key in ["kind", "listKind"] {
        match of.str_at(&[key]) {
            "" => out.push(Error::required(&path.child(key), "")),
            text => out.extend(text_refused(&path.child(key), text, caseless(text))),
        }
    }
    let (kind, list) = (of.str_at(&["kind"]), of.str_at(&["listKind"]));
    if !kind.is_empty() && kind == list {
        out.push(Error::invalid(&path.child("listKind"), list, "kind and listKind may not be the same"));
    }
    for key in ["shortNames", "categories"] {
        for (i, text) in of.list_at(&[key]).iter().enumerate() {
            let text = text.as_str().unwrap_or_default();
            out.extend(text_refused(&path.child(key).index(i), text, names::dns1035_label(text)));
        }
    }
}

/// Everywhere where printer columns, selectable fields and scale paths may stand.
fn columns_and_fields(spec: &Value, path: &Path, out: &mut ErrorList) {
    let empty = Map::new();
    let mut places = vec![(spec.as_map().unwrap_or(&empty), path.clone())];
    for (i, version) in spec.list_at(&["versions"]).iter().enumerate() {
        places.push((version.as_map().unwrap_or(&empty), path.child("versions").index(i)));
    }
    for (map, path) in places {
        let list = |key: &str| map.get(key).and_then(Value::as_list).unwrap_or_default();
        for (i, column) in list("additionalPrinterColumns").iter().enumerate() {
            column_rules(column, &path.child("additionalPrinterColumns").index(i), out);
        }
        for (i, field) in list("selectableFields").iter().enumerate() {
            let shared = spec.at(&["validation", "openAPIV3Schema"]);
            let own = map.get("schema").and_then(|s| s.get("openAPIV3Schema"));
            let schemas: Vec<&Value> = shared.or(own).into_iter().collect();
            selectable(field, &schemas, &path.child("selectableFields").index(i), out);
        }
        if list("selectableFields").len() > 8 {
            out.push(Error::too_many(&path.child("selectableFields"), list("selectableFields").len(), 8));
        }
        if let Some(scale) = map.get("subresources").and_then(|s| s.get("scale")).filter(|s| !s.is_null()) {
            scale_rules(scale, &path.child("subresources").child("scale"), out);
        }
    }
}

fn column_rules(column: &Value, path: &Path, out: &mut ErrorList) {
    if column.str_at(&["name"]).is_empty() {
        out.push(Error::required(&path.child("name"), ""));
    }
    let types = ["boolean", "date", "integer", "number", "string"];
    match column.str_at(&["type"]) {
        "" => {
            let detail = "must be one of boolean,date,integer,number,string";
            out.push(Error::required(&path.child("type"), detail));
        }
        kind if !types.contains(&kind) => {
            out.push(Error::invalid(
                &path.child("type"),
                kind,
                "must be one of boolean,date,integer,number,string",
            ));
        }
        _ => {}
    }
    json_path(column, "JSONPath", path, out);
}

const SIMPLE_PATH: &str = "must be a simple json path starting with .";

fn json_path(of: &Value, key: &str, path: &Path, out: &mut ErrorList) {
    match of.str_at(&[key]) {
        "" => out.push(Error::required(&path.child(key), "")),
        text if !text.starts_with('.') => out.push(Error::invalid(&path.child(key), text, SIMPLE_PATH)),
        text => {
            if let Err(error) = JsonPath::parse(text) {
                out.push(Error::invalid(&path.child(key), text, error.to_string()));
            }
        }
    }
}

/// A selectable field must be one that the schema declares.
fn selectable(field: &Value, schemas: &[&Value], path: &Path, out: &mut ErrorList) {
    let before = out.len();
    json_path(field, "jsonPath", path, out);
    let text = field.str_at(&["jsonPath"]);
    let declared = |schema: &&Value| {
        let mut names = text.split('.').filter(|n| !n.is_empty());
        names.try_fold(*schema, |of, name| of.at(&["properties", name])).is_some()
    };
    if out.len() == before && !schemas.iter().all(declared) {
        let detail = "is an invalid path: does not refer to a valid field";
        out.push(Error::invalid(&path.child("jsonPath"), text, detail));
    }
}

fn scale_rules(scale: &Value, path: &Path, out: &mut ErrorList) {
    for (key, under) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        match scale.str_at(&[key]) {
            "" => out.push(Error::required(&path.child(key), "")),
            text if !text.starts_with('.') => out.push(Error::invalid(&path.child(key), text, SIMPLE_PATH)),
            text if !text.starts_with(under) => {
                let detail = format!("should be a json path under {}", under.trim_end_matches('.'));
                out.push(Error::invalid(&path.child(key), text, detail));
            }
            _ => {}
        }
    }
    let selector = scale.str_at(&["labelSelectorPath"]);
    if !selector.is_empty() && !selector.starts_with(".spec.") && !selector.starts_with(".status.") {
        let path = path.child("labelSelectorPath");
        out.push(Error::invalid(&path, selector, "should be a json path under either .spec or .status"));
    }
}

fn conversion(spec: &Value, path: &Path, out: &mut ErrorList) {
    let of = spec.get("conversion").cloned().unwrap_or_default();
    let config = of.get("webhookClientConfig").filter(|c| !c.is_null());
    let reviews = of.list_at(&["conversionReviewVersions"]);
    match of.str_at(&["strategy"]) {
        "" => out.push(Error::required(&path.child("strategy"), "")),
        "None" => {
            let set = [
                ("webhookClientConfig", config.is_some()),
                ("conversionReviewVersions", !reviews.is_empty()),
            ];
            for (key, _) in set.into_iter().filter(|(_, set)| *set) {
                let detail = "should not be set when strategy is not set to Webhook";
                out.push(Error::forbidden(&path.child(key), detail));
            }
        }
        "Webhook" => {
            webhook(config, &path.child("webhookClientConfig"), out);
            if reviews.is_empty() {
                out.push(Error::required(&path.child("conversionReviewVersions"), ""));
            }
        }
        other => out.push(Error::not_supported(&path.child("strategy"), other, &["None", "Webhook"])),
    }
}

fn webhook(config: Option<&Value>, path: &Path, out: &mut ErrorList) {
    let Some(config) = config else {
        out.push(Error::required(path, "required when strategy is set to Webhook"));
        return;
    };
    let (url, service) = (config.str_at(&["url"]), config.get("service").filter(|s| !s.is_null()));
    if url.is_empty() == service.is_none() {
        out.push(Error::required(path, "exactly one of url or service is required"));
    }
}

/// Every version that objects may be stored in must be there.
pub fn stored_versions(object: &Value) -> ErrorList {
    let path = Path::new("status").child("storedVersions");
    let versions = object.list_at(&["spec", "versions"]);
    let mut out = ErrorList::new();
    if object.list_at(&["status", "storedVersions"]).is_empty() {
        out.push(refused(&path, &Value::Null, "must have at least one stored version"));
        return out;
    }
    for (i, stored) in object.list_at(&["status", "storedVersions"]).iter().enumerate() {
        let name = stored.as_str().unwrap_or_default();
        if !versions.iter().any(|v| v.str_at(&["name"]) == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            out.push(Error::invalid(&path.index(i), name, detail));
        }
    }
    let storage = versions.iter().find(|v| flag(v, "storage")).map(|v| v.str_at(&["name"]));
    let has =
        |name: &str| object.list_at(&["status", "storedVersions"]).iter().any(|v| v.as_str() == Some(name));
    if let Some(storage) = storage.filter(|name| !has(name)) {
        let list = object.at(&["status", "storedVersions"]).cloned().unwrap_or_default();
        out.push(refused(&path, &list, format!("must have the storage version {storage}")));
    }
    out
}

/// What may not change while objects may exist.
pub fn validate_update(object: &Value, old: &Value) -> ErrorList {
    let mut out = validate_against(object, Some(old));
    let established = super::definition::condition(old, "Established") == "True";
    let fixed: &[(&[&str], bool)] = &[
        (&["spec", "group"], true),
        (&["spec", "names", "plural"], true),
        (&["spec", "scope"], established),
        (&["spec", "names", "kind"], established),
    ];
    for (at, _) in fixed.iter().filter(|(_, fixed)| *fixed) {
        let (new, was) = (object.str_at(at), old.str_at(at));
        if new != was {
            let path = at.iter().fold(Path::default(), |path, name| path.child(name));
            out.push(Error::invalid(&path, new, "field is immutable"));
        }
    }
    out
}
