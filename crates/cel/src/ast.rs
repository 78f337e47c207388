//! The syntax tree: nodes in an arena, so that a deep tree is dropped and walked by index.
//!
//! Macros are expanded while parsing; what iterates is one node, [`Fold`], as CEL defines it.

use crate::value::Value;

/// A node's place in the arena.
pub(crate) type Id = usize;

#[derive(Debug)]
pub(crate) struct Ast {
    pub nodes: Vec<Node>,
    pub root: Id,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub expr: Expr,
    /// Byte offset of what names the node: an operator, a bracket, a dot.
    pub at: usize,
    /// Nodes on the longest way down.
    pub depth: u16,
}

#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Literal(Value<'static>),
    /// With a leading dot where the source says that it is no local variable.
    Ident(Box<str>),
    Select {
        of: Id,
        field: Box<str>,
        /// `has(of.field)`.
        test: bool,
    },
    Call {
        function: Box<str>,
        target: Option<Id>,
        args: Vec<Id>,
    },
    List(Vec<Item>),
    Map(Vec<Entry>),
    Struct {
        name: Box<str>,
        fields: Vec<Init>,
    },
    Fold(Box<Fold>),
    /// What could not be parsed; the issue is recorded.
    Error,
}

/// An item of a list literal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub value: Id,
    pub optional: bool,
}

/// An entry of a map literal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub key: Id,
    pub value: Id,
    pub optional: bool,
}

/// A field of a struct literal.
#[derive(Clone, Debug)]
pub(crate) struct Init {
    pub name: Box<str>,
    pub value: Id,
    pub optional: bool,
    /// Byte offset of its colon.
    pub at: usize,
}

/// CEL's comprehension: `accu` begins as `init`; for every element, while `condition`, it becomes `step`; the value
/// is `result`.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub kind: FoldKind,
    pub range: Id,
    pub var: Box<str>,
    pub var2: Option<Box<str>>,
    pub accu: Box<str>,
    pub init: Id,
    pub condition: Id,
    pub step: Id,
    pub result: Id,
}

/// Which macro made a fold, with what the user wrote: the evaluator runs each in its own loop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FoldKind {
    All(Id),
    Exists(Id),
    ExistsOne(Id),
    /// `map`, `filter`, `transformList`.
    List {
        filter: Option<Id>,
        item: Id,
    },
    /// `transformMap`.
    Map {
        filter: Option<Id>,
        value: Id,
    },
    /// `transformMapEntry`: a map of entries.
    Entries {
        filter: Option<Id>,
        entry: Id,
    },
    /// A local variable (of `optMap`): no element; the result sees `accu` as `init`.
    Bind,
}

impl Ast {
    pub fn expr(&self, id: Id) -> &Expr {
        &self.nodes[id].expr
    }

    pub fn at(&self, id: Id) -> usize {
        self.nodes[id].at
    }
}

impl Expr {
    /// Every node right below.
    pub fn children(&self) -> Vec<Id> {
        match self {
            Self::Literal(_) | Self::Ident(_) | Self::Error => Vec::new(),
            Self::Select { of, .. } => vec![*of],
            Self::Call { target, args, .. } => target.iter().chain(args).copied().collect(),
            Self::List(items) => items.iter().map(|item| item.value).collect(),
            Self::Map(entries) => entries.iter().flat_map(|e| [e.key, e.value]).collect(),
            Self::Struct { fields, .. } => fields.iter().map(|f| f.value).collect(),
            Self::Fold(f) => vec![f.range, f.init, f.condition, f.step, f.result],
        }
    }
}
