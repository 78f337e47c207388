//! The checked tree to nodes: names become places, calls functions, constants are folded as upstream folds them
//! (which shows in what an expression costs).

use std::sync::Arc;

use super::node::{Call, Fold, Index, Kind, Literal, MapEntry, Node, Select};
use super::value_of_constant;
use crate::ast::{self, Ast, Expr, FoldKind, Id};
use crate::check::{Checked, Ref, Target};
use crate::cost::{LIST, Rule};
use crate::environment::Inner;
use crate::functions::Function;
use crate::library::{pattern, regex};
use crate::types::Type;
use crate::value::map::Entries;
use crate::value::{List, Value};

/// The nodes of a checked expression. Fails where a constant has no value: `int('x')`.
pub(crate) fn resolve(ast: &Ast, checked: &Checked, environment: &Inner) -> Result<Node, String> {
    let mut resolver = Resolver { ast, checked, environment, locals: Vec::new() };
    resolver.node(ast.root, true)
}

struct Resolver<'r> {
    ast: &'r Ast,
    checked: &'r Checked,
    environment: &'r Inner,
    /// Names by place; "" for the other places.
    locals: Vec<Box<str>>,
}

type Resolved<T = Node> = Result<T, String>;

/// Functions whose calls with a constant are constants.
const CONVERSIONS: [&str; 10] =
    ["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

/// A place in what is given: a variable or what is selected from something. Upstream evaluates such chains as one.
fn is_place(node: &Node) -> bool {
    matches!(
        node,
        Node::Variable { .. }
            | Node::Local { .. }
            | Node::LazyField { .. }
            | Node::Select(_)
            | Node::Has(_)
            | Node::Index(_)
            | Node::Conditional(_)
    )
}

/// Whether a chain of selections begins at a `?:`.
fn begins_in_branches(node: &Node) -> bool {
    match node {
        Node::Conditional(_) => true,
        Node::Select(select) => begins_in_branches(&select.of),
        Node::Index(index) => begins_in_branches(&index.of),
        _ => false,
    }
}

impl Resolver<'_> {
    /// `paid`: whether the variable at the root of a chain of selections costs something, which it does not in a
    /// branch of `?:`.
    fn node(&mut self, id: Id, paid: bool) -> Resolved {
        let ast = self.ast;
        match ast.expr(id) {
            Expr::Literal(value) => Ok(Node::Const(value.clone())),
            Expr::Ident(name) => Ok(self.ident(id, name, paid)),
            Expr::Select { of, field, test } => self.select(id, *of, field, *test, paid),
            Expr::Call { target, args, .. } => self.call(id, *target, args, paid),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::Struct { fields, .. } => self.structure(id, fields),
            Expr::Fold(fold) => self.fold(fold),
            Expr::Error => Err("unexpected expression".into()),
        }
    }

    fn ident(&self, id: Id, name: &str, paid: bool) -> Node {
        match &self.checked.refs[id] {
            Some(Ref::Type(of)) => Node::Const(Value::Type(of.clone())),
            Some(Ref::Variable(name)) => Node::Variable { name: name.clone(), cost: u64::from(paid) },
            _ => {
                let slot = self.locals.iter().rposition(|local| **local == *name).unwrap_or(0);
                Node::Local { slot, cost: u64::from(paid) }
            }
        }
    }

    fn select(&mut self, id: Id, of: Id, field: &str, test: bool, paid: bool) -> Resolved {
        if !test && matches!(self.checked.refs[id], Some(Ref::Variable(_) | Ref::Type(_))) {
            return Ok(self.ident(id, field, paid));
        }
        if let (Expr::Ident(_), Some(Ref::Variable(variable))) = (self.ast.expr(of), &self.checked.refs[of])
            && self.environment.lazy.contains(variable)
        {
            if test {
                // The checker knows that it is declared.
                return Ok(Node::Const(Value::Bool(true)));
            }
            let (variable, field) = (variable.clone(), field.into());
            return Ok(Node::LazyField { variable, field, cost: 1 + u64::from(paid) });
        }
        let of = self.node(of, paid || test)?;
        let base = u64::from(!is_place(&of) && (paid || test));
        let select = Box::new(Select { of, field: field.into(), optional: false, base });
        Ok(if test { Node::Has(select) } else { Node::Select(select) })
    }

    fn call(&mut self, id: Id, target: Option<Id>, args: &[Id], paid: bool) -> Resolved {
        let Some(Ref::Call(meant)) = &self.checked.refs[id] else { return Err("unresolved call".into()) };
        let target = target.filter(|_| !meant.namespaced);
        let all: Vec<Id> = target.iter().chain(args).copied().collect();
        match (meant.function.name, all.as_slice()) {
            ("_&&_", [a, b]) => Ok(Node::And(Box::new([self.node(*a, true)?, self.node(*b, true)?]))),
            ("_||_", [a, b]) => Ok(Node::Or(Box::new([self.node(*a, true)?, self.node(*b, true)?]))),
            ("_?:_", _) => Err("unresolved call".into()),
            ("_?_:_", [c, a, b]) => {
                let parts = [self.node(*c, true)?, self.node(*a, false)?, self.node(*b, false)?];
                Ok(Node::Conditional(Box::new(parts)))
            }
            ("_[_]", [of, index]) => self.index(*of, *index, false, paid),
            ("_[?_]", [of, index]) => self.index(*of, *index, true, paid),
            ("_?._", [of, field]) => self.optional_select(*of, *field, paid),
            ("or", [a, b]) => {
                Ok(Node::OptionalOr(Box::new([self.node(*a, true)?, self.node(*b, true)?]), false))
            }
            ("orValue", [a, b]) => {
                Ok(Node::OptionalOr(Box::new([self.node(*a, true)?, self.node(*b, true)?]), true))
            }
            _ => self.plain_call(id, meant, &all),
        }
    }

    fn index(&mut self, of: Id, index: Id, optional: bool, paid: bool) -> Resolved {
        let of = self.node(of, paid)?;
        let index = self.node(index, true)?;
        let base = u64::from(!is_place(&of) && paid);
        let cost = u64::from(!is_place(&index) || begins_in_branches(&index));
        Ok(Node::Index(Box::new(Index { of, index, optional, base, cost })))
    }

    fn optional_select(&mut self, of: Id, field: Id, paid: bool) -> Resolved {
        let Expr::Literal(Value::String(name)) = self.ast.expr(field) else {
            return Err("unresolved field".into());
        };
        let of = self.node(of, paid)?;
        let base = u64::from(!is_place(&of) && paid);
        Ok(Node::Select(Box::new(Select { of, field: (**name).into(), optional: true, base })))
    }

    fn plain_call(&mut self, id: Id, meant: &Target, all: &[Id]) -> Resolved {
        let function = meant.function;
        let args: Vec<Node> = all.iter().map(|arg| self.node(*arg, true)).collect::<Resolved<_>>()?;
        let only = if let [only] = meant.overloads.as_slice() { Some(*only) } else { None };
        let overload = only.map(|only| only.id);
        if let ("@in", Some("in_list"), [_, Node::Const(Value::List(list))]) =
            (function.name, overload, args.as_slice())
        {
            if list.is_empty() {
                return Ok(Node::Const(Value::Bool(false)));
            }
            if let Some(set) = set(list) {
                let of = args.into_iter().next().ok_or("unresolved call")?;
                return Ok(Node::InSet(Box::new(of), Box::new(set)));
            }
        }
        if let [Node::Const(value)] = args.as_slice()
            && CONVERSIONS.contains(&function.name)
        {
            return constant(function, value);
        }
        let empty = (function.name == "sum").then(|| zero(&self.checked.types[id])).flatten();
        let rule = Rule::of(function.name, overload);
        with_pattern(Call { function, overload: only, args, rule, empty })
    }

    fn list(&mut self, items: &[ast::Item]) -> Resolved {
        let mut nodes = Vec::with_capacity(items.len());
        for item in items {
            nodes.push((self.node(item.value, true)?, item.optional));
        }
        let constants = nodes.iter().map(|(node, optional)| match node {
            Node::Const(Value::Optional(_)) if *optional => None,
            Node::Const(value) if !optional => Some(value.clone()),
            _ => None,
        });
        match constants.collect::<Option<Vec<_>>>() {
            Some(constants) => Ok(Node::Const(Value::List(List::from(constants)))),
            None => Ok(Node::List(nodes)),
        }
    }

    fn map(&mut self, entries: &[ast::Entry]) -> Resolved {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.node(entry.key, true)?;
            nodes.push(MapEntry { key, value: self.node(entry.value, true)?, optional: entry.optional });
        }
        let constants = nodes.iter().map(|entry| match (&entry.key, &entry.value) {
            (Node::Const(key), Node::Const(value)) if !entry.optional => Some((key.clone(), value.clone())),
            _ => None,
        });
        let Some(constants) = constants.collect::<Option<Vec<_>>>() else { return Ok(Node::Map(nodes)) };
        let mut made = Entries::default();
        for (key, value) in constants {
            made.insert(key, value);
        }
        Ok(Node::Const(Value::Map(made.into())))
    }

    fn structure(&mut self, id: Id, fields: &[ast::Init]) -> Resolved {
        let Some(Ref::Object(object)) = &self.checked.refs[id] else { return Err("unresolved type".into()) };
        let mut nodes = Vec::with_capacity(fields.len());
        for field in fields {
            nodes.push((Arc::from(&*field.name), self.node(field.value, true)?, field.optional));
        }
        Ok(Node::Struct(Box::new(Literal { object: object.clone(), fields: nodes })))
    }

    fn fold(&mut self, fold: &ast::Fold) -> Resolved {
        if let FoldKind::Bind = fold.kind {
            let range = self.node(fold.init, true)?;
            let slot = self.locals.len();
            self.locals.push(fold.accu.clone());
            let result = self.node(fold.result, true);
            self.locals.truncate(slot);
            return Ok(Node::Fold(Box::new(Fold { kind: Kind::Bind(result?), range, slot, two: false })));
        }
        let range = self.node(fold.range, true)?;
        let slot = self.locals.len();
        self.locals.push(fold.var.clone());
        self.locals.push(fold.var2.clone().unwrap_or_default());
        let kind = self.kind(fold);
        self.locals.truncate(slot);
        Ok(Node::Fold(Box::new(Fold { kind: kind?, range, slot, two: fold.var2.is_some() })))
    }

    fn kind(&mut self, fold: &ast::Fold) -> Resolved<Kind> {
        let filter = |r: &mut Self, filter: Option<Id>| filter.map(|id| r.node(id, true)).transpose();
        Ok(match fold.kind {
            FoldKind::All(predicate) => Kind::All(self.node(predicate, true)?),
            FoldKind::Exists(predicate) => Kind::Exists(self.node(predicate, true)?),
            FoldKind::ExistsOne(predicate) => Kind::ExistsOne(self.node(predicate, true)?),
            FoldKind::List { filter: f, item } => {
                let item = self.node(item, true)?;
                // The accumulator, the addition and the list of one item, unless that is a constant.
                let cost = 2 + if matches!(item, Node::Const(_)) { 0 } else { LIST };
                Kind::List { filter: filter(self, f)?, item, cost }
            }
            FoldKind::Map { filter: f, value } => {
                Kind::Map { filter: filter(self, f)?, value: self.node(value, true)? }
            }
            FoldKind::Entries { filter: f, entry } => {
                Kind::Entries { filter: filter(self, f)?, entry: self.node(entry, true)? }
            }
            FoldKind::Bind => return Err("unresolved variable".into()),
        })
    }
}

