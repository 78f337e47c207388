//! One step of a field path as managedFields write it (`f:name`, `k:{"name":"a"}`, `v:"x"`, `i:0`) and as messages
//! write it (`.name`, `[name="a"]`, `[="x"]`, `[0]`).

use std::cmp::Ordering;
use std::fmt;

use crate::value::{Key, Value};

/// One step down from an object, a map or a list.
#[derive(Clone, Debug, PartialEq)]
pub enum PathElement {
    /// A field of a struct or an entry of a map.
    Field(Key),
    /// The item of a keyed list whose key fields have these values; sorted by field name.
    Key(Vec<(Key, Value)>),
    /// The item of a set.
    Value(Value),
    /// The item of a list by place. Read and kept, but never made here.
    Index(i64),
}

impl Eq for PathElement {}

impl PathElement {
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }

    /// The name in FieldsV1; None where the text is none that upstream reads.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = text.split_at_checked(2)?;
        match sign {
            "f:" => Some(Self::Field(rest.into())),
            "v:" => Some(Self::Value(super::json::parse(rest)?)),
            "i:" => Some(Self::Index(rest.parse().ok()?)),
            "k:" => {
                let Value::Map(map) = super::json::parse(rest)? else { return None };
                let mut keys: Vec<_> = map.into_iter().collect();
                keys.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
                Some(Self::Key(keys))
            }
            _ => None,
        }
    }

    /// Appends the name in FieldsV1, not yet quoted as a JSON string.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Field(name) => {
                out.push_str("f:");
                out.push_str(name);
            }
            Self::Key(keys) => {
                out.push_str("k:{");
                for (i, (name, value)) in keys.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    super::json::write_string(name, out);
                    out.push(':');
                    super::json::write(value, out);
                }
                out.push('}');
            }
            Self::Value(value) => {
                out.push_str("v:");
                super::json::write(value, out);
            }
            Self::Index(index) => {
                out.push_str("i:");
                out.push_str(&index.to_string());
            }
        }
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Key(a), Self::Key(b)) => compare_keys(a, b),
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare_keys(a: &[(Key, Value)], b: &[(Key, Value)]) -> Ordering {
    for ((ka, va), (kb, vb)) in a.iter().zip(b) {
        let order = ka.as_bytes().cmp(kb.as_bytes()).then_with(|| compare_values(va, vb));
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// Numbers before strings before booleans, as upstream's structured values are ordered.
pub(super) fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |v: &Value| match v {
        Value::Int(_) | Value::Float(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::List(_) => 3,
        Value::Map(_) | Value::Raw(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Int(a), Value::Float(b)) => (*a as f64).total_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.total_cmp(&(*b as f64)),
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::List(a), Value::List(b)) => {
            let first = a.iter().zip(b).map(|(a, b)| compare_values(a, b)).find(|o| *o != Ordering::Equal);
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (i, (name, value)) in keys.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", shown(value))?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{:?}", s.as_str()),
        other => {
            let mut out = String::new();
            super::json::write(other, &mut out);
            out
        }
    }
}

/// A whole path as messages write it; the empty one is nothing.
pub fn path_text(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}
