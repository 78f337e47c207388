//! Lists, maps and structs as they are written: their parts must agree.

use super::unify::most_general;
use super::unify::shown;
use super::{Checker, Ref, named_type};
use crate::ast::{Entry, Id, Init, Item};
use crate::types::Type;

impl Checker<'_> {
    pub(super) fn list(&mut self, items: &[Item]) -> Type {
        let mut of: Option<Type> = None;
        for item in items {
            let found = self.part(item.value, item.optional);
            of = Some(self.join(of, found));
        }
        Type::list(of.unwrap_or_else(|| self.variable()))
    }

    pub(super) fn map(&mut self, entries: &[Entry]) -> Type {
        let mut of: Option<(Type, Type)> = None;
        for entry in entries {
            let key = self.check(entry.key);
            let (old_key, old_value) = of.map_or((None, None), |(k, v)| (Some(k), Some(v)));
            let key = self.join(old_key, key);
            let value = self.part(entry.value, entry.optional);
            let value = self.join(old_value, value);
            of = Some((key, value));
        }
        let (key, value) = match of {
            Some(of) => of,
            None => (self.variable(), self.variable()),
        };
        Type::map(key, value)
    }

    fn variable(&mut self) -> Type {
        Type::Param(self.bindings.fresh(1))
    }

    /// The type of a part; that of what it holds where it is marked optional.
    fn part(&mut self, id: Id, optional: bool) -> Type {
        let found = self.check(id);
        if !optional {
            return found;
        }
        match self.bindings.resolve(&found, false) {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn => Type::Dyn,
            other => {
                self.mismatch(id, &Type::optional(other.clone()), &other);
                other
            }
        }
    }

    /// What both are; those that differ are told apart later, where they must not.
    fn join(&mut self, previous: Option<Type>, current: Type) -> Type {
        let Some(previous) = previous else { return current };
        if self.bindings.assignable(&previous, &current) {
            return most_general(&previous, &current).clone();
        }
        Type::Dyn
    }

    fn no_struct(&mut self, id: Id, name: &str, fields: &[Init]) -> Type {
        if named_type(name).is_none() {
            return self.undeclared(id, name);
        }
        self.fault(self.ast.at(id), format!("'{name}' is not a message type"));
        for field in fields {
            self.check(field.value);
            self.fault(field.at, format!("unexpected failed resolution of '{name}'"));
        }
        Type::Error
    }

    pub(super) fn structure(&mut self, id: Id, name: &str, fields: &[Init]) -> Type {
        let Some(object) = self.environment.object(name.trim_start_matches('.')) else {
            return self.no_struct(id, name, fields);
        };
        for field in fields {
            let value = self.part(field.value, field.optional);
            let declared = self.object_field(field.at, &object, &field.name);
            if !self.bindings.assignable(&declared, &value) {
                let message = format!(
                    "expected type of field '{}' is '{}' but provided type is '{}'",
                    field.name,
                    shown(&declared),
                    shown(&value)
                );
                self.fault(field.at, message);
            }
        }
        self.refs[id] = Some(Ref::Object(object.clone()));
        Type::Object(object)
    }
}
