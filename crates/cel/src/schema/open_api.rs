//! Schemas out of OpenAPI: a custom resource's structural schema or a built-in kind's document.

use std::collections::HashMap;
use std::sync::Arc;

use api::Value;

use super::{Field, From, Kind, ListKind, MAX_REQUEST, Object, Schema, escape};

const MAX_TIME: u64 = 32;
const DATE: u64 = 12;
/// A schema nested deeper than this is not read.
const MAX_DEPTH: usize = 128;

impl Schema {
    /// Reads an OpenAPI v3 schema object. `root` says that it describes a whole object, whose `apiVersion`, `kind`,
    /// `metadata.name` and `metadata.generateName` are known even where the schema leaves them out. None where no
    /// expression can reach a value of it.
    ///
    /// Objects are named by their place: `object`, then `<name>.<field>`; name the root by [`Schema::named`].
    pub fn of_open_api(schema: &Value, root: bool) -> Option<Self> {
        read(schema, root, 0)
    }

    /// Gives the root object a name, and by it every object below.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let kind = match &self.kind {
            Kind::Object(object) if object.name() == "object" => {
                let field = |(key, field): (&Arc<str>, &Field)| {
                    let schema = field.schema.named(&format!("{name}.{key}"));
                    (key.clone(), Field { property: field.property.clone(), schema })
                };
                Kind::Object(Object::with(name, From::Fields, object.fields().iter().map(field).collect()))
            }
            Kind::List(items, kind) => {
                Kind::List(Arc::new(items.named(&format!("{name}.@idx"))), kind.clone())
            }
            Kind::Map(values) => Kind::Map(Arc::new(values.named(&format!("{name}.@elem")))),
            other => other.clone(),
        };
        Self { kind, ..self.clone() }
    }
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.bool_at(&[name]).unwrap_or(false)
}

fn bound(schema: &Value, name: &str) -> Option<u64> {
    schema.int_at(&[name]).map(|n| u64::try_from(n).unwrap_or(0))
}

fn read(schema: &Value, root: bool, depth: usize) -> Option<Schema> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut made = read_kind(schema, root, depth)?;
    made.nullable = flag(schema, "nullable");
    made.has_default = schema.get("default").is_some();
    Some(made)
}

fn read_kind(schema: &Value, root: bool, depth: usize) -> Option<Schema> {
    let format = schema.str_at(&["format"]);
    if flag(schema, "x-kubernetes-int-or-string") || format == "int-or-string" {
        let max = bound(schema, "maxLength").map_or(MAX_REQUEST - 2, |n| n * 4);
        return Some(Schema::new(Kind::IntOrString).at_most(max));
    }
    match schema.str_at(&["type"]) {
        "array" => list(schema, depth),
        "object" => object(schema, root, depth),
        "" if root => object(schema, root, depth),
        "string" => Some(string(schema, format)),
        "boolean" => Some(Schema::new(Kind::Bool)),
        "number" => Some(Schema::new(Kind::Double)),
        "integer" => Some(Schema::new(Kind::Int)),
        _ => None,
    }
}

fn string(schema: &Value, format: &str) -> Schema {
    let max = bound(schema, "maxLength");
    match format {
        "byte" => Schema::new(Kind::Bytes).at_most(max.unwrap_or(MAX_REQUEST - 2)),
        "duration" => Schema::new(Kind::Duration).at_most(MAX_TIME),
        "date" => Schema::new(Kind::Date).at_most(DATE),
        "date-time" => Schema::new(Kind::Timestamp).at_most(MAX_TIME),
        _ => {
            let longest = || schema.list_at(&["enum"]).iter().filter_map(Value::as_str).map(str::len).max();
            let max = max.map(|n| n * 4).or_else(|| longest().map(|n| n as u64)).unwrap_or(MAX_REQUEST - 2);
            Schema::new(Kind::String).at_most(max)
        }
    }
}

/// The kind of list; an unknown one is as good as none.
fn list_kind(schema: &Value) -> ListKind {
    match schema.str_at(&["x-kubernetes-list-type"]) {
        "set" => ListKind::Set,
        "map" => {
            let keys = schema.list_at(&["x-kubernetes-list-map-keys"]).iter().filter_map(Value::as_str);
            ListKind::Map(keys.map(|key| escape(key).unwrap_or_else(|| key.to_owned())).collect())
        }
        _ => ListKind::Atomic,
    }
}

fn list(schema: &Value, depth: usize) -> Option<Schema> {
    let items = below(schema.get("items")?, depth)?;
    let max = bound(schema, "maxItems").unwrap_or((MAX_REQUEST - 2) / (items.least + 1));
    Some(Schema::new(Kind::List(Arc::new(items), list_kind(schema))).at_most(max))
}

fn below(schema: &Value, depth: usize) -> Option<Schema> {
    read(schema, flag(schema, "x-kubernetes-embedded-resource"), depth + 1)
}

fn object(schema: &Value, root: bool, depth: usize) -> Option<Schema> {
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.as_map().is_some()) {
        let values = below(values, depth)?;
        let max = bound(schema, "maxProperties").unwrap_or((MAX_REQUEST - 2) / (values.least + 6));
        return Some(Schema::new(Kind::Map(Arc::new(values))).at_most(max));
    }
    let required: Vec<&str> = schema.list_at(&["required"]).iter().filter_map(Value::as_str).collect();
    let mut fields = HashMap::new();
    let mut least = 2;
    for (name, property) in
        schema.get("properties").and_then(Value::as_map).into_iter().flat_map(|m| m.iter())
    {
        let Some(read) = below(property, depth) else { continue };
        if required.contains(&name.as_str()) && !read.has_default {
            least += name.len() as u64 + read.least + 4;
        }
        add(&mut fields, name, read);
    }
    if root {
        add_object_meta(&mut fields);
    }
    let mut made = Schema::object(Object::with("object", From::Fields, fields));
    made.least = least;
    Some(made)
}

fn add(fields: &mut HashMap<Arc<str>, Field>, property: &str, schema: Schema) {
    if let Some(name) = escape(property) {
        fields.insert(name.into(), Field { property: property.into(), schema });
    }
}

/// What every object has. A schema that declares its own metadata with both names keeps it.
fn add_object_meta(fields: &mut HashMap<Arc<str>, Field>) {
    let text = |f: Option<&Field>| f.is_some_and(|f| matches!(f.schema.kind, Kind::String));
    let meta = fields.get("metadata").map(|f| &f.schema);
    let names = |name| text(meta.and_then(|m| m.field(name)));
    if text(fields.get("kind")) && text(fields.get("apiVersion")) && names("name") && names("generateName") {
        return;
    }
    let string = || Schema::string().at_most(MAX_REQUEST - 2);
    let meta = Object::new("object", [("name", string()), ("generateName", string())]);
    add(fields, "kind", string());
    add(fields, "apiVersion", string());
    add(fields, "metadata", Schema::object(meta));
}
