//! The canonical form: what Go would hold after decoding and encoding again. Fields that the type does not have
//! go (and are reported), values are checked against their types, empty fields that Go would not write go, those
//! that it always writes come, times and quantities are rewritten, fields stand in Go's order.
//!
//! Custom resources are pruned by their schema and else left as they came: their values are checked by schema
//! validation, not here. Deliberately absent: defaults (see [`defaults`](crate::defaults)) and validation.

mod leaf;
#[cfg(test)]
mod tests;

use crate::json::JsonError;
use crate::schema::{Node, Shape, Special, Type, by_name};
use crate::value::{Key, Map, Value};

/// What decoding came across that field validation reports, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found(Vec<Finding>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The path of a field that the type does not have: `spec.containers[0].foo`.
    Unknown(String),
    /// The path of a field that came twice.
    Duplicate(String),
    /// A key that came twice in YAML: `line 3: key "name" already set in map`.
    Double(String),
    /// What a parser says in its own words.
    Text(String),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
            Self::Text(text) | Self::Double(text) => f.write_str(text),
        }
    }
}

impl Found {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one, unless it is there already.
    pub fn add(&mut self, finding: Finding) {
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Paths of fields that the type does not have.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|f| if let Finding::Unknown(path) = f { Some(path.as_str()) } else { None })
    }

    /// A message each, as strict decoding and warnings say it.
    pub fn messages(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// The keys that came twice in YAML.
    pub fn only_double(&self) -> Self {
        self.0.iter().filter(|f| matches!(f, Finding::Double(_))).cloned().collect()
    }

    /// The parts of the message of the 400: keys that came twice in YAML are one.
    pub fn words(&self) -> Vec<String> {
        let double: Vec<String> = self.only_double().0.iter().map(|f| format!("\n  {f}")).collect();
        let double = (!double.is_empty()).then(|| format!("yaml: unmarshal errors:{}", double.concat()));
        let others = self.0.iter().filter(|f| !matches!(f, Finding::Double(_))).map(ToString::to_string);
        double.into_iter().chain(others).collect()
    }

    /// The message of the 400 that `fieldValidation=Strict` answers.
    pub fn strict_error(&self) -> String {
        format!("strict decoding error: {}", self.words().join(", "))
    }
}

impl FromIterator<Finding> for Found {
    fn from_iter<I: IntoIterator<Item = Finding>>(from: I) -> Self {
        let mut found = Self::default();
        from.into_iter().for_each(|f| found.add(f));
        found
    }
}

/// Why bytes are no object of the type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Type(#[from] CanonError),
    #[error("{0}")]
    Yaml(String),
    #[error(transparent)]
    Proto(#[from] crate::proto::ProtoError),
    #[error(transparent)]
    Cbor(#[from] crate::cbor::CborError),
}

/// A value of the wrong type, in the words of Go's decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonError {
    #[error("json: cannot unmarshal {got} into Go {place} of type {wanted}")]
    Type { got: String, place: String, wanted: String },
    /// What the type's own reader says (times, quantities, ...).
    #[error("{0}")]
    Text(String),
}

/// Brings an object of a type into the canonical form, in place.
pub fn canonicalize(value: &mut Value, of: &Type, found: &mut Found) -> Result<(), CanonError> {
    let mut walk = Walk { path: Vec::new(), found, holder: of };
    if value.is_null() {
        *value = Value::map();
    }
    if !matches!(value, Value::Map(_)) {
        return Err(walk.wrong(value, &short(of)));
    }
    walk.structure(value, of)
}

/// Brings one field's value into the canonical form, as [`canonicalize`] does an object.
pub fn canonicalize_node(value: &mut Value, node: &Node, found: &mut Found) -> Result<(), CanonError> {
    static EMPTY: std::sync::LazyLock<Type> =
        std::sync::LazyLock::new(|| crate::schema::TypeMaker::custom("").build());
    Walk { path: Vec::new(), found, holder: &EMPTY }.node(value, node)
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short(of: &Type) -> String {
    let mut parts = of.name.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(name), Some(package)) => format!("{package}.{name}"),
        _ => of.name.to_string(),
    }
}

/// Go's name of a node's type.
fn go_type(node: &Node) -> String {
    match &node.shape {
        Shape::Bool => "bool".into(),
        Shape::Int32 => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Float64 | Shape::Number => "float64".into(),
        Shape::String => "string".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Any | Shape::Special(_) => "interface {}".into(),
        Shape::Struct(of) => short(of),
        Shape::List(inner) => format!("[]{}", go_type(inner)),
        Shape::Map(inner) => format!("map[string]{}", go_type(inner)),
    }
}

