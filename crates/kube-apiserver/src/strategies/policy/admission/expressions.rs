//! Expressions in objects: each is compiled where it is written, and a fault is an error at its field.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use policy::{Compiler, Declared, Returns};

use crate::strategies::fields::Fields;
use crate::strategies::names;

const MAX_CONDITIONS: usize = 64;

/// `matchConditions` of a webhook or of a policy. Policies' conditions do not know their variables.
pub(super) fn match_conditions(of: &Map, params: bool, path: &Path, errors: &mut ErrorList) {
    let path = path.child("matchConditions");
    let all = of.list("matchConditions");
    if all.len() > MAX_CONDITIONS {
        errors.push(Error::too_many(&path, all.len(), MAX_CONDITIONS));
    }
    let compiler = Compiler::default();
    let declared = Declared { params, authorizer: true, patch: false };
    let mut seen: Vec<&str> = Vec::new();
    for (i, condition) in all.iter().filter_map(Value::as_map).enumerate() {
        let at = path.index(i);
        let (name, text) = (condition.text("name"), condition.text("expression").trim());
        if text.is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else {
            check(&compiler, text, declared, Returns::Bool, &at.child("expression"), errors);
        }
        qualified(name, &at.child("name"), errors);
        if seen.contains(&name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        if !name.is_empty() {
            seen.push(name);
        }
    }
}

fn qualified(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    errors.extend(names::qualified_name(name).into_iter().map(|why| Error::invalid(path, name, why)));
}

/// An expression of a certain result.
pub(super) fn check(
    compiler: &Compiler,
    text: &str,
    declared: Declared,
    returns: Returns,
    path: &Path,
    errors: &mut ErrorList,
) {
    if let Err(why) = compiler.compile(text, declared, returns) {
        errors.push(Error::invalid(path, text, why.to_string()));
    }
}

/// `variables` of a policy, which the expressions after them know.
pub(super) fn variables(
    compiler: &mut Compiler,
    spec: &Map,
    declared: Declared,
    path: &Path,
    errors: &mut ErrorList,
) {
    for (i, variable) in spec.items("variables").enumerate() {
        let at = path.child("variables").index(i);
        let (name, text) = (variable.text("name"), variable.text("expression"));
        if name.trim().is_empty() {
            errors.push(Error::required(&at.child("name"), "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(Error::invalid(&at.child("name"), name, "must be a valid CEL identifier"));
        }
        if text.trim().is_empty() {
            errors.push(Error::required(&at.child("expression"), "expression is not specified"));
        } else if let Err(why) = compiler.variable(name, text, declared) {
            errors.push(Error::invalid(&at.child("expression"), text, why.to_string()));
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let begins_well = name.starts_with(|c: char| !c.is_ascii_digit());
    begins_well && name.chars().all(word) && !cel::is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for (name, is) in [
            ("a", true),
            ("_a1", true),
            ("1a", false),
            ("in", false),
            ("a-b", false),
            ("", false),
            ("é", false),
        ] {
            assert_eq!(is_identifier(name), is, "{name}");
        }
    }

    #[test]
    fn conditions_by_name_number_and_type() {
        let found = |conditions: Value| {
            let mut errors = ErrorList::new();
            let of = api::value!({"matchConditions": (conditions)});
            match_conditions(of.as_map().unwrap(), false, &Path::new("w"), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let one = |name: &str, text: &str| api::value!({"name": name, "expression": text});
        assert!(found(Value::List(vec![one("a", "true"), one("b", "object != null")])).is_empty());
        assert_eq!(
            found(Value::List(vec![one("a", "true"), one("a", " "), one("", "1")])),
            [
                "w.matchConditions[1].expression: Required value",
                "w.matchConditions[1].name: Duplicate value: \"a\"",
                "w.matchConditions[2].expression: Invalid value: \"1\": must evaluate to bool but got int",
                "w.matchConditions[2].name: Required value",
            ]
        );
        let many: Vec<Value> = (0..65).map(|i| one(&format!("n{i}"), "true")).collect();
        assert_eq!(found(Value::List(many)), ["w.matchConditions: Too many: 65: must have at most 64 items"]);
    }
}
