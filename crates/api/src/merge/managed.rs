//! `metadata.managedFields`: who owns which paths of an object, read into sets and written back in upstream's order.

use jiff::Timestamp;

use super::set::Set;
use crate::value::{Map, Value};

/// Who an entry is of. Two entries of one identity are one owner; appliers are the same whatever version they applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    /// "" for appliers.
    pub api_version: String,
    pub subresource: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl Manager {
    /// The identity of a request; a nameless one is called `unknown`.
    pub fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        Self {
            name: if name.is_empty() { "unknown" } else { name }.into(),
            operation,
            api_version: if operation == Operation::Apply { "" } else { api_version }.into(),
            subresource: subresource.into(),
        }
    }

    /// As messages about conflicts name it.
    pub fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// One entry: a manager's paths in the version in which it wrote them.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub manager: Manager,
    pub api_version: String,
    /// Seconds; None where the entry has no time.
    pub time: Option<i64>,
    pub set: Set,
}

impl Entry {
    pub fn applied(&self) -> bool {
        self.manager.operation == Operation::Apply
    }
}

/// All entries of an object, one a manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managed(pub Vec<Entry>);

impl Managed {
    /// None where upstream would refuse to read them.
    pub fn decode(list: &[Value]) -> Option<Self> {
        let mut managed = Self::default();
        for entry in list {
            let entry = decode_entry(entry)?;
            match managed.get_mut(&entry.manager) {
                Some(old) => *old = entry,
                None => managed.0.push(entry),
            }
        }
        Some(managed)
    }

    /// Of an object's metadata.
    pub fn of(object: &Value) -> Option<Self> {
        Self::decode(object.list_at(&["metadata", "managedFields"]))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, manager: &Manager) -> Option<&Entry> {
        self.0.iter().find(|e| e.manager == *manager)
    }

    pub fn get_mut(&mut self, manager: &Manager) -> Option<&mut Entry> {
        self.0.iter_mut().find(|e| e.manager == *manager)
    }

    pub fn remove(&mut self, manager: &Manager) -> Option<Entry> {
        let at = self.0.iter().position(|e| e.manager == *manager)?;
        Some(self.0.remove(at))
    }

    /// The list as `managedFields` holds it; empty for no entries.
    pub fn encode(&self) -> Vec<Value> {
        let mut entries: Vec<&Entry> = self.0.iter().collect();
        entries.sort_by(|a, b| order(a).cmp(&order(b)));
        entries.into_iter().map(encode_entry).collect()
    }

    /// Writes the entries into an object; without entries the field goes.
    pub fn write_to(&self, object: &mut Value) {
        let Some(metadata) = object.as_map_mut().map(|m| m.map_mut("metadata")) else { return };
        if self.0.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields", self.encode());
        }
    }
}

fn order(e: &Entry) -> (Operation, i64, &str, &str, &str) {
    (e.manager.operation, e.time.unwrap_or(0), &e.manager.name, &e.api_version, &e.manager.subresource)
}

fn decode_entry(entry: &Value) -> Option<Entry> {
    let operation = match entry.str_at(&["operation"]) {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let api_version = entry.str_at(&["apiVersion"]);
    let known_type = matches!(entry.str_at(&["fieldsType"]), "FieldsV1" | "");
    if api_version.is_empty() || !known_type {
        return None;
    }
    let manager = Manager {
        name: entry.str_at(&["manager"]).into(),
        operation,
        api_version: if operation == Operation::Apply { "" } else { api_version }.into(),
        subresource: entry.str_at(&["subresource"]).into(),
    };
    let time = entry.str_at(&["time"]).parse::<Timestamp>().ok().map(Timestamp::as_second);
    let set = Set::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null))?;
    Some(Entry { manager, api_version: api_version.into(), time, set })
}

fn encode_entry(entry: &Entry) -> Value {
    let mut map = Map::with_capacity(7);
    if !entry.manager.name.is_empty() {
        map.push("manager", entry.manager.name.as_str());
    }
    map.push("operation", entry.manager.operation.as_str());
    map.push("apiVersion", entry.api_version.as_str());
    if let Some(time) = entry.time.and_then(|s| Timestamp::from_second(s).ok()) {
        map.push("time", time.to_string());
    }
    map.push("fieldsType", "FieldsV1");
    map.push("fieldsV1", Value::Raw(entry.set.to_json().into()));
    if !entry.manager.subresource.is_empty() {
        map.push("subresource", entry.manager.subresource.as_str());
    }
    Value::Map(map)
}

/// Gives `new` the old managedFields back where nothing but their times changed, so that a write without effect does
/// not reach the store. Both in one version; resourceVersion does not count.
pub fn ignore_timestamps(old: &Value, new: &mut Value) {
    const PATH: [&str; 2] = ["metadata", "managedFields"];
    let (was, is) = (old.list_at(&PATH), new.list_at(&PATH));
    let same_entry = |a: &Value, b: &Value| match (a, b) {
        (Value::Map(a), Value::Map(b)) => {
            let keys = ["manager", "operation", "apiVersion", "fieldsType", "fieldsV1", "subresource"];
            keys.iter().all(|k| same_fields(a.get(k), b.get(k)))
        }
        _ => false,
    };
    if was.is_empty() || was.len() != is.len() || !was.iter().zip(is).all(|(a, b)| same_entry(a, b)) {
        return;
    }
    if same_without(old, new) {
        new.set_at(&PATH, Value::List(was.to_vec()));
    }
}

fn same_fields(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Raw(_)), Some(Value::Map(_))) | (Some(Value::Map(_)), Some(Value::Raw(_))) => {
            a.and_then(Set::from_value) == b.and_then(Set::from_value)
        }
        _ => a == b,
    }
}

fn metadata(of: &Map) -> Option<&Map> {
    of.get("metadata").and_then(Value::as_map)
}

/// Equal but for managedFields and resourceVersion.
fn same_without(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_map(), b.as_map()) else { return false };
    let top = a.len() == b.len() && a.iter().all(|(k, v)| k == "metadata" || b.get(k) == Some(v));
    static NONE: Map = Map::new();
    let skipped = |k: &str| matches!(k, "managedFields" | "resourceVersion");
    top && {
        let (a, b) = (metadata(a).unwrap_or(&NONE), metadata(b).unwrap_or(&NONE));
        let count = |m: &Map| m.keys().filter(|k| !skipped(k)).count();
        count(a) == count(b) && a.iter().all(|(k, v)| skipped(k) || b.get(k) == Some(v))
    }
}