enum Segment<'a> {
    Name(&'a str),
    Key(Key),
    Index(usize),
    /// A Go embedded struct, which only errors of types name.
    Embed(&'a str),
}

struct Walk<'a, 'f> {
    path: Vec<Segment<'a>>,
    found: &'f mut Found,
    /// The innermost struct, which errors name.
    holder: &'a Type,
}

impl<'a> Walk<'a, '_> {
    fn path_to(&self, last: &str) -> String {
        let mut out = String::new();
        for segment in &self.path {
            let name = match segment {
                Segment::Name(n) => *n,
                Segment::Key(k) => k.as_str(),
                Segment::Embed(_) => continue,
                Segment::Index(i) => {
                    out.push_str(&format!("[{i}]"));
                    continue;
                }
            };
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(name);
        }
        if out.is_empty() { last.to_owned() } else { format!("{out}.{last}") }
    }

    /// The fields on the way, without list positions and map keys, as Go's errors have it.
    fn fields_only(&self) -> String {
        let names = self.path.iter().filter_map(|s| match s {
            Segment::Name(n) | Segment::Embed(n) => Some(*n),
            _ => None,
        });
        names.collect::<Vec<_>>().join(".")
    }

    fn wrong(&self, value: &Value, wanted: &str) -> CanonError {
        let got = match value {
            Value::Null => "null".into(),
            Value::Bool(_) => "bool".into(),
            Value::Int(n) if wanted.starts_with("int") => format!("number {n}"),
            Value::Float(n) if wanted.starts_with("int") => format!("number {n}"),
            Value::Int(_) | Value::Float(_) => "number".into(),
            Value::String(_) => "string".into(),
            Value::List(_) => "array".into(),
            Value::Map(_) | Value::Raw(_) => "object".into(),
        };
        let fields = self.fields_only();
        let place = if fields.is_empty() {
            "value".to_owned()
        } else {
            let holder = self.holder.name.rsplit('.').next().unwrap_or_default();
            format!("struct field {holder}.{fields}")
        };
        CanonError::Type { got, place, wanted: wanted.to_owned() }
    }

    fn structure(&mut self, value: &mut Value, of: &'a Type) -> Result<(), CanonError> {
        let Value::Map(map) = value else { return Err(self.wrong(value, &short(of))) };
        let outer = std::mem::replace(&mut self.holder, of);
        let done = if of.custom { self.custom(map, of) } else { self.builtin(map, of) };
        self.holder = outer;
        done
    }

    fn builtin(&mut self, map: &mut Map, of: &'a Type) -> Result<(), CanonError> {
        let mut kept: Vec<(u16, Key, Value)> = Vec::with_capacity(map.len() + of.always().len());
        for (key, mut value) in std::mem::take(map).into_entries() {
            let Some(at) = of.position(&key).filter(|at| of.fields[*at].in_json) else {
                let path = self.path_to(&key);
                self.found.add(Finding::Unknown(path));
                continue;
            };
            let field = &of.fields[at];
            let depth = self.path.len();
            if let Some(embed) = field.embed.and_then(|e| of.embeds.get(usize::from(e))) {
                self.path.push(Segment::Embed(embed.of.name.rsplit('.').next().unwrap_or_default()));
            }
            self.path.push(Segment::Name(&field.name));
            self.node(&mut value, &field.node)?;
            self.path.truncate(depth);
            if !crate::json::is_omitted(field, &value) {
                kept.push((at as u16, field.name.clone(), value));
            }
        }
        for at in of.always() {
            if !kept.iter().any(|(rank, _, _)| rank == at) {
                let field = &of.fields[usize::from(*at)];
                let mut value = Value::Null;
                self.node(&mut value, &field.node)?;
                kept.push((*at, field.name.clone(), value));
            }
        }
        if !kept.is_sorted_by_key(|(rank, _, _)| *rank) {
            kept.sort_by_key(|(rank, _, _)| *rank);
        }
        *map = Map::from_entries(kept.into_iter().map(|(_, k, v)| (k, v)).collect());
        Ok(())
    }

    fn node(&mut self, value: &mut Value, node: &'a Node) -> Result<(), CanonError> {
        if value.is_null() {
            if !node.pointer {
                self.zero(value, node)?;
            }
            return Ok(());
        }
        match &node.shape {
            Shape::Struct(of) => self.structure(value, of),
            Shape::List(inner) => self.list(value, inner, node),
            Shape::Map(inner) => self.entries(value, inner, node),
            Shape::Special(special) => self.special(value, special),
            Shape::Any | Shape::Number => Ok(()),
            shape => leaf::check(value, shape).map_err(|wrong| match wrong {
                leaf::Wrong::Type => self.wrong(value, &go_type(node)),
                leaf::Wrong::Text(text) => CanonError::Text(text),
            }),
        }
    }

    fn list(&mut self, value: &mut Value, inner: &'a Node, node: &Node) -> Result<(), CanonError> {
        let Value::List(list) = value else { return Err(self.wrong(value, &go_type(node))) };
        for (at, item) in list.iter_mut().enumerate() {
            self.path.push(Segment::Index(at));
            self.node(item, inner)?;
            self.path.pop();
        }
        Ok(())
    }

    fn entries(&mut self, value: &mut Value, inner: &'a Node, node: &Node) -> Result<(), CanonError> {
        let Value::Map(map) = value else { return Err(self.wrong(value, &go_type(node))) };
        for (key, item) in map.iter_mut() {
            self.path.push(Segment::Key(key.clone()));
            self.node(item, inner)?;
            self.path.pop();
        }
        map.sort_keys();
        Ok(())
    }

    /// What Go holds where nothing was set.
    fn zero(&mut self, value: &mut Value, node: &'a Node) -> Result<(), CanonError> {
        *value = match &node.shape {
            Shape::Bool => Value::Bool(false),
            Shape::Int32 | Shape::Int64 => Value::Int(0),
            Shape::Float64 => Value::Int(0),
            Shape::String => Value::String(Key::const_new("")),
            Shape::Special(Special::Duration) => "0s".into(),
            Shape::Special(Special::Quantity) => "0".into(),
            Shape::Special(Special::IntOrString) => Value::Int(0),
            Shape::Special(Special::SchemaOrBool(_)) => Value::Bool(false),
            Shape::Struct(of) if !of.custom => {
                *value = Value::map();
                return self.structure(value, of);
            }
            _ => Value::Null,
        };
        Ok(())
    }

    fn special(&mut self, value: &mut Value, special: &'a Special) -> Result<(), CanonError> {
        match (special, &mut *value) {
            (Special::SchemaOrBool(_), Value::Bool(_)) => Ok(()),
            (
                Special::SchemaOrBool(of) | Special::SchemaOrArray(of) | Special::SchemaOrStrings(of),
                Value::Map(_),
            ) => self.structure(value, of),
            (Special::SchemaOrArray(of), Value::List(list)) => {
                for (at, item) in list.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    self.structure(item, of)?;
                    self.path.pop();
                }
                if list.is_empty() {
                    *value = Value::Null;
                }
                Ok(())
            }
            (Special::SchemaOrStrings(_), Value::List(list)) if list.iter().all(|v| v.as_str().is_some()) => {
                if list.is_empty() {
                    *value = Value::Null;
                }
                Ok(())
            }
            (Special::SchemaOrBool(_), _) => Err(CanonError::Text("boolean or JSON schema expected".into())),
            (Special::SchemaOrArray(_) | Special::SchemaOrStrings(_), _) => {
                *value = Value::Null;
                Ok(())
            }
            _ => leaf::special(value, special).map_err(|wrong| match wrong {
                leaf::Wrong::Type if matches!(special, Special::IntOrString) => self.wrong(value, "int32"),
                leaf::Wrong::Type => self.wrong(value, "string"),
                leaf::Wrong::Text(text) => CanonError::Text(text),
            }),
        }
    }

    /// Prunes by the schema; apiVersion, kind and metadata of an object are known.
    fn custom(&mut self, map: &mut Map, of: &'a Type) -> Result<(), CanonError> {
        let mut gone: Vec<Key> = Vec::new();
        for (key, value) in map.iter_mut() {
            if of.embedded_resource && matches!(key.as_str(), "apiVersion" | "kind") {
                continue;
            }
            if of.embedded_resource && key == "metadata" {
                self.metadata(value)?;
                continue;
            }
            match of.field(key) {
                Some(field) => {
                    self.path.push(Segment::Name(&field.name));
                    self.custom_node(value, &field.node)?;
                    self.path.pop();
                }
                None if of.preserve_unknown => {}
                None => gone.push(key.clone()),
            }
        }
        for key in gone {
            let path = self.path_to(&key);
            self.found.add(Finding::Unknown(path));
            map.remove(&key);
        }
        map.sort_keys();
        Ok(())
    }

    fn metadata(&mut self, value: &mut Value) -> Result<(), CanonError> {
        static META: std::sync::LazyLock<Option<crate::schema::TypeRef>> =
            std::sync::LazyLock::new(|| by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
        let Some(of) = META.as_ref() else { return Ok(()) };
        if value.is_null() {
            *value = Value::map();
        }
        self.path.push(Segment::Name("metadata"));
        self.structure(value, of)?;
        self.path.pop();
        if let Value::Map(map) = value {
            map.sort_keys();
        }
        Ok(())
    }

    /// Only structure counts here: what is no map where a map should be is left to validation.
    fn custom_node(&mut self, value: &mut Value, node: &'a Node) -> Result<(), CanonError> {
        match (&node.shape, &mut *value) {
            (Shape::Struct(of), Value::Map(_)) => self.structure(value, of),
            (Shape::List(inner), Value::List(list)) => {
                for (at, item) in list.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    self.custom_node(item, inner)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Shape::Map(inner), Value::Map(map)) => {
                for (key, item) in map.iter_mut() {
                    self.path.push(Segment::Key(key.clone()));
                    self.custom_node(item, inner)?;
                    self.path.pop();
                }
                map.sort_keys();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
