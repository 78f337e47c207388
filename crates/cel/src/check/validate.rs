//! What upstream checks after the types: literals of times, durations and patterns, and lists and maps of one type.

use super::unify::shown;
use super::{Checked, Ref};
use crate::ast::{Ast, Expr, Id};
use crate::library;
use crate::parse::Fault;
use crate::types::Type;
use crate::value::Value;

pub(super) fn validate(ast: &Ast, checked: &Checked) -> Vec<Fault> {
    let mut faults = Vec::new();
    for id in reached(ast) {
        match ast.expr(id) {
            Expr::Call { args, .. } => argument(ast, checked, id, args, &mut faults),
            Expr::List(items) => {
                let parts = items.iter().map(|item| (item.value, item.optional));
                one_type(ast, checked, parts, &mut faults);
            }
            Expr::Map(entries) => {
                one_type(ast, checked, entries.iter().map(|e| (e.key, false)), &mut faults);
                one_type(ast, checked, entries.iter().map(|e| (e.value, e.optional)), &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// Nodes that the root reaches: a macro leaves some behind.
fn reached(ast: &Ast) -> Vec<Id> {
    let mut seen = vec![false; ast.nodes.len()];
    let mut todo = vec![ast.root];
    let mut out = Vec::new();
    while let Some(id) = todo.pop() {
        if !std::mem::replace(&mut seen[id], true) {
            out.push(id);
            todo.extend(ast.expr(id).children());
        }
    }
    out
}

fn argument(ast: &Ast, checked: &Checked, id: Id, args: &[Id], faults: &mut Vec<Fault>) {
    let Some(Ref::Call(target)) = &checked.refs[id] else { return };
    let Some((arg, Expr::Literal(value))) = args.first().map(|arg| (*arg, ast.expr(*arg))) else { return };
    let name = target.function.name;
    let good = match (name, value) {
        ("duration" | "timestamp", value) => target.function.call(std::slice::from_ref(value)).is_ok(),
        ("matches", Value::String(pattern)) => library::regex::compile(pattern).is_ok(),
        _ => true,
    };
    if !good {
        faults.push(Fault { at: Some(ast.at(arg)), message: format!("invalid {name} argument") });
    }
}

fn one_type(
    ast: &Ast,
    checked: &Checked,
    parts: impl Iterator<Item = (Id, bool)>,
    faults: &mut Vec<Fault>,
) {
    let mut first: Option<Type> = None;
    for (id, optional) in parts {
        let of = match &checked.types[id] {
            Type::Optional(of) if optional => (**of).clone(),
            other => other.clone(),
        };
        match &first {
            None => first = Some(of),
            Some(first) if equivalent(first, &of) => {}
            Some(first) => {
                let message = format!("expected type '{}' but found '{}'", shown(first), shown(&of));
                faults.push(Fault { at: Some(ast.at(id)), message });
                return;
            }
        }
    }
}

/// The same but for the parameters of `type`.
fn equivalent(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Type(_), Type::Type(_)) => true,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => equivalent(a, b),
        (Type::Map(a), Type::Map(b)) => equivalent(&a.0, &b.0) && equivalent(&a.1, &b.1),
        (a, b) => a == b,
    }
}
