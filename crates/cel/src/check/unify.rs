//! Gradual typing: which type is assignable to which, and what type variables stand for.

use std::sync::Arc;

use crate::types::Type;

/// What type variables stand for. Variables are [`Type::Param`]s, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    bound: Vec<Option<Type>>,
    /// What was changed since the last mark, for a way back.
    undo: Vec<(usize, Option<Type>)>,
}

impl Bindings {
    /// `n` new variables; the first one's number.
    pub fn fresh(&mut self, n: u32) -> u32 {
        let first = self.bound.len() as u32;
        self.bound.resize(self.bound.len() + n as usize, None);
        first
    }

    fn of(&self, n: u32) -> Option<&Type> {
        self.bound.get(n as usize)?.as_ref()
    }

    fn bind(&mut self, n: u32, to: Type) {
        if let Some(slot) = self.bound.get_mut(n as usize) {
            self.undo.push((n as usize, slot.replace(to)));
        }
    }

    /// Runs a test; what it bound is kept only where it holds.
    fn attempt(&mut self, test: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.undo.len();
        let good = test(self);
        if !good {
            for (n, old) in self.undo.drain(mark..).rev() {
                self.bound[n] = old;
            }
        }
        good
    }

    /// Whether a value of type `from` may stand where `to` is asked for.
    pub fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.attempt(|b| b.assign(from, to))
    }

    pub fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        from.len() == to.len() && self.attempt(|b| from.iter().zip(to).all(|(a, b2)| b.assign(a, b2)))
    }

    fn assign(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(n) = to {
            match self.stand_for(from, *n) {
                Some(good) => return good,
                None if !matches!(from, Type::Param(_)) => return false,
                None => {}
            }
        }
        if let Type::Param(n) = from {
            return self.stand_for(to, *n).unwrap_or(false);
        }
        if is_dyn_or_error(from) || is_dyn_or_error(to) {
            return true;
        }
        match (from, to) {
            (Type::Null, of) | (of, Type::Null) => is_nullable(of),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assign(a, b),
            (Type::Map(a), Type::Map(b)) => self.assign(&a.0, &b.0) && self.assign(&a.1, &b.1),
            (a, b) => a == b,
        }
    }

    /// Whether variable `n` can stand for `of`; None where it cannot because it would hold itself.
    fn stand_for(&mut self, of: &Type, n: u32) -> Option<bool> {
        if *of == Type::Param(n) {
            return Some(true);
        }
        if let Some(bound) = self.of(n).cloned() {
            if *of == bound {
                return Some(true);
            }
            if !self.assign(of, &bound) {
                return Some(false);
            }
            let general = most_general(of, &bound);
            if !self.occurs(n, general) {
                let general = general.clone();
                self.bind(n, general);
            }
            return Some(true);
        }
        if self.occurs(n, of) {
            return None;
        }
        self.bind(n, of.clone());
        Some(true)
    }

    /// Whether variable `n` is part of a type.
    fn occurs(&self, n: u32, of: &Type) -> bool {
        match of {
            Type::Param(other) => *other == n || self.of(*other).is_some_and(|bound| self.occurs(n, bound)),
            Type::List(of) | Type::Optional(of) | Type::Type(of) => self.occurs(n, of),
            Type::Map(of) => self.occurs(n, &of.0) || self.occurs(n, &of.1),
            _ => false,
        }
    }

    /// The type with its variables replaced; free ones stay, or become dyn.
    pub fn resolve(&self, of: &Type, free_to_dyn: bool) -> Type {
        match of {
            Type::Param(n) => match self.of(*n) {
                Some(bound) => self.resolve(bound, free_to_dyn),
                None if free_to_dyn => Type::Dyn,
                None => of.clone(),
            },
            Type::List(of) => Type::list(self.resolve(of, free_to_dyn)),
            Type::Optional(of) => Type::optional(self.resolve(of, free_to_dyn)),
            Type::Type(of) => Type::type_of(self.resolve(of, free_to_dyn)),
            Type::Map(of) => Type::map(self.resolve(&of.0, free_to_dyn), self.resolve(&of.1, free_to_dyn)),
            other => other.clone(),
        }
    }
}

/// A declaration's type with its parameters numbered from `first`.
pub(super) fn instantiate(of: &Type, first: u32) -> Type {
    match of {
        Type::Param(n) => Type::Param(first + n),
        Type::List(of) => Type::List(Arc::new(instantiate(of, first))),
        Type::Optional(of) => Type::optional(instantiate(of, first)),
        Type::Type(of) => Type::type_of(instantiate(of, first)),
        Type::Map(of) => Type::map(instantiate(&of.0, first), instantiate(&of.1, first)),
        other => other.clone(),
    }
}

pub(super) fn is_dyn_or_error(of: &Type) -> bool {
    matches!(of, Type::Dyn | Type::Error)
}

fn is_nullable(of: &Type) -> bool {
    matches!(
        of,
        Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Timestamp | Type::Duration
    )
}

/// The more general of two types that agree.
pub(super) fn most_general<'t>(a: &'t Type, b: &'t Type) -> &'t Type {
    if less_specific(a, b) { a } else { b }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}

/// Types in messages.
pub(super) fn shown(of: &Type) -> String {
    match of {
        Type::Null => "null".into(),
        Type::Timestamp => "timestamp".into(),
        Type::Duration => "duration".into(),
        Type::List(of) => format!("list({})", shown(of)),
        Type::Map(of) => format!("map({}, {})", shown(&of.0), shown(&of.1)),
        Type::Optional(of) => format!("optional_type({})", shown(of)),
        Type::Type(of) => format!("type({})", shown(of)),
        Type::Param(n) => format!("_var{n}"),
        other => other.to_string(),
    }
}
