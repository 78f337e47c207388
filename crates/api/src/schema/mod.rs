//! The schema of objects: types, their fields and each field's Go shape, whether read from the embedded table
//! (built-in kinds) or made at run time (a custom resource's structural schema). Everything downstream (codecs,
//! canonical form, merges, OpenAPI) works on these rows and does not know where they come from.
//!
//! Deliberately absent: what is served where (see `resources`), and any value.

mod load;
mod make;
mod rule;
#[cfg(test)]
mod tests;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use apimachinery::GroupVersionKind;

pub use load::{Look, by_gvk, by_name, group_versions, is_every_group, look, names};
pub use make::{FieldMaker, TypeMaker};
pub use rule::{Format, Level, Lifecycle, Rule, RuleSet, Rules, Stated, UpdateRule};

use crate::value::{Key, Value};

/// A struct: the fields that JSON shows, in the order in which Go writes them.
#[derive(Debug)]
pub struct Type {
    /// As OpenAPI names it: `io.k8s.api.core.v1.Pod`.
    pub name: Arc<str>,
    /// Not empty for a kind.
    pub kinds: Vec<GroupVersionKind>,
    pub fields: Vec<Field>,
    /// Go's embedded structs; JSON shows their fields in this type, protobuf has a message for each.
    pub embeds: Vec<Embed>,
    /// Apply replaces the whole struct.
    pub atomic: bool,
    pub unions: Vec<Union>,
    /// False: there is no protobuf message (Table, for one).
    pub in_proto: bool,
    /// False: not in OpenAPI documents.
    pub in_openapi: bool,
    /// Made from a custom resource's schema: written with sorted keys, zero values kept as they came.
    pub custom: bool,
    /// Fields that are not listed are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// An object in an object (`x-kubernetes-embedded-resource`): apiVersion, kind and metadata always known.
    pub embedded_resource: bool,
    index: Index,
    /// Positions of fields that JSON shows even when nothing set them.
    always: Box<[u16]>,
    /// What protobuf has, by rising tag.
    wire: Box<[Wire]>,
    rules_text: &'static str,
    rules: OnceLock<Box<Rules>>,
    has_rules: OnceLock<bool>,
    has_defaults: OnceLock<bool>,
}

/// One field of a [`Type`].
#[derive(Debug)]
pub struct Field {
    pub name: Key,
    pub node: Node,
    pub omit: Omit,
    /// Protobuf tag; 0 where protobuf has no such field, or has it in an embedded struct.
    pub tag: u32,
    /// Index into [`Type::embeds`] of the struct that holds the field in Go.
    pub embed: Option<u8>,
    /// False: `json:"-"`.
    pub in_json: bool,
    /// Listed under `required` in OpenAPI.
    pub required: bool,
}

/// What a value at some place is: a field's, a list item's, a map value's.
#[derive(Debug)]
pub struct Node {
    pub shape: Shape,
    /// Behind a Go pointer: zero and absent differ.
    pub pointer: bool,
    /// Custom resources: an explicit null is kept.
    pub nullable: bool,
    /// A list that protobuf holds in a message of its own (ExtraValue, Verbs).
    pub wrapped: bool,
    /// None where nothing is declared: a list is then atomic, a map or struct granular.
    pub merge: Option<Box<Merge>>,
    /// A declared default.
    pub default: Option<Arc<Value>>,
    /// Documentation: which strings upstream knows (OpenAPI's `enum`).
    pub enum_values: Vec<Arc<str>>,
    /// OpenAPI's `format`.
    pub format: Option<Arc<str>>,
}

/// The kind of a value.
#[derive(Debug)]
pub enum Shape {
    Bool,
    Int32,
    Int64,
    Float64,
    /// Custom resources: `type: number`; whole numbers stay whole.
    Number,
    String,
    /// Base64 text in the tree.
    Bytes,
    /// Any JSON, kept as a tree.
    Any,
    Struct(TypeRef),
    List(Box<Node>),
    /// Keys are strings.
    Map(Box<Node>),
    Special(Special),
}

