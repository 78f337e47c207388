//! Lists: of the tree, by reference, or made by an expression.

use std::sync::Arc;

use super::{Value, read};
use crate::error::EvalError;
use crate::schema::{Kind, ListKind, Schema};

/// A list. Items of a tree's list become values when they are read.
#[derive(Clone, Debug)]
pub struct List<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Tree(&'a [api::Value]),
    /// The schema is that of the list.
    Typed(&'a [api::Value], &'a Schema),
    Owned(Arc<[Value<'a>]>),
    /// Made of a list with a list type, which it keeps.
    Merged(Arc<(Vec<Value<'a>>, ListKind)>),
}

impl<'a> List<'a> {
    pub(crate) fn tree(items: &'a [api::Value]) -> Self {
        Self(Repr::Tree(items))
    }

    pub(crate) fn typed(items: &'a [api::Value], schema: &'a Schema) -> Self {
        Self(Repr::Typed(items, schema))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Tree(items) | Repr::Typed(items, _) => items.len(),
            Repr::Owned(items) => items.len(),
            Repr::Merged(made) => made.0.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index; None beyond the end.
    pub fn get(&self, at: usize) -> Option<Result<Value<'a>, EvalError>> {
        Some(match &self.0 {
            Repr::Tree(items) => Ok(read::dynamic(items.get(at)?)),
            Repr::Typed(items, schema) => match schema.element() {
                Some(of) => read::read(items.get(at)?, of),
                None => Ok(read::dynamic(items.get(at)?)),
            },
            Repr::Owned(items) => Ok(items.get(at)?.clone()),
            Repr::Merged(made) => Ok(made.0.get(at)?.clone()),
        })
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len())
            .map(|at| self.get(at).unwrap_or_else(|| Err(EvalError::runtime("index out of bounds"))))
    }

    /// Made by an expression, rather than of a tree.
    pub(crate) fn is_made(&self) -> bool {
        matches!(self.0, Repr::Owned(_) | Repr::Merged(_))
    }

    /// Of a tree, read by a schema.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self.0, Repr::Typed(..))
    }

    /// How it compares and adds.
    pub(crate) fn kind(&self) -> &ListKind {
        match &self.0 {
            Repr::Typed(_, Schema { kind: Kind::List(_, kind), .. }) => kind,
            Repr::Merged(made) => &made.1,
            _ => &ListKind::Atomic,
        }
    }
}

impl<'a> List<'a> {
    /// With a list type.
    pub(crate) fn merged(items: Vec<Value<'a>>, kind: ListKind) -> Self {
        Self(Repr::Merged(Arc::new((items, kind))))
    }
}

impl<'a> From<Vec<Value<'a>>> for List<'a> {
    fn from(items: Vec<Value<'a>>) -> Self {
        Self(Repr::Owned(items.into()))
    }
}
