//! Macros: `has`, `all`, `exists`, `exists_one`, `map`, `filter`, their forms with two variables, `transformList`,
//! `transformMap`, `transformMapEntry`, `optMap` and `optFlatMap`, expanded as CEL defines them.

use super::{Parsed, Parser};
use crate::ast::{Expr, Fold, FoldKind, Id, Item};
use crate::value::Value;

/// The accumulator: no identifier of a source can be spelled so.
const ACCU: &str = "@result";

/// The variables of a macro, and what is built at its place.
struct Vars {
    at: usize,
    range: Id,
    var: Box<str>,
    var2: Option<Box<str>>,
}

impl Parser<'_> {
    pub(super) fn global_call(&mut self, at: usize, function: &str, args: Vec<Id>) -> Parsed {
        if function == "has" && args.len() == 1 {
            return self.has(at, args[0]);
        }
        self.call(at, function, args)
    }

    pub(super) fn receiver_call(&mut self, at: usize, function: &str, target: Id, args: Vec<Id>) -> Parsed {
        match (function, args.len()) {
            ("all" | "exists" | "exists_one", 2 | 3) | ("existsOne", 3) => {
                self.quantifier(at, function, target, &args)
            }
            ("map", 2 | 3) | ("filter", 2) => self.list_macro(at, function, target, &args),
            ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
                self.transform(at, function, target, &args)
            }
            ("sortBy", 2) => self.sort_by(at, target, &args),
            ("optMap" | "optFlatMap", 2) => self.opt_map(at, function, target, &args),
            _ => self.grow(at, Expr::Call { function: function.into(), target: Some(target), args }),
        }
    }

    fn has(&mut self, at: usize, arg: Id) -> Parsed {
        match &self.nodes[arg].expr {
            Expr::Select { of, field, test: false } => {
                let (of, field) = (*of, field.clone());
                self.grow(at, Expr::Select { of, field, test: true })
            }
            Expr::Error => Ok(arg),
            _ => Ok(self.error(self.nodes[arg].at, "invalid argument to has() macro")),
        }
    }

    /// The name of a variable; Err: the node that stands for the fault.
    fn variable(&mut self, arg: Id, message: &str) -> Result<Box<str>, Id> {
        let at = self.nodes[arg].at;
        match &self.nodes[arg].expr {
            Expr::Ident(name) if &**name == "__result__" => {
                Err(self.error(at, "iteration variable overwrites accumulator variable"))
            }
            Expr::Ident(name) => Ok(name.clone()),
            Expr::Error => Err(arg),
            _ => Err(self.error(at, message)),
        }
    }

    fn variables(&mut self, at: usize, range: Id, names: &[Id], message: &str) -> Result<Vars, Id> {
        let var = self.variable(names[0], message)?;
        let var2 = names.get(1).map(|name| self.variable(*name, message)).transpose()?;
        if var2.as_ref() == Some(&var) {
            let place = self.nodes[names[1]].at;
            return Err(self.error(place, format!("duplicate variable name: {var}")));
        }
        Ok(Vars { at, range, var, var2 })
    }

    fn quantifier(&mut self, at: usize, function: &str, range: Id, args: &[Id]) -> Parsed {
        let (names, predicate) = args.split_at(args.len() - 1);
        let predicate = predicate[0];
        let vars = match self.variables(at, range, names, "argument must be a simple name") {
            Ok(vars) => vars,
            Err(fault) => return Ok(fault),
        };
        let accu = self.accu(at);
        let (kind, init, condition, step) = match function {
            "all" => {
                let condition = self.call(at, "@not_strictly_false", vec![accu])?;
                let accu = self.accu(at);
                let step = self.call(at, "_&&_", vec![accu, predicate])?;
                (FoldKind::All(predicate), Value::Bool(true), condition, step)
            }
            "exists" => {
                let not = self.call(at, "!_", vec![accu])?;
                let condition = self.call(at, "@not_strictly_false", vec![not])?;
                let accu = self.accu(at);
                let step = self.call(at, "_||_", vec![accu, predicate])?;
                (FoldKind::Exists(predicate), Value::Bool(false), condition, step)
            }
            _ => {
                let condition = self.push(at, Expr::Literal(Value::Bool(true)));
                let one = self.push(at, Expr::Literal(Value::Int(1)));
                let more = self.call(at, "_+_", vec![accu, one])?;
                let same = self.accu(at);
                let step = self.call(at, "_?_:_", vec![predicate, more, same])?;
                (FoldKind::ExistsOne(predicate), Value::Int(0), condition, step)
            }
        };
        let init = self.push(at, Expr::Literal(init));
        let result = self.accu(at);
        let result = if matches!(kind, FoldKind::ExistsOne(_)) {
            let one = self.push(at, Expr::Literal(Value::Int(1)));
            self.call(at, "_==_", vec![result, one])?
        } else {
            result
        };
        self.fold(vars, kind, init, condition, step, result)
    }

    fn accu(&mut self, at: usize) -> Id {
        self.push(at, Expr::Ident(ACCU.into()))
    }

    fn fold(&mut self, vars: Vars, kind: FoldKind, init: Id, condition: Id, step: Id, result: Id) -> Parsed {
        let Vars { at, range, var, var2 } = vars;
        let accu = ACCU.into();
        let fold = Fold { kind, range, var, var2, accu, init, condition, step, result };
        self.grow(at, Expr::Fold(Box::new(fold)))
    }

    /// A fold over all elements whose accumulator grows by `more`, maybe only where `filter` holds.
    fn collect(&mut self, vars: Vars, kind: FoldKind, empty: Expr, more: Id, filter: Option<Id>) -> Parsed {
        let at = vars.at;
        let init = self.push(at, empty);
        let condition = self.push(at, Expr::Literal(Value::Bool(true)));
        let step = match filter {
            None => more,
            Some(filter) => {
                let same = self.accu(at);
                self.call(at, "_?_:_", vec![filter, more, same])?
            }
        };
        let result = self.accu(at);
        self.fold(vars, kind, init, condition, step, result)
    }

    /// `accu + [item]`.
    fn appended(&mut self, at: usize, item: Id) -> Parsed {
        let accu = self.accu(at);
        let list = self.push(at, Expr::List(vec![Item { value: item, optional: false }]));
        self.call(at, "_+_", vec![accu, list])
    }

    fn list_macro(&mut self, at: usize, function: &str, range: Id, args: &[Id]) -> Parsed {
        let vars = match self.variables(at, range, &args[..1], "argument is not an identifier") {
            Ok(vars) => vars,
            Err(fault) => return Ok(fault),
        };
        let (filter, item) = match (function, args) {
            ("filter", _) => (Some(args[1]), args[0]),
            (_, [_, filter, item]) => (Some(*filter), *item),
            _ => (None, args[1]),
        };
        let more = self.appended(at, item)?;
        self.collect(vars, FoldKind::List { filter, item }, Expr::List(Vec::new()), more, filter)
    }

    fn transform(&mut self, at: usize, function: &str, range: Id, args: &[Id]) -> Parsed {
        let vars = match self.variables(at, range, &args[..2], "argument must be a simple name") {
            Ok(vars) => vars,
            Err(fault) => return Ok(fault),
        };
        let (filter, item) = if args.len() == 4 { (Some(args[2]), args[3]) } else { (None, args[2]) };
        if function == "transformList" {
            let more = self.appended(at, item)?;
            return self.collect(vars, FoldKind::List { filter, item }, Expr::List(Vec::new()), more, filter);
        }
        let mut inserted = vec![self.accu(at)];
        let kind = if function == "transformMap" {
            inserted.push(self.push(at, Expr::Ident(vars.var.clone())));
            FoldKind::Map { filter, value: item }
        } else {
            FoldKind::Entries { filter, entry: item }
        };
        inserted.push(item);
        let more = self.call(at, "cel.@mapInsert", inserted)?;
        self.collect(vars, kind, Expr::Map(Vec::new()), more, filter)
    }

    /// `of.hasValue() ? optional.of(<expr with the variable>) : optional.none()`.
    fn opt_map(&mut self, at: usize, function: &str, target: Id, args: &[Id]) -> Parsed {
        let Expr::Ident(name) = &self.nodes[args[0]].expr else {
            let message = format!("{function}() variable name must be a simple identifier");
            return Ok(self.error(self.nodes[args[0]].at, message));
        };
        let name = name.clone();
        let method =
            |function: &str| Expr::Call { function: function.into(), target: Some(target), args: Vec::new() };
        let has = self.grow(at, method("hasValue"))?;
        let init = self.grow(at, method("value"))?;
        let bound = self.bind(at, &name, init, args[1])?;
        let some = if function == "optMap" { self.optional(at, "of", vec![bound])? } else { bound };
        let none = self.optional(at, "none", Vec::new())?;
        self.call(at, "_?_:_", vec![has, some, none])
    }

    /// The list sorted by the keys that the expression makes of its items.
    fn sort_by(&mut self, at: usize, target: Id, args: &[Id]) -> Parsed {
        const INPUT: &str = "@__sortBy_input__";
        if matches!(self.nodes[target].expr, Expr::Literal(_) | Expr::Map(_) | Expr::Struct { .. }) {
            let message =
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
            return Ok(self.error(self.nodes[target].at, message));
        }
        let input = |p: &mut Self| p.push(at, Expr::Ident(INPUT.into()));
        let mapped = input(self);
        let keys = self.list_macro(at, "map", mapped, args)?;
        let list = input(self);
        let function = "@sortByAssociatedKeys".into();
        let result = self.grow(at, Expr::Call { function, target: Some(list), args: vec![keys] })?;
        self.bind(at, INPUT, target, result)
    }

    /// `result` with a local variable.
    fn bind(&mut self, at: usize, name: &str, init: Id, result: Id) -> Parsed {
        let range = self.push(at, Expr::List(Vec::new()));
        let condition = self.push(at, Expr::Literal(Value::Bool(false)));
        let step = self.push(at, Expr::Ident(name.into()));
        let fold = Fold {
            kind: FoldKind::Bind,
            range,
            var: "#unused".into(),
            var2: None,
            accu: name.into(),
            init,
            condition,
            step,
            result,
        };
        self.grow(at, Expr::Fold(Box::new(fold)))
    }

    fn optional(&mut self, at: usize, function: &str, args: Vec<Id>) -> Parsed {
        self.call(at, &format!("optional.{function}"), args)
    }
}