/// The value of a function of a constant, ahead of time.
fn constant(function: &'static Function, value: &Value<'static>) -> Resolved {
    match function.call(std::slice::from_ref(value)) {
        Ok(value) => Ok(Node::Const(value)),
        Err(error) => Err(error.to_string()),
    }
}

/// A list of constants to look into; None for what upstream looks through.
fn set(list: &List<'static>) -> Option<Entries<'static>> {
    let mut made = Entries::default();
    for item in list.iter() {
        match item.ok()? {
            value @ (Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Double(_)
            | Value::String(_)) => {
                made.insert(value, Value::Bool(true));
            }
            _ => return None,
        }
    }
    Some(made)
}

/// The sum of nothing.
fn zero(of: &Type) -> Option<Value<'static>> {
    match of {
        Type::Uint => Some(Value::Uint(0)),
        Type::Double => Some(Value::Double(0.0)),
        Type::Duration => Some(Value::Duration(0)),
        _ => None,
    }
}

fn with_pattern(call: Call) -> Resolved {
    let found = match (regex::precompiled(call.function.name), call.args.get(1)) {
        (Some(code), Some(Node::Const(value))) => {
            value_of_constant(value).as_str().map(|p| (code, pattern::compile(p)))
        }
        _ => None,
    };
    match found {
        Some((code, Ok(regex))) => Ok(Node::Matching(Box::new(call), Box::new(regex), code)),
        Some((_, Err(error))) => Err(error),
        None => Ok(Node::Call(Box::new(call))),
    }
}