/// Types with an encoding of their own.
#[derive(Clone, Debug)]
pub enum Special {
    /// RFC 3339 in whole seconds.
    Time,
    /// RFC 3339 with six digits.
    MicroTime,
    /// `1h0m0s`.
    Duration,
    Quantity,
    IntOrString,
    /// RawExtension, FieldsV1, apiextensions' JSON: text that is kept as it came.
    Raw(RawKind),
    /// A schema or a boolean.
    SchemaOrBool(TypeRef),
    /// A schema or a list of them.
    SchemaOrArray(TypeRef),
    /// A schema or a list of strings.
    SchemaOrStrings(TypeRef),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    Extension,
    FieldsV1,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omit {
    /// Always written.
    Never,
    /// `omitempty`: nil, false, 0, "" and what has no elements; never a struct by value.
    Empty,
    /// `omitempty,omitzero`: a zero time too.
    Zero,
}

/// A protobuf field of a type: one of its own fields, or an embedded struct as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    pub tag: u32,
    pub slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    Field(u16),
    Embed(u8),
}

/// How patches and apply treat a list, map or struct.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    pub list_type: Option<ListType>,
    pub list_map_keys: Vec<Arc<str>>,
    /// `atomic` or granular.
    pub map_atomic: Option<bool>,
    pub patch_merge_key: Option<Arc<str>>,
    /// `merge`, `replace`, `merge,retainKeys`, `retainKeys`.
    pub patch_strategy: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// A union as OpenAPI declares it.
#[derive(Clone, Debug)]
pub struct Union {
    pub discriminator: Option<Arc<str>>,
    /// (field, the discriminator's value).
    pub members: Vec<(Arc<str>, Arc<str>)>,
}

/// A Go embedded struct.
#[derive(Debug)]
pub struct Embed {
    pub name: Key,
    /// 0 for `typeMeta`, which protobuf carries in the envelope.
    pub tag: u32,
    pub of: TypeRef,
}

/// A type by reference: built-in ones are read from the table when first looked at.
#[derive(Clone)]
pub enum TypeRef {
    Builtin(u16),
    Made(Arc<Type>),
}

impl TypeRef {
    /// Its name in OpenAPI. Asking for it does not read the type.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(id) => load::name_of(*id),
            Self::Made(made) => &made.name,
        }
    }
}

impl Deref for TypeRef {
    type Target = Type;

    fn deref(&self) -> &Type {
        match self {
            Self::Builtin(id) => load::builtin(*id),
            Self::Made(made) => made,
        }
    }
}

impl std::fmt::Debug for TypeRef {
    /// Names only: types hold themselves.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<Type> for TypeRef {
    fn from(made: Type) -> Self {
        Self::Made(Arc::new(made))
    }
}

impl Type {
    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|at| &self.fields[at])
    }

    /// Where the field stands in [`Type::fields`].
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.find(name, &self.fields)
    }

    /// Positions of the fields that Go writes even when nothing set them.
    pub fn always(&self) -> &[u16] {
        &self.always
    }

    /// What protobuf has, by rising tag.
    pub fn wire(&self) -> &[Wire] {
        &self.wire
    }

    /// Reads a dotted way of field names, through lists and maps as well: `spec.containers.ports`.
    pub fn field_at(&self, path: &[&str]) -> Option<&Field> {
        let (first, rest) = path.split_first()?;
        let field = self.field(first)?;
        match rest {
            [] => Some(field),
            _ => field.node.leaf().as_struct()?.field_at(rest),
        }
    }

    /// True for a type with apiVersion, kind and list metadata (or object metadata).
    pub fn is_kind(&self) -> bool {
        self.field("apiVersion").is_some() && self.field("kind").is_some()
    }

    /// The declarative rules of the type and its own fields; nothing below them.
    pub fn rules(&self) -> &Rules {
        self.rules.get_or_init(|| Box::new(Rules::parse(self.rules_text, self)))
    }

    /// Whether the type or any below it declares a constant default.
    pub fn has_defaults(&self) -> bool {
        *self.has_defaults.get_or_init(|| {
            rule::any_below(self, |of| of.fields.iter().any(|f| f.node.default.is_some()), &mut Vec::new())
        })
    }

    /// Whether the type or any below it has an enforced rule.
    pub fn has_rules(&self) -> bool {
        *self.has_rules.get_or_init(|| rule::reaches(self))
    }
}

