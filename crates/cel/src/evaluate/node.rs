//! What is evaluated: the checked tree, resolved. Names are places, calls have their function, constants are
//! folded, and every node knows what it costs.

use std::sync::Arc;

use regex::Regex;

use crate::cost::Rule;
use crate::functions::{Function, Overload};
use crate::library::WithPattern;
use crate::schema::Object;
use crate::value::Value;
use crate::value::map::Entries;

#[derive(Debug)]
pub(crate) enum Node {
    Const(Value<'static>),
    Variable {
        name: Arc<str>,
        cost: u64,
    },
    /// A variable of a macro, by its place.
    Local {
        slot: usize,
        cost: u64,
    },
    /// A field of a lazy variable.
    LazyField {
        variable: Arc<str>,
        field: Box<str>,
        cost: u64,
    },
    Select(Box<Select>),
    Has(Box<Select>),
    Index(Box<Index>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    Call(Box<Call>),
    /// With a constant pattern.
    Matching(Box<Call>, Box<Regex>, WithPattern),
    /// `in` a list of constants.
    InSet(Box<Node>, Box<Entries<'static>>),
    /// `a.or(b)` and, with `true`, `a.orValue(b)`.
    OptionalOr(Box<[Node; 2]>, bool),
    List(Vec<(Node, bool)>),
    Map(Vec<MapEntry>),
    Struct(Box<Literal>),
    Fold(Box<Fold>),
}

#[derive(Debug)]
pub(crate) struct Select {
    pub of: Node,
    pub field: Box<str>,
    /// `of.?field`.
    pub optional: bool,
    /// Of the operand's place, where that is no variable.
    pub base: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub of: Node,
    pub index: Node,
    pub optional: bool,
    pub base: u64,
    /// Of looking.
    pub cost: u64,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub function: &'static Function,
    /// Where only one can apply.
    pub overload: Option<&'static Overload>,
    pub args: Vec<Node>,
    pub rule: Rule,
    /// What it gives for nothing: `sum` of an empty list.
    pub empty: Option<Value<'static>>,
}

#[derive(Debug)]
pub(crate) struct MapEntry {
    pub key: Node,
    pub value: Node,
    pub optional: bool,
}

#[derive(Debug)]
pub(crate) struct Literal {
    pub object: Object,
    pub fields: Vec<(Arc<str>, Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct Fold {
    pub kind: Kind,
    pub range: Node,
    /// The first variable's place; the second's is the next one.
    pub slot: usize,
    pub two: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    All(Node),
    Exists(Node),
    ExistsOne(Node),
    /// `cost`: of putting one item into a list and that to the others.
    List {
        filter: Option<Node>,
        item: Node,
        cost: u64,
    },
    Map {
        filter: Option<Node>,
        value: Node,
    },
    Entries {
        filter: Option<Node>,
        entry: Node,
    },
    /// The range is the variable's value, worked out when first read.
    Bind(Node),
}
