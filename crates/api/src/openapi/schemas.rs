//! Schemas: one definition a type, with references, upstream's defaults and the `x-kubernetes-` rules of merging.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::Entry;
use super::describe::Descriptions;
use crate::schema::{self, Field, ListType, Node, Omit, RawKind, Shape, Special, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

pub(super) fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name of a custom kind's definition: the group's labels reversed, then version and kind.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    let mut labels: Vec<&str> = group.split('.').collect();
    labels.reverse();
    format!("{}.{version}.{kind}", labels.join("."))
}

/// Names of definitions that a document must have.
#[derive(Default)]
pub(super) struct Wanted(BTreeSet<String>);

impl Wanted {
    /// A reference to the definition, which is wanted from now on.
    pub fn reference(&mut self, name: &str) -> Json {
        self.0.insert(name.to_owned());
        reference(name)
    }

    /// All wanted definitions and what they refer to, sorted by name.
    pub fn schemas(self, group: &str, version: &str, entries: &[Entry<'_>]) -> Map<String, Json> {
        let mut maker =
            Maker { texts: Descriptions::load(), todo: self.0, done: BTreeMap::new(), gv: (group, version) };
        for entry in entries.iter().filter(|e| e.custom.is_some()) {
            maker.custom(entry);
        }
        while let Some(name) = maker.todo.pop_first() {
            if !maker.done.contains_key(&name)
                && let Some(definition) = maker.definition(&name)
            {
                maker.done.insert(name, definition);
            }
        }
        maker.done.into_iter().collect()
    }
}

struct Maker<'a> {
    texts: Descriptions,
    todo: BTreeSet<String>,
    done: BTreeMap<String, Json>,
    gv: (&'a str, &'a str),
}

fn gvk(group: &str, version: &str, kind: &str) -> Json {
    json!({"group": group, "kind": kind, "version": version})
}

fn put_text(out: &mut Map<String, Json>, text: Option<&str>) {
    if let Some(text) = text {
        out.insert("description".into(), text.into());
    }
}