impl Node {
    pub fn of(shape: Shape) -> Self {
        Self {
            shape,
            pointer: false,
            nullable: false,
            wrapped: false,
            merge: None,
            default: None,
            enum_values: Vec::new(),
            format: None,
        }
    }

    pub fn as_struct(&self) -> Option<&Type> {
        if let Shape::Struct(of) = &self.shape { Some(of) } else { None }
    }

    /// The item of a list or the value of a map.
    pub fn element(&self) -> Option<&Node> {
        if let Shape::List(of) | Shape::Map(of) = &self.shape { Some(of) } else { None }
    }

    /// What lists and maps finally hold; the node itself where it is neither.
    pub fn leaf(&self) -> &Node {
        self.element().map_or(self, Node::leaf)
    }

    /// What is declared for a list; `Atomic` where nothing is.
    pub fn list_type(&self) -> ListType {
        self.merge.as_ref().and_then(|m| m.list_type).unwrap_or(ListType::Atomic)
    }

    pub fn list_map_keys(&self) -> &[Arc<str>] {
        self.merge.as_ref().map_or(&[], |m| &m.list_map_keys)
    }

    pub fn patch_merge_key(&self) -> Option<&str> {
        self.merge.as_ref()?.patch_merge_key.as_deref()
    }

    pub fn patch_strategy(&self) -> &str {
        self.merge.as_ref().and_then(|m| m.patch_strategy.as_deref()).unwrap_or_default()
    }

    /// Apply owns and replaces it as a whole: an atomic map, an atomic struct or a list without a list type.
    pub fn is_atomic(&self) -> bool {
        let declared = self.merge.as_ref().and_then(|m| m.map_atomic);
        match &self.shape {
            Shape::Struct(of) => declared.unwrap_or(of.atomic),
            Shape::Map(_) => declared.unwrap_or(false),
            Shape::List(_) => self.list_type() == ListType::Atomic,
            Shape::Any => declared.unwrap_or(false),
            _ => true,
        }
    }
}

impl Field {
    /// Written even when empty: no `omitempty`, or a struct or special type by value.
    pub fn is_always_written(&self) -> bool {
        let by_value = !self.node.pointer && matches!(self.node.shape, Shape::Struct(_) | Shape::Special(_));
        self.in_json && (self.omit == Omit::Never || self.omit == Omit::Empty && by_value)
    }
}

/// Field names to positions: open addressing over a cheap hash of length, head and tail.
#[derive(Debug, Default)]
struct Index {
    slots: Box<[u16]>,
}

const EMPTY: u16 = u16::MAX;

fn hash(name: &str) -> usize {
    let b = name.as_bytes();
    let word = |part: &[u8]| part.iter().fold(0u64, |n, c| n << 8 | u64::from(*c));
    let head = word(&b[..b.len().min(8)]);
    let tail = word(&b[b.len().saturating_sub(8)..]);
    let mixed = (head ^ tail.rotate_left(29) ^ b.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

impl Index {
    fn of(fields: &[Field]) -> Self {
        let size = (fields.len() * 2).next_power_of_two().max(4);
        let mut slots = vec![EMPTY; size].into_boxed_slice();
        for (at, field) in fields.iter().enumerate() {
            let mut slot = hash(&field.name) & (size - 1);
            while slots[slot] != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = u16::try_from(at).unwrap_or(EMPTY);
        }
        Self { slots }
    }

    fn find(&self, name: &str, fields: &[Field]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash(name) & mask;
        loop {
            let at = *self.slots.get(slot)?;
            if at == EMPTY {
                return None;
            }
            let field = fields.get(usize::from(at))?;
            if field.name == name {
                return Some(usize::from(at));
            }
            slot = (slot + 1) & mask;
        }
    }
}
