//! Types made at run time: what a custom resource's structural schema becomes.

use std::sync::{Arc, OnceLock};

use apimachinery::GroupVersionKind;

use super::{Embed, Field, Index, Node, Omit, Slot, Type, Union, Wire};
use crate::value::Key;

/// Collects the rows of a [`Type`].
#[derive(Debug)]
pub struct TypeMaker {
    name: Arc<str>,
    pub kinds: Vec<GroupVersionKind>,
    pub fields: Vec<Field>,
    pub embeds: Vec<Embed>,
    pub atomic: bool,
    pub unions: Vec<Union>,
    pub in_proto: bool,
    pub in_openapi: bool,
    pub custom: bool,
    pub preserve_unknown: bool,
    pub embedded_resource: bool,
    pub(super) rules_text: &'static str,
}

/// One field on its way into a [`TypeMaker`].
#[derive(Debug)]
pub struct FieldMaker(Field);

impl FieldMaker {
    /// A field as custom resources have them: written whenever it is there, no protobuf.
    pub fn new(name: impl Into<Key>, node: Node) -> Self {
        let name = name.into();
        Self(Field { name, node, omit: Omit::Empty, tag: 0, embed: None, in_json: true, required: false })
    }

    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.0.required = required;
        self
    }

    #[must_use]
    pub fn tag(mut self, tag: u32) -> Self {
        self.0.tag = tag;
        self
    }

    #[must_use]
    pub fn omit(mut self, omit: Omit) -> Self {
        self.0.omit = omit;
        self
    }
}

impl TypeMaker {
    /// A custom type without fields; `name` is only shown.
    pub fn custom(name: impl Into<Arc<str>>) -> Self {
        Self { custom: true, in_proto: false, ..Self::plain(name.into()) }
    }

    pub(super) fn plain(name: Arc<str>) -> Self {
        Self {
            name,
            kinds: Vec::new(),
            fields: Vec::new(),
            embeds: Vec::new(),
            atomic: false,
            unions: Vec::new(),
            in_proto: true,
            in_openapi: true,
            custom: false,
            preserve_unknown: false,
            embedded_resource: false,
            rules_text: "",
        }
    }

    /// Adds a field. In a custom type the order does not matter: its fields are written sorted by name.
    #[must_use]
    pub fn field(mut self, field: FieldMaker) -> Self {
        self.fields.push(field.0);
        self
    }

    #[must_use]
    pub fn kind(mut self, kind: GroupVersionKind) -> Self {
        self.kinds.push(kind);
        self
    }

    #[must_use]
    pub fn preserve_unknown(mut self, keep: bool) -> Self {
        self.preserve_unknown = keep;
        self
    }

    #[must_use]
    pub fn embedded_resource(mut self, embedded: bool) -> Self {
        self.embedded_resource = embedded;
        self
    }

    #[must_use]
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.atomic = atomic;
        self
    }

    pub fn build(mut self) -> Type {
        if self.custom {
            self.fields.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        }
        let positions = |keep: fn(&Field) -> bool| {
            let kept = self.fields.iter().enumerate().filter(move |(_, f)| keep(f));
            kept.map(|(at, _)| at as u16)
        };
        let always = if self.custom { Box::default() } else { positions(Field::is_always_written).collect() };
        Type {
            always,
            wire: wire(&self.fields, &self.embeds),
            name: self.name,
            kinds: self.kinds,
            index: Index::of(&self.fields),
            fields: self.fields,
            embeds: self.embeds,
            atomic: self.atomic,
            unions: self.unions,
            in_proto: self.in_proto,
            in_openapi: self.in_openapi,
            custom: self.custom,
            preserve_unknown: self.preserve_unknown,
            embedded_resource: self.embedded_resource,
            rules_text: self.rules_text,
            rules: OnceLock::new(),
            has_rules: OnceLock::new(),
            has_defaults: OnceLock::new(),
        }
    }
}

fn wire(fields: &[Field], embeds: &[Embed]) -> Box<[Wire]> {
    let own = fields.iter().enumerate().filter(|(_, f)| f.tag != 0 && f.embed.is_none());
    let own = own.map(|(at, f)| Wire { tag: f.tag, slot: Slot::Field(at as u16) });
    let embeds = embeds.iter().enumerate().filter(|(_, e)| e.tag != 0);
    let embeds = embeds.map(|(at, e)| Wire { tag: e.tag, slot: Slot::Embed(at as u8) });
    let mut out: Vec<Wire> = own.chain(embeds).collect();
    out.sort_by_key(|w| w.tag);
    out.into()
}