impl Maker<'_> {
    fn want(&mut self, name: &str) -> Json {
        if !self.done.contains_key(name) {
            self.todo.insert(name.to_owned());
        }
        reference(name)
    }

    fn definition(&mut self, name: &str) -> Option<Json> {
        let mut out = Map::new();
        put_text(&mut out, self.texts.of_type(name));
        if let Some(plain) = special(name) {
            out.extend(plain);
            return Some(Json::Object(out));
        }
        let of = schema::by_name(name)?;
        self.object(&of, &mut out);
        let kinds: Vec<Json> = self.kinds(&of);
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
        let (group, version) = self.gv;
        let everywhere = of.kinds.first().is_some_and(|k| schema::is_every_group(&k.kind));
        let mut kinds: Vec<(&str, &str, &str)> =
            of.kinds.iter().map(|k| (&*k.group, &*k.version, &*k.kind)).collect();
        if everywhere {
            let kind = kinds[0].2;
            kinds = vec![("", "v1", kind), (group, version, kind)];
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
        put_text(&mut out, self.texts.of_field(of, &field.name));
        let described = !out.is_empty();
        self.node(&field.node, &mut out);
        let default = default_of(field);
        if let Some(default) = &default {
            out.insert("default".into(), default.clone());
        }
        merge_rules(&field.node, &mut out);
        // A reference with anything beside it stands in an allOf.
        if (described || out.len() > 1) && out.contains_key("$ref") {
            let to = out.remove("$ref").unwrap_or_default();
            out.insert("allOf".into(), json!([{ "$ref": to }]));
        }
        Json::Object(out)
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
            Shape::Struct(of) => refer(out, self.want(&of.name)),
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
            Shape::Special(special) => refer(out, self.want(&special_name(special))),
        }
    }

    /// A custom kind and its list.
    fn custom(&mut self, entry: &Entry<'_>) {
        let (row, (group, version)) = (entry.row, self.gv);
        let Some(schema) = entry.custom else { return };
        let name = definition_name(group, version, &row.kind);
        let mut out = published(schema);
        let meta = self.want(&format!("{META}.ObjectMeta"));
        let kinds = json!([gvk(group, version, &row.kind)]);
        self.with_type_meta(&mut out, meta, "ObjectMeta");
        out.insert("x-kubernetes-group-version-kind".into(), kinds);
        self.done.insert(name.clone(), Json::Object(out));
        let list = format!("{}List", row.kind);
        let mut out = Map::new();
        out.insert("description".into(), format!("{list} is a list of {}", row.kind).into());
        out.insert("type".into(), "object".into());
        out.insert("required".into(), json!(["items"]));
        out.insert("properties".into(), json!({"items": {"type": "array", "items": reference(&name)}}));
        let meta = self.want(&format!("{META}.ListMeta"));
        self.with_type_meta(&mut out, meta, "ListMeta");
        out.insert("x-kubernetes-group-version-kind".into(), json!([gvk(group, version, &list)]));
        self.done.insert(definition_name(group, version, &list), Json::Object(out));
    }

    fn with_type_meta(&self, out: &mut Map<String, Json>, meta: Json, meta_type: &str) {
        let properties = out.entry("properties").or_insert_with(|| json!({}));
        let Json::Object(properties) = properties else { return };
        let kind = format!("{META}.Status");
        for field in ["apiVersion", "kind"] {
            let mut of = Map::new();
            put_text(&mut of, self.texts.of_field(&kind, field));
            of.insert("type".into(), "string".into());
            properties.insert(field.into(), of.into());
        }
        let text = match meta_type {
            "ObjectMeta" => self.texts.of_field("io.k8s.api.apps.v1.Deployment", "metadata"),
            _ => self.texts.of_field("io.k8s.api.apps.v1.DeploymentList", "metadata"),
        };
        let mut of = Map::new();
        put_text(&mut of, text);
        of.insert("allOf".into(), json!([meta]));
        properties.insert("metadata".into(), of.into());
        let mut sorted: Vec<_> = std::mem::take(properties).into_iter().collect();
        sorted.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        properties.extend(sorted);
    }
}

/// A custom schema as it is published. Where unknown fields are kept the properties stay, as documentation.
fn published(schema: &crate::Value) -> Map<String, Json> {
    match Json::from(schema) {
        Json::Object(mut out) => {
            out.entry("type").or_insert_with(|| "object".into());
            out
        }
        _ => Map::new(),
    }
}

fn special(name: &str) -> Option<Map<String, Json>> {
    let short = name.rsplit('.').next().unwrap_or_default();
    let out = match (name.strip_suffix(short)?, short) {
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "Time" | "MicroTime") => {
            json!({"type": "string", "format": "date-time"})
        }
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "Duration") => json!({"type": "string"}),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.", "FieldsV1" | "Patch") => json!({"type": "object"}),
        ("io.k8s.apimachinery.pkg.runtime.", "RawExtension") => json!({"type": "object"}),
        ("io.k8s.apimachinery.pkg.api.resource.", "Quantity") => {
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        ("io.k8s.apimachinery.pkg.util.intstr.", "IntOrString") => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
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

/// A declared default, or the zero value that Go always writes.
fn default_of(field: &Field) -> Option<Json> {
    let node = &field.node;
    if let Some(default) = &node.default {
        return Some(Json::from(&**default));
    }
    if node.pointer {
        return None;
    }
    match (&node.shape, field.omit) {
        (Shape::Struct(_), _) => Some(json!({})),
        (Shape::Bool, Omit::Never) => Some(false.into()),
        (Shape::Int32 | Shape::Int64 | Shape::Float64, Omit::Never) => Some(0.into()),
        (Shape::String, Omit::Never) => Some("".into()),
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
