//! The checker: a type for every node, and what every name and call refers to. Gradual: what is dyn fits all, and
//! the evaluation decides.

mod call;
mod literal;
mod unify;
mod validate;

use std::sync::Arc;

use crate::ast::{Ast, Expr, Fold, Id};
use crate::environment::Inner;
use crate::functions::{Function, Overload};
use crate::parse::Fault;
use crate::schema::Object;
use crate::types::{Opaque, Type};
use unify::{Bindings, is_dyn_or_error, shown};

/// What a node refers to.
#[derive(Clone, Debug)]
pub(crate) enum Ref {
    /// A variable of the environment.
    Variable(Arc<str>),
    /// A variable of a macro.
    Local,
    /// The name of a type.
    Type(Type),
    Call(Target),
    /// The type that a struct literal makes.
    Object(Object),
}

/// The function of a call, with the overloads that can apply.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub function: &'static Function,
    pub overloads: Vec<&'static Overload>,
    /// The target is but the function's namespace: `sets.contains(..)`.
    pub namespaced: bool,
}

/// By node.
#[derive(Debug)]
pub(crate) struct Checked {
    pub types: Vec<Type>,
    pub refs: Vec<Option<Ref>>,
}

/// Types every node, or tells the faults.
pub(crate) fn check(ast: &Ast, environment: &Inner) -> Result<Checked, Vec<Fault>> {
    let n = ast.nodes.len();
    let mut checker = Checker {
        ast,
        environment,
        types: vec![Type::Error; n],
        refs: vec![None; n],
        bindings: Bindings::default(),
        locals: Vec::new(),
        faults: Vec::new(),
    };
    checker.check(ast.root);
    if !checker.faults.is_empty() {
        return Err(checker.faults);
    }
    for at in 0..n {
        checker.types[at] = checker.bindings.resolve(&checker.types[at], true);
    }
    let checked = Checked { types: checker.types, refs: checker.refs };
    let faults = validate::validate(ast, &checked);
    if faults.is_empty() { Ok(checked) } else { Err(faults) }
}

