//! Definitions: one a type, with references, upstream's defaults and the `x-kubernetes-` rules of merging.
//!
//! v2 is v3 without defaults and alternatives; a reference there may have fields beside it.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::describe::Descriptions;
use super::operations::META;
use crate::schema::{self, Field, ListType, Node, Omit, RawKind, Shape, Special, Type};

const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    pub fn reference(self, name: &str) -> Json {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// The name of a custom kind's definition: the group's labels reversed, then version and kind.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let mut labels: Vec<&str> = group.split('.').collect();
    labels.reverse();
    format!("{}.{version}.{kind}", labels.join("."))
}

/// Groups that are no API of a server's own, whose kinds are not every group's.
const APART: [&str; 2] = ["apidiscovery.k8s.io", "meta.k8s.io"];
/// A group-version that is known and has no kind left.
const EMPTY: (&str, &str) = ("authentication.k8s.io", "v1alpha1");

/// Makes definitions of built-in types.
pub(super) struct Maker<'a> {
    dialect: Dialect,
    texts: &'a Descriptions,
    /// The document's group-version; None in documents of all groups.
    gv: Option<(&'a str, &'a str)>,
    done: BTreeSet<String>,
    todo: BTreeSet<String>,
}

pub(super) fn gvk(group: &str, version: &str, kind: &str) -> Json {
    json!({"group": group, "kind": kind, "version": version})
}

pub(super) fn put_text(out: &mut Map<String, Json>, text: Option<&str>) {
    if let Some(text) = text {
        out.insert("description".into(), text.into());
    }
}

impl<'a> Maker<'a> {
    pub fn new(dialect: Dialect, texts: &'a Descriptions, gv: Option<(&'a str, &'a str)>) -> Self {
        Self { dialect, texts, gv, done: BTreeSet::new(), todo: BTreeSet::new() }
    }

    pub fn want(&mut self, name: &str) {
        if !self.done.contains(name) && !self.todo.contains(name) {
            self.todo.insert(name.to_owned());
        }
    }

    /// All that is wanted and what it refers to, one after the other.
    pub fn write(&mut self, out: &mut dyn FnMut(&str, &Json)) {
        while let Some(name) = self.todo.pop_first() {
            self.done.insert(name.clone());
            if let Some(definition) = self.definition(&name) {
                out(&name, &definition);
            }
        }
    }

    fn reference(&mut self, name: &str) -> Json {
        self.want(name);
        self.dialect.reference(name)
    }

    fn definition(&mut self, name: &str) -> Option<Json> {
        let mut out = Map::new();
        put_text(&mut out, self.texts.of_type(name));
        if let Some(plain) = special(name, self.dialect) {
            out.extend(plain);
            return Some(Json::Object(out));
        }
        let of = schema::look(name)?;
        self.object(&of, &mut out);
        let kinds = self.kinds(&of);
        if !kinds.is_empty() {
            out.insert("x-kubernetes-group-version-kind".into(), kinds.into());
        }
        if of.atomic {
            out.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        let unions: Vec<Json> = of.unions.iter().map(union).collect();
        if !unions.is_empty() {
            out.insert("x-kubernetes-unions".into(), unions.into());
        }
        Some(Json::Object(out))
    }

    /// Kinds of this document's group-version, and those that every one has.
    fn kinds(&self, of: &Type) -> Vec<Json> {
        let mut kinds: Vec<(&str, &str, &str)> =
            of.kinds.iter().map(|k| (&*k.group, &*k.version, &*k.kind)).collect();
        if let Some((_, _, kind)) = kinds.first().copied().filter(|k| schema::is_every_group(k.2)) {
            kinds = match self.gv {
                Some((group, version)) => vec![("", "v1", kind), (group, version, kind)],
                None => everywhere().map(|(group, version)| (group, version, kind)).collect(),
            };
        }
        kinds.sort_unstable();
        kinds.dedup();
        kinds.into_iter().map(|(g, v, k)| gvk(g, v, k)).collect()
    }

    fn object(&mut self, of: &Type, out: &mut Map<String, Json>) {
        out.insert("type".into(), "object".into());
        let mut fields: Vec<&Field> = of.fields.iter().filter(|f| f.in_json).collect();
        let required: Vec<Json> =
            fields.iter().filter(|f| f.required).map(|f| f.name.as_str().into()).collect();
        if !required.is_empty() {
            out.insert("required".into(), required.into());
        }
        fields.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let property = |f: &&Field| (f.name.to_string(), self.property(&of.name, f));
        let properties: Map<String, Json> = fields.iter().map(property).collect();
        if !properties.is_empty() {
            out.insert("properties".into(), properties.into());
        }
    }

    fn property(&mut self, of: &str, field: &Field) -> Json {
        let mut out = Map::new();
        put_text(
            &mut out,
            self.texts.of_field(of, &field.name).or_else(|| self.of_every_kind(of, &field.name)),
        );
        let described = !out.is_empty();
        self.node(&field.node, &mut out);
        if let (Dialect::V3, Some(default)) = (self.dialect, default_of(of, field)) {
            out.insert("default".into(), default);
        }
        merge_rules(&field.node, &mut out);
        // A reference with anything beside it stands in an allOf. Only schemas' own fields have no description.
        let described = described || !of.ends_with(".JSONSchemaProps");
        let beside = self.dialect == Dialect::V3 && (described || out.len() > 1);
        if beside && out.contains_key("$ref") {
            let to = out.remove("$ref").unwrap_or_default();
            out.insert("allOf".into(), json!([{ "$ref": to }]));
        }
        Json::Object(out)
    }

    /// What is said of a field that all kinds have, of one of which nothing is said itself.
    fn of_every_kind(&self, of: &str, field: &str) -> Option<&'a str> {
        match field {
            "apiVersion" | "kind" => self.texts.of_field(&format!("{META}.Status"), field),
            "metadata" if of.ends_with("List") => {
                self.texts.of_field("io.k8s.api.apps.v1.DeploymentList", field)
            }
            _ => None,
        }
    }

