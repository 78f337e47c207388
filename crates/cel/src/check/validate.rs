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
    for (id, formatted) in reached(ast) {
        match ast.expr(id) {
            Expr::Call { target: Some(target), function, args } if &**function == "format" => {
                format(ast, checked, id, *target, args, &mut faults);
            }
            Expr::Call { args, .. } => argument(ast, checked, id, args, &mut faults),
            Expr::List(items) if !formatted => {
                let parts = items.iter().map(|item| (item.value, item.optional));
                one_type(ast, checked, parts, &mut faults);
            }
            Expr::Map(entries) if !formatted => {
                one_type(ast, checked, entries.iter().map(|e| (e.key, false)), &mut faults);
                one_type(ast, checked, entries.iter().map(|e| (e.value, e.optional)), &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// Nodes that the root reaches (a macro leaves some behind), and whether they are below a call of `format`, whose
/// arguments may mix types.
fn reached(ast: &Ast) -> Vec<(Id, bool)> {
    let mut seen = vec![false; ast.nodes.len()];
    let mut todo = vec![(ast.root, false)];
    let mut out = Vec::new();
    while let Some((id, formatted)) = todo.pop() {
        if std::mem::replace(&mut seen[id], true) {
            continue;
        }
        out.push((id, formatted));
        let formats = matches!(ast.expr(id), Expr::Call { function, .. } if &**function == "format");
        todo.extend(ast.expr(id).children().into_iter().map(|child| (child, formatted || formats)));
    }
    out
}

/// A format and arguments that are written out.
fn format(ast: &Ast, checked: &Checked, id: Id, target: Id, args: &[Id], faults: &mut Vec<Fault>) {
    let (Expr::Literal(Value::String(pattern)), Some(Expr::List(items))) =
        (ast.expr(target), args.first().map(|arg| ast.expr(*arg)))
    else {
        return;
    };
    let types: Vec<&Type> = items.iter().map(|item| &checked.types[item.value]).collect();
    if let Err((of, message)) = library::check_format(pattern, &types) {
        let at = of.and_then(|of| items.get(of)).map_or(id, |item| item.value);
        faults.push(Fault { at: Some(ast.at(at)), message });
    }
}

fn argument(ast: &Ast, checked: &Checked, id: Id, args: &[Id], faults: &mut Vec<Fault>) {
    let Some(Ref::Call(target)) = &checked.refs[id] else { return };
    let Some((arg, Expr::Literal(value))) = args.first().map(|arg| (*arg, ast.expr(*arg))) else { return };
    let name = target.function.name;
    let good = match (name, value) {
        ("duration" | "timestamp", value) => target.function.call(std::slice::from_ref(value)).is_ok(),
        ("matches", Value::String(pattern)) => library::pattern::compile(pattern).is_ok(),
        _ => true,
    };
    if !good {
        faults.push(Fault { at: Some(ast.at(arg)), message: format!("invalid {name} argument") });
    }
}

fn one_type(ast: &Ast, checked: &Checked, parts: impl Iterator<Item = (Id, bool)>, faults: &mut Vec<Fault>) {
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
