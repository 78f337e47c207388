//! Reads the embedded table: an index over the text at start, a type's lines when the type is first looked at.
//!
//! `types.txt`, tab separated, a block a type, blocks sorted by name:
//!
//! | line | is |
//! |---|---|
//! | `T name flags` | P: no protobuf message, O: not in OpenAPI, G: every group has that kind, S: special |
//! | `K group version kind` | a kind of this type |
//! | `M mapType` | |
//! | `U discriminator field=Value,...` | |
//! | `E name tag ref` | an embedded struct |
//! | `F name shape tag ref option...` | a field in Go's order; a `ref` `.Name` is in the same package |

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use apimachinery::GroupVersionKind;

use super::make::TypeMaker;
use super::{Embed, Field, ListType, Merge, Node, Omit, RawKind, Shape, Special, Type, TypeRef, Union};
use crate::value::{Key, Value};

static TYPES: &str = include_str!("../../table/types.txt");
static RULES: &str = include_str!("../../table/rules.txt");

struct Row {
    name: &'static str,
    flags: &'static str,
    text: &'static str,
    rules: &'static str,
    made: OnceLock<Type>,
}

struct Table {
    /// Sorted by name.
    rows: Vec<Row>,
    kinds: HashMap<(&'static str, &'static str, &'static str), u16>,
    /// Kinds that every group and version has.
    everywhere: HashMap<&'static str, u16>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::read);

/// Blocks that begin with a `T` line: (name, the block's lines after it, flags).
fn blocks(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let starts = text.match_indices("T\t").filter(|(at, _)| *at == 0 || text.as_bytes()[at - 1] == b'\n');
    let starts: Vec<usize> = starts.map(|(at, _)| at).chain([text.len()]).collect();
    (1..starts.len()).map(move |i| {
        let block = &text[starts[i - 1] + 2..starts[i]];
        let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
        let (name, flags) = head.split_once('\t').unwrap_or((head, ""));
        (name, rest, flags)
    })
}

impl Table {
    fn read() -> Self {
        let rules: HashMap<&str, &'static str> = blocks(RULES).map(|(name, text, _)| (name, text)).collect();
        let mut table =
            Self { rows: Vec::with_capacity(1400), kinds: HashMap::new(), everywhere: HashMap::new() };
        for (name, text, flags) in blocks(TYPES) {
            let id = table.rows.len() as u16;
            for line in text.lines().take_while(|l| l.starts_with('K')) {
                let mut part = line.split('\t').skip(1);
                let mut next = || part.next().unwrap_or_default();
                let key = (next(), next(), next());
                table.kinds.insert(key, id);
                if flags.contains('G') {
                    table.everywhere.insert(key.2, id);
                }
            }
            let rules = rules.get(name).copied().unwrap_or_default();
            table.rows.push(Row { name, flags, text, rules, made: OnceLock::new() });
        }
        table
    }

    fn find(&self, name: &str) -> Option<u16> {
        self.rows.binary_search_by_key(&name, |r| r.name).ok().map(|at| at as u16)
    }
}

pub(super) fn builtin(id: u16) -> &'static Type {
    let row = &TABLE.rows[usize::from(id)];
    row.made.get_or_init(|| parse(row))
}

/// A built-in type for one look. What nobody else has read is not kept, so that documents about all types do not
/// leave all types in memory.
pub enum Look {
    Kept(&'static Type),
    Own(Box<Type>),
}

impl std::ops::Deref for Look {
    type Target = Type;

    fn deref(&self) -> &Type {
        match self {
            Self::Kept(of) => of,
            Self::Own(of) => of,
        }
    }
}

/// The type of that OpenAPI name, for one look.
pub fn look(name: &str) -> Option<Look> {
    let row = &TABLE.rows[usize::from(TABLE.find(name)?)];
    Some(row.made.get().map_or_else(|| Look::Own(Box::new(parse(row))), Look::Kept))
}

pub(super) fn name_of(id: u16) -> &'static str {
    TABLE.rows[usize::from(id)].name
}

/// Groups and versions that the table has kinds of, in no order.
pub fn group_versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.kinds.keys().map(|(group, version, _)| (*group, *version))
}

/// The type of that OpenAPI name.
pub fn by_name(name: &str) -> Option<TypeRef> {
    TABLE.find(name).map(TypeRef::Builtin)
}

/// The type of that kind; kinds that every group has (DeleteOptions, WatchEvent) are found in any.
pub fn by_gvk(group: &str, version: &str, kind: &str) -> Option<TypeRef> {
    let found = TABLE.kinds.get(&(group, version, kind)).or_else(|| TABLE.everywhere.get(kind));
    found.copied().map(TypeRef::Builtin)
}

/// Whether every group and version has that kind (DeleteOptions, WatchEvent, ...).
pub fn is_every_group(kind: &str) -> bool {
    TABLE.everywhere.contains_key(kind)
}

/// The names of all built-in types, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.rows.iter().map(|r| r.name)
}

