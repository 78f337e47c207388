//! Calls: which function is meant, and which of its overloads fit.

use super::unify::{instantiate, shown};
use super::{Checker, Ref, Target};
use crate::ast::{Expr, Id};
use crate::functions::{self, Function, Overload};
use crate::types::Type;
use crate::value::Value;

impl Checker<'_> {
    pub(super) fn call(&mut self, id: Id, name: &str, target: Option<Id>, args: &[Id]) -> Type {
        if name == "_?._" {
            return self.optional_select(id, args);
        }
        for arg in args {
            self.check(*arg);
        }
        let Some(target) = target else {
            let name = name.trim_start_matches('.');
            return match self.environment.function(name) {
                Some(function) => self.resolve(id, function, None, args, false),
                None => self.undeclared(id, name),
            };
        };
        let qualified = self.dotted(target).map(|prefix| format!("{prefix}.{name}"));
        if let Some(function) = qualified.and_then(|name| self.environment.function(&name)) {
            return self.resolve(id, function, None, args, true);
        }
        self.check(target);
        match self.environment.function(name) {
            Some(function) => self.resolve(id, function, Some(target), args, false),
            None => self.undeclared(id, name),
        }
    }

    /// `of.?field`.
    fn optional_select(&mut self, id: Id, args: &[Id]) -> Type {
        let (of, field) = (args[0], args[1]);
        let Expr::Literal(Value::String(name)) = self.ast.expr(field) else { return Type::Error };
        self.types[field] = Type::String;
        let found = self.field(id, of, name, true);
        if let Some(function) = functions::find("_?._") {
            let overloads = function.overloads.iter().collect();
            self.refs[id] = Some(Ref::Call(Target { function, overloads, namespaced: false }));
        }
        self.bindings.resolve(&found, false)
    }

    fn resolve(
        &mut self,
        id: Id,
        function: &'static Function,
        target: Option<Id>,
        args: &[Id],
        namespaced: bool,
    ) -> Type {
        let member = target.is_some();
        let types: Vec<Type> = target.iter().chain(args).map(|arg| self.types[*arg].clone()).collect();
        if matches!(function.name, "_&&_" | "_||_") {
            self.logical(args, &types);
        }
        let mut result: Option<Type> = None;
        let mut fitting = Vec::new();
        for overload in function.overloads.iter().filter(|o| o.member == member) {
            let Some(found) = self.fits(overload, &types) else { continue };
            fitting.push(overload);
            result = Some(match result {
                None => found,
                Some(known) if known == Type::Dyn || known == found => known,
                Some(_) => Type::Dyn,
            });
        }
        let Some(result) = result else {
            self.no_overload(id, function, &types, member);
            return Type::Error;
        };
        self.refs[id] = Some(Ref::Call(Target { function, overloads: fitting, namespaced }));
        result
    }

    /// Operands of `&&` and `||` that are no bool are told one by one.
    fn logical(&mut self, args: &[Id], types: &[Type]) {
        for (arg, of) in args.iter().zip(types) {
            if !self.bindings.assignable(of, &Type::Bool) {
                self.mismatch(*arg, &Type::Bool, of);
                self.types[*arg] = Type::Error;
            }
        }
    }

    /// The result's type where an overload takes these.
    fn fits(&mut self, overload: &Overload, types: &[Type]) -> Option<Type> {
        if overload.params.len() != types.len() {
            return None;
        }
        let first = self.bindings.fresh(overload.free);
        let params: Vec<Type> = overload.params.iter().map(|p| instantiate(p, first)).collect();
        let fits = self.bindings.all_assignable(types, &params);
        fits.then(|| self.bindings.resolve(&instantiate(&overload.result, first), false))
    }

    fn no_overload(&mut self, id: Id, function: &Function, types: &[Type], member: bool) {
        if matches!(function.name, "_&&_" | "_||_") {
            return;
        }
        let shown: Vec<String> = types.iter().map(|t| shown(&self.bindings.resolve(t, true))).collect();
        let signature = match shown.split_first() {
            Some((target, args)) if member => format!("{target}.({})", args.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        let message = format!("found no matching overload for '{}' applied to '{signature}'", function.name);
        self.fault(self.ast.at(id), message);
    }
}
