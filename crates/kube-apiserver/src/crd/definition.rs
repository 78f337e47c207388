//! A CustomResourceDefinition, read: what serving custom resources needs of it, from either of its versions.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, GroupVersion};

use super::structural::flag;
use crate::conversion::definition::from_stored;

/// Where definitions themselves are.
pub fn resource() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

/// `spec.names` or `status.acceptedNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    value.list_at(&[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Names {
    pub fn of(value: &Value) -> Self {
        Self {
            plural: value.str_at(&["plural"]).into(),
            singular: value.str_at(&["singular"]).into(),
            kind: value.str_at(&["kind"]).into(),
            list_kind: value.str_at(&["listKind"]).into(),
            short_names: texts(value, "shortNames"),
            categories: texts(value, "categories"),
        }
    }

    /// In the order and with the absences of Go's struct.
    pub fn to_value(&self) -> Value {
        let mut out = api::Map::new();
        let list = |list: &[String]| Value::List(list.iter().map(|s| Value::from(s.as_str())).collect());
        out.push("plural", self.plural.as_str());
        if !self.singular.is_empty() {
            out.push("singular", self.singular.as_str());
        }
        if !self.short_names.is_empty() {
            out.push("shortNames", list(&self.short_names));
        }
        out.push("kind", self.kind.as_str());
        if !self.list_kind.is_empty() {
            out.push("listKind", self.list_kind.as_str());
        }
        if !self.categories.is_empty() {
            out.push("categories", list(&self.categories));
        }
        Value::Map(out)
    }
}

/// One of `spec.versions`.
#[derive(Clone, Debug)]
pub struct Version {
    pub name: String,
    pub served: bool,
    pub storage: bool,
    /// The warning of a deprecated version.
    pub deprecated: Option<String>,
    /// `openAPIV3Schema`.
    pub schema: Arc<Value>,
    pub status: bool,
    pub scale: Option<Value>,
    pub columns: Vec<Value>,
    /// JSON paths without the leading dot.
    pub selectable: Vec<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    pub uid: String,
    pub group: String,
    pub namespaced: bool,
    pub names: Names,
    pub accepted: Names,
    pub versions: Vec<Version>,
    pub preserve_unknown: bool,
    /// `spec.conversion.webhook`, where versions are converted by one.
    pub webhook: Option<Value>,
    pub generation: i64,
    pub established: bool,
    pub deleting: bool,
}

impl Definition {
    /// From v1 or, as it lies in the store and in the registry, from v1beta1.
    pub fn read(object: &Value) -> Self {
        if object.str_at(&["apiVersion"]).ends_with("/v1beta1") {
            let mut v1 = object.clone();
            from_stored(&mut v1);
            return Self::of(&v1);
        }
        Self::of(object)
    }

    fn of(object: &Value) -> Self {
        let spec = object.get("spec").cloned().unwrap_or_default();
        let group = spec.str_at(&["group"]).to_owned();
        let names = Names::of(spec.get("names").unwrap_or(&Value::Null));
        let by_webhook = spec.str_at(&["conversion", "strategy"]) == "Webhook";
        let versions = spec.list_at(&["versions"]).iter().map(|v| version(v, &group, &names.kind)).collect();
        Self {
            name: object.name().into(),
            uid: object.uid().into(),
            namespaced: spec.str_at(&["scope"]) == "Namespaced",
            accepted: Names::of(object.at(&["status", "acceptedNames"]).unwrap_or(&Value::Null)),
            names,
            versions,
            preserve_unknown: flag(&spec, "preserveUnknownFields"),
            webhook: spec.at(&["conversion", "webhook"]).filter(|_| by_webhook).cloned(),
            generation: object.meta().generation(),
            established: condition(object, "Established") == "True",
            deleting: object.meta().deletion_timestamp().is_some(),
            group,
        }
    }

    pub fn storage(&self) -> Option<&Version> {
        self.versions.iter().find(|v| v.storage)
    }

    pub fn resource(&self) -> GroupResource {
        GroupResource::new(self.group.as_str(), self.names.plural.as_str())
    }

    pub fn gv(&self, version: &Version) -> GroupVersion {
        GroupVersion::new(self.group.as_str(), version.name.as_str())
    }
}

/// The status of a condition; "" where there is none.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let all = object.list_at(&["status", "conditions"]);
    all.iter().find(|c| c.str_at(&["type"]) == kind).map_or("", |c| c.str_at(&["status"]))
}

fn version(of: &Value, group: &str, kind: &str) -> Version {
    let name = of.str_at(&["name"]);
    let warning = || match of.str_at(&["deprecationWarning"]) {
        "" => format!("{group}/{name} {kind} is deprecated"),
        text => text.to_owned(),
    };
    let selectable = of.list_at(&["selectableFields"]).iter();
    Version {
        name: name.into(),
        served: flag(of, "served"),
        storage: flag(of, "storage"),
        deprecated: flag(of, "deprecated").then(warning),
        schema: Arc::new(of.at(&["schema", "openAPIV3Schema"]).cloned().unwrap_or_else(Value::map)),
        status: of.at(&["subresources", "status"]).is_some_and(|s| !s.is_null()),
        scale: of.at(&["subresources", "scale"]).filter(|s| !s.is_null()).cloned(),
        columns: of.list_at(&["additionalPrinterColumns"]).to_vec(),
        selectable: selectable.map(|f| f.str_at(&["jsonPath"]).trim_start_matches('.').to_owned()).collect(),
    }
}