fn parse(row: &'static Row) -> Type {
    let mut made = TypeMaker::plain(row.name.into());
    made.rules_text = row.rules;
    let package = row.name.rsplit_once('.').map_or("", |(p, _)| p);
    made.in_proto = !row.flags.contains('P');
    made.in_openapi = !row.flags.contains('O');
    for line in row.text.lines() {
        let part: Vec<&'static str> = line.split('\t').collect();
        match part.as_slice() {
            ["K", group, version, kind] => made.kinds.push(GroupVersionKind::new(*group, *version, *kind)),
            ["M", map_type] => made.atomic = *map_type == "atomic",
            ["U", discriminator, members] => made.unions.push(union(discriminator, members)),
            ["E", name, tag, of] => made.embeds.extend(reference(of, package).map(|of| Embed {
                name: Key::const_new(name),
                tag: tag.parse().unwrap_or(0),
                of,
            })),
            ["F", name, shape, tag, of, options @ ..] => {
                let field = field(name, shape, tag.parse().unwrap_or(0), reference(of, package), options);
                made.fields.push(with_embed(field, options, &made.embeds));
            }
            _ => {}
        }
    }
    made.build()
}

fn reference(name: &str, package: &str) -> Option<TypeRef> {
    match name.strip_prefix('.') {
        _ if name.is_empty() => None,
        Some(last) => by_name(&format!("{package}.{last}")),
        None => by_name(name),
    }
}

fn union(discriminator: &str, members: &str) -> Union {
    let pairs = members.split(',').filter_map(|m| m.split_once('='));
    Union {
        discriminator: (!discriminator.is_empty()).then(|| discriminator.into()),
        members: pairs.map(|(k, v)| (k.into(), v.into())).collect(),
    }
}

fn with_embed(mut field: Field, options: &[&str], embeds: &[Embed]) -> Field {
    if let Some(holder) = options.iter().find_map(|o| o.strip_prefix("in=")) {
        field.embed = embeds.iter().position(|e| e.name == holder).map(|at| at as u8);
    }
    field
}

fn field(name: &'static str, shape: &str, tag: u32, of: Option<TypeRef>, options: &[&'static str]) -> Field {
    let (go, flags) = shape.split_once(',').unwrap_or((shape, ""));
    let omit = match flags {
        "omitempty" => Omit::Empty,
        "" | "nojson" => Omit::Never,
        _ => Omit::Zero,
    };
    let mut node = node(go, of);
    let mut merge = Merge::default();
    let mut merged = false;
    let mut required = false;
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        merged |= merge_option(&mut merge, key, value);
        match key {
            "f" => node.format = Some(value.into()),
            "en" => node.enum_values = list(value),
            "ie" => {
                if let Shape::List(inner) | Shape::Map(inner) = &mut node.shape {
                    inner.enum_values = list(value);
                }
            }
            "d" => {
                node.default =
                    serde_json::from_str::<serde_json::Value>(value).ok().map(|v| Arc::new(Value::from(v)))
            }
            "r" => required = true,
            _ => {}
        }
    }
    node.merge = merged.then(|| Box::new(merge));
    Field { name: Key::const_new(name), node, omit, tag, embed: None, in_json: flags != "nojson", required }
}

fn list(text: &str) -> Vec<Arc<str>> {
    text.split(',').map(Into::into).collect()
}

fn merge_option(merge: &mut Merge, key: &str, value: &str) -> bool {
    match key {
        "lt" => {
            merge.list_type = Some(match value {
                "map" => ListType::Map,
                "set" => ListType::Set,
                _ => ListType::Atomic,
            });
        }
        "lk" => merge.list_map_keys = list(value),
        "mt" => merge.map_atomic = Some(value == "atomic"),
        "pk" => merge.patch_merge_key = Some(value.into()),
        "ps" => merge.patch_strategy = Some(value.into()),
        _ => return false,
    }
    true
}

/// Go's shape: `*` pointer, `[]` list (`!` behind it: a message of its own), `map[string]`, then the kind.
fn node(go: &str, of: Option<TypeRef>) -> Node {
    if let Some(inner) = go.strip_prefix('*') {
        return Node { pointer: true, ..node(inner, of) };
    }
    if let Some(inner) = go.strip_prefix("map[string]") {
        return Node::of(Shape::Map(Box::new(node(inner, of))));
    }
    if let Some(inner) = go.strip_prefix("[]") {
        let own_message = inner.ends_with('!');
        let mut made = Node::of(Shape::List(Box::new(node(inner.trim_end_matches('!'), of))));
        made.wrapped = own_message;
        return made;
    }
    Node::of(leaf(go, of))
}

fn leaf(go: &str, of: Option<TypeRef>) -> Shape {
    let schema = |make: fn(TypeRef) -> Special| {
        let of = of.as_ref().map(|of| of.name().to_owned()).unwrap_or_default();
        let cut = of.find("JSONSchemaPropsOr").map_or(0, |at| at + "JSONSchemaProps".len());
        by_name(&of[..cut]).map_or(Shape::Any, |of| Shape::Special(make(of)))
    };
    match go {
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "float64" => Shape::Float64,
        "string" => Shape::String,
        "bytes" => Shape::Bytes,
        "struct" => of.map_or(Shape::Any, Shape::Struct),
        "Time" => Shape::Special(Special::Time),
        "MicroTime" => Shape::Special(Special::MicroTime),
        "Duration" => Shape::Special(Special::Duration),
        "Quantity" => Shape::Special(Special::Quantity),
        "IntOrString" => Shape::Special(Special::IntOrString),
        "RawExtension" => Shape::Special(Special::Raw(RawKind::Extension)),
        "FieldsV1" => Shape::Special(Special::Raw(RawKind::FieldsV1)),
        "JSON" => Shape::Special(Special::Raw(RawKind::Json)),
        "JSONSchemaPropsOrBool" => schema(Special::SchemaOrBool),
        "JSONSchemaPropsOrArray" => schema(Special::SchemaOrArray),
        "JSONSchemaPropsOrStringArray" => schema(Special::SchemaOrStrings),
        _ => Shape::Any,
    }
}