struct Checker<'c> {
    ast: &'c Ast,
    environment: &'c Inner,
    types: Vec<Type>,
    refs: Vec<Option<Ref>>,
    bindings: Bindings,
    /// Variables of macros, the innermost last.
    locals: Vec<(Box<str>, Type)>,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, at: usize, message: String) {
        if self.faults.len() < 100 {
            self.faults.push(Fault { at: Some(at), message });
        }
    }

    fn undeclared(&mut self, id: Id, name: &str) -> Type {
        self.fault(self.ast.at(id), format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        let message = format!("expected type '{}' but found '{}'", shown(expected), shown(found));
        self.fault(self.ast.at(id), message);
    }

    fn check(&mut self, id: Id) -> Type {
        let ast = self.ast;
        let found = match ast.expr(id) {
            Expr::Literal(value) => value.type_of(),
            Expr::Ident(name) => self.ident(id, name),
            Expr::Select { of, field, test } => self.select(id, *of, field, *test),
            Expr::Call { function, target, args } => self.call(id, function, *target, args),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::Struct { name, fields } => self.structure(id, name, fields),
            Expr::Fold(fold) => self.fold(fold),
            Expr::Error => Type::Error,
        };
        self.types[id] = found.clone();
        found
    }

    fn ident(&mut self, id: Id, name: &str) -> Type {
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some((_, of)) = self.locals.iter().rev().find(|(local, _)| **local == *name)
        {
            let of = of.clone();
            self.refs[id] = Some(Ref::Local);
            return of;
        }
        match self.global(id, global.unwrap_or(name)) {
            Some(found) => found,
            None => self.undeclared(id, name),
        }
    }

    /// A variable of the environment or the name of a type.
    fn global(&mut self, id: Id, name: &str) -> Option<Type> {
        if let Some((name, schema)) = self.environment.variables.get_key_value(name) {
            self.refs[id] = Some(Ref::Variable(name.clone()));
            return Some(schema.cel_type());
        }
        let of = named_type(name).or_else(|| self.environment.object(name).map(Type::Object))?;
        self.refs[id] = Some(Ref::Type(of.clone()));
        Some(Type::type_of(of))
    }

    /// The dotted name that a chain of selections spells; None where it is rooted in a local variable or a value.
    fn dotted(&self, id: Id) -> Option<String> {
        match self.ast.expr(id) {
            Expr::Ident(name) if self.locals.iter().any(|(local, _)| local == name) => None,
            Expr::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
            Expr::Select { of, field, test: false } => Some(format!("{}.{field}", self.dotted(*of)?)),
            _ => None,
        }
    }

    fn select(&mut self, id: Id, of: Id, field: &str, test: bool) -> Type {
        if !test
            && let Some(name) = self.dotted(id)
            && let Some(found) = self.global(id, &name)
        {
            return found;
        }
        let found = self.field(id, of, field, false);
        if test { Type::Bool } else { self.bindings.resolve(&found, false) }
    }

    /// The type of a field of what `of` is; optional where that is, or where the selection is.
    fn field(&mut self, id: Id, of: Id, field: &str, optional: bool) -> Type {
        let operand = self.check(of);
        let operand = self.bindings.resolve(&operand, false);
        let (operand, was_optional) = match operand {
            Type::Optional(of) => ((*of).clone(), true),
            other => (other, false),
        };
        let found = match &operand {
            Type::Map(of) => of.1.clone(),
            Type::Object(object) => self.object_field(self.ast.at(id), object, field),
            Type::Opaque(opaque) if !matches!(opaque, Opaque::Ip | Opaque::Cidr) => {
                let message = format!("unexpected failed resolution of '{}'", opaque.name());
                self.fault(self.ast.at(id), message);
                Type::Error
            }
            Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &operand);
                Type::Dyn
            }
            other => {
                if !is_dyn_or_error(other) {
                    let message = format!("type '{}' does not support field selection", shown(other));
                    self.fault(self.ast.at(id), message);
                }
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(found) } else { found }
    }

    fn object_field(&mut self, at: usize, object: &Object, field: &str) -> Type {
        if object.has_any_field() {
            return Type::Dyn;
        }
        match object.field(field) {
            Some(field) => field.schema.cel_type(),
            None => {
                self.fault(at, format!("undefined field '{field}'"));
                Type::Error
            }
        }
    }

    fn fold(&mut self, fold: &Fold) -> Type {
        let range = self.check(fold.range);
        let accu = self.check(fold.init);
        let range = self.bindings.resolve(&range, false);
        let before = self.locals.len();
        self.locals.push((fold.accu.clone(), accu.clone()));
        let (first, second) = self.elements(fold, &range);
        self.locals.push((fold.var.clone(), first));
        if let Some(name) = &fold.var2 {
            self.locals.push((name.clone(), second));
        }
        self.check(fold.condition);
        self.expect(fold.condition, &Type::Bool);
        self.check(fold.step);
        self.expect(fold.step, &accu);
        self.locals.truncate(before + 1);
        let result = self.check(fold.result);
        self.locals.truncate(before);
        self.bindings.resolve(&result, false)
    }

    /// The types of a fold's variables.
    fn elements(&mut self, fold: &Fold, range: &Type) -> (Type, Type) {
        let two = fold.var2.is_some();
        match range {
            Type::List(of) if two => (Type::Int, (**of).clone()),
            Type::List(of) => ((**of).clone(), Type::Error),
            Type::Map(of) => (of.0.clone(), of.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    shown(other)
                );
                self.fault(self.ast.at(fold.range), message);
                (Type::Error, Type::Error)
            }
        }
    }

    fn expect(&mut self, id: Id, expected: &Type) {
        let found = self.types[id].clone();
        if !self.bindings.assignable(expected, &found) {
            self.mismatch(id, expected, &found);
        }
    }
}

/// Types that have a name.
fn named_type(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "dyn" => Type::Dyn,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "string" => Type::String,
        "null_type" => Type::Null,
        "type" => Type::type_of(Type::Error),
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        _ => return None,
    })
}