    fn node(&mut self, node: &Node, out: &mut Map<String, Json>) {
        let plain = |out: &mut Map<String, Json>, name: &str, format: Option<&str>| {
            out.insert("type".into(), name.into());
            if let Some(format) = node.format.as_deref().or(format) {
                out.insert("format".into(), format.into());
            }
        };
        let refer = |out: &mut Map<String, Json>, to: Json| {
            if let Json::Object(to) = to {
                out.extend(to);
            }
        };
        match &node.shape {
            Shape::Bool => plain(out, "boolean", None),
            Shape::Int32 => plain(out, "integer", Some("int32")),
            Shape::Int64 => plain(out, "integer", Some("int64")),
            Shape::Float64 => plain(out, "number", Some("double")),
            Shape::Number => plain(out, "number", None),
            Shape::String => {
                plain(out, "string", None);
                if !node.enum_values.is_empty() {
                    out.insert("enum".into(), node.enum_values.iter().map(|v| Json::from(&**v)).collect());
                }
            }
            Shape::Bytes => plain(out, "string", Some("byte")),
            Shape::Any => {}
            Shape::Struct(of) => refer(out, self.reference(of.name())),
            Shape::List(item) => {
                plain(out, "array", None);
                let mut items = Map::new();
                self.node(item, &mut items);
                out.insert("items".into(), items.into());
            }
            Shape::Map(value) => {
                plain(out, "object", None);
                let mut values = Map::new();
                self.node(value, &mut values);
                out.insert("additionalProperties".into(), values.into());
            }
            Shape::Special(special) => refer(out, self.reference(&special_name(special))),
        }
    }
}

fn everywhere() -> impl Iterator<Item = (&'static str, &'static str)> {
    schema::group_versions().filter(|(group, _)| !APART.contains(group)).chain([EMPTY])
}

/// Types with an encoding of their own.
fn special(name: &str, dialect: Dialect) -> Option<Map<String, Json>> {
    let short = name.rsplit('.').next().unwrap_or_default();
    let out = match (name.strip_suffix(short)?, short) {
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "Time" | "MicroTime") => {
            json!({"type": "string", "format": "date-time"})
        }
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "Duration") => json!({"type": "string"}),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "FieldsV1" | "Patch") => json!({"type": "object"}),
        ("io.k8s.apimachinery.pkg.runtime.", "RawExtension") => json!({"type": "object"}),
        ("io.k8s.apimachinery.pkg.api.resource.", "Quantity") => match dialect {
            Dialect::V2 => json!({"type": "string"}),
            Dialect::V3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        },
        ("io.k8s.apimachinery.pkg.util.intstr.", "IntOrString") => match dialect {
            Dialect::V2 => json!({"format": "int-or-string", "type": "string"}),
            Dialect::V3 => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
        },
        (_, "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray")
            if name.starts_with(EXTENSIONS) =>
        {
            json!({})
        }
        _ => return None,
    };
    if let Json::Object(out) = out { Some(out) } else { None }
}

