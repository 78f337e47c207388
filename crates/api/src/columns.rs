//! Tables and projections: column definitions, the columns of custom resources by JSONPath, PartialObjectMetadata.
//!
//! Cells of built-in kinds are the kinds' own (strategies). Column descriptions are prose and left empty.

use std::sync::Arc;

use apimachinery::time;
use jiff::Timestamp;

use crate::json;
use crate::jsonpath::{BadPath, JsonPath};
use crate::resources::Column;
use crate::value;
use crate::value::Value;

/// A column of a custom resource (`additionalPrinterColumns`).
#[derive(Clone, Debug)]
pub struct PathColumn {
    pub column: Column,
    pub path: JsonPath,
}

fn column(name: &str, column_type: &str, format: &str, priority: i32) -> Column {
    let text = |s: &str| Arc::<str>::from(s);
    Column { name: text(name), column_type: text(column_type), format: text(format), priority }
}

/// Where a kind declares none: name and creation time.
pub fn default_columns() -> Vec<Column> {
    vec![column("Name", "string", "name", 0), column("Created At", "date", "", 0)]
}

impl PathColumn {
    /// One entry of `additionalPrinterColumns`.
    pub fn parse(entry: &Value) -> Result<Self, BadPath> {
        let priority = entry.int_at(&["priority"]).and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
        let made =
            column(entry.str_at(&["name"]), entry.str_at(&["type"]), entry.str_at(&["format"]), priority);
        Ok(Self { column: made, path: JsonPath::parse(entry.str_at(&["jsonPath"]))? })
    }

    /// The columns of a version of a CustomResourceDefinition: the name first; the age where it declares none.
    pub fn all(declared: &[Value]) -> Result<Vec<Self>, BadPath> {
        let name =
            Self { column: column("Name", "string", "name", 0), path: JsonPath::parse(".metadata.name")? };
        let mut out = vec![name];
        for entry in declared {
            out.push(Self::parse(entry)?);
        }
        if declared.is_empty() {
            let path = JsonPath::parse(".metadata.creationTimestamp")?;
            out.push(Self { column: column("Age", "date", "", 0), path });
        }
        Ok(out)
    }

    /// The cell of an object; null where the path leads nowhere or the type does not fit.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(first) = found.first() else { return Value::Null };
        match (&*self.column.column_type, *first) {
            ("integer", Value::Int(_))
            | ("number", Value::Int(_) | Value::Float(_))
            | ("boolean", Value::Bool(_)) => Value::clone(first),
            ("integer", Value::Float(n)) => Value::Int(*n as i64),
            ("date", Value::String(text)) => age(text, now),
            ("string", _) => {
                let texts: Vec<String> = found.iter().map(|v| shown(v)).collect();
                Value::from(texts.join(" "))
            }
            _ => Value::Null,
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.to_string(),
        Value::Null => "<nil>".into(),
        other => json::to_string(other),
    }
}

/// `5m` of an RFC 3339 time; `<unknown>` for an empty one, `<invalid>` for no time.
pub fn age(text: &str, now: Timestamp) -> Value {
    if text.is_empty() {
        return "<unknown>".into();
    }
    match time::parse(text) {
        Some(then) => time::human(now.as_second() - then.as_second()).into(),
        None => "<invalid>".into(),
    }
}

/// The `columnDefinitions` of a Table.
pub fn definitions(columns: &[Column]) -> Value {
    let one = |c: &Column| {
        value!({
            "name": (&*c.name),
            "type": (&*c.column_type),
            "format": (&*c.format),
            "description": "",
            "priority": c.priority,
        })
    };
    columns.iter().map(one).collect()
}

/// A `meta.k8s.io/v1` Table. `metadata` is that of the list (or null); a row is its cells and its `object`.
pub fn table(columns: &[Column], metadata: Value, rows: Vec<(Vec<Value>, Option<Value>)>) -> Value {
    let rows: Value = rows
        .into_iter()
        .map(|(cells, object)| value!({"cells": Value::List(cells), "object": object}))
        .collect();
    value!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": (if metadata.is_null() { Value::map() } else { metadata }),
        "columnDefinitions": definitions(columns),
        "rows": rows,
    })
}

/// The object's metadata alone, as `meta.k8s.io/v1` PartialObjectMetadata.
pub fn partial_object_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_else(Value::map);
    value!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_custom_columns() {
        let object = value!({
            "metadata": {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"n": 3, "list": ["x", "y"]},
            "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        let now = time::parse("2024-01-01T00:05:00Z").unwrap();
        let cell = |path: &str, kind: &str| {
            PathColumn::parse(&value!({"name": "x", "type": kind, "jsonPath": path}))
                .unwrap()
                .cell(&object, now)
        };
        assert_eq!(cell(".spec.n", "integer"), Value::Int(3));
        assert_eq!(cell(".spec.n", "string"), Value::from("3"));
        assert_eq!(cell(r#".status.conditions[?(@.type=="Ready")].status"#, "string"), Value::from("True"));
        assert_eq!(cell(".spec.none", "string"), Value::Null);
        assert_eq!(cell(".metadata.creationTimestamp", "date"), Value::from("5m"));
        assert_eq!(cell(".spec.list[*]", "string"), Value::from("x y"));
        assert_eq!(PathColumn::all(&[]).unwrap().len(), 2);
    }

    #[test]
    fn tables_and_projections_are_of_their_kinds() {
        let made = table(&default_columns(), Value::Null, vec![(vec!["a".into(), 1i64.into()], None)]);
        let of = crate::schema::by_gvk("meta.k8s.io", "v1", "Table").unwrap();
        let text = String::from_utf8(json::encode(&made, &of)).unwrap();
        assert!(text.ends_with("\"rows\":[{\"cells\":[\"a\",1],\"object\":null}]}\n"), "{text}");
        let partial = partial_object_metadata(&value!({"metadata": {"name": "a"}, "spec": {}}));
        assert_eq!(partial.name(), "a");
        assert!(partial.get("spec").is_none());
    }
}