fn special_name(special: &Special) -> String {
    match special {
        Special::Time => format!("{META}.Time"),
        Special::MicroTime => format!("{META}.MicroTime"),
        Special::Duration => format!("{META}.Duration"),
        Special::Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity".into(),
        Special::IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString".into(),
        Special::Raw(RawKind::Extension) => "io.k8s.apimachinery.pkg.runtime.RawExtension".into(),
        Special::Raw(RawKind::FieldsV1) => format!("{META}.FieldsV1"),
        Special::Raw(RawKind::Json) => format!("{EXTENSIONS}.JSON"),
        Special::SchemaOrBool(_) => format!("{EXTENSIONS}.JSONSchemaPropsOrBool"),
        Special::SchemaOrArray(_) => format!("{EXTENSIONS}.JSONSchemaPropsOrArray"),
        Special::SchemaOrStrings(_) => format!("{EXTENSIONS}.JSONSchemaPropsOrStringArray"),
    }
}

/// Fields whose declared default is the zero value, which the table does not tell from none.
const DECLARED_ZERO: [(&str, &str); 13] = [
    ("autoscaling.v1.ScaleSpec", "replicas"),
    ("core.v1.AzureDiskVolumeSource", "readOnly"),
    ("core.v1.ConfigMapEnvSource", "name"),
    ("core.v1.ConfigMapKeySelector", "name"),
    ("core.v1.ConfigMapProjection", "name"),
    ("core.v1.ConfigMapVolumeSource", "name"),
    ("core.v1.FileKeySelector", "optional"),
    ("core.v1.GRPCAction", "service"),
    ("core.v1.LocalObjectReference", "name"),
    ("core.v1.ReplicationControllerSpec", "minReadySeconds"),
    ("core.v1.SecretEnvSource", "name"),
    ("core.v1.SecretKeySelector", "name"),
    ("core.v1.SecretProjection", "name"),
];

fn zero(shape: &Shape) -> Option<Json> {
    Some(match shape {
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float64 => 0.into(),
        Shape::String => "".into(),
        _ => return None,
    })
}

/// A declared default, or the zero value that Go always writes.
fn default_of(of: &str, field: &Field) -> Option<Json> {
    let node = &field.node;
    let short = of.strip_prefix("io.k8s.api.").unwrap_or(of);
    if DECLARED_ZERO.contains(&(short, field.name.as_str())) {
        return zero(&node.shape);
    }
    if let Some(default) = &node.default {
        return Some(Json::from(&**default));
    }
    if node.pointer {
        return None;
    }
    match (&node.shape, field.omit) {
        (Shape::Struct(_), _) => Some(json!({})),
        (shape, Omit::Never) => zero(shape),
        _ => None,
    }
}

fn merge_rules(node: &Node, out: &mut Map<String, Json>) {
    let Some(merge) = &node.merge else { return };
    let mut put = |key: &str, value: Json| drop(out.insert(format!("x-kubernetes-{key}"), value));
    if !merge.list_map_keys.is_empty() {
        put("list-map-keys", merge.list_map_keys.iter().map(|k| Json::from(&**k)).collect());
    }
    if let Some(of) = merge.list_type {
        let text = match of {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        put("list-type", text.into());
    }
    if let Some(atomic) = merge.map_atomic {
        put("map-type", if atomic { "atomic" } else { "granular" }.into());
    }
    if let Some(key) = &merge.patch_merge_key {
        put("patch-merge-key", (**key).into());
    }
    if let Some(strategy) = &merge.patch_strategy {
        put("patch-strategy", (**strategy).into());
    }
}

fn union(of: &schema::Union) -> Json {
    let members: Map<String, Json> = of.members.iter().map(|(k, v)| (k.to_string(), (**v).into())).collect();
    let mut out = Map::new();
    if let Some(discriminator) = &of.discriminator {
        out.insert("discriminator".into(), (**discriminator).into());
    }
    out.insert("fields-to-discriminateBy".into(), members.into());
    Json::Object(out)
}
