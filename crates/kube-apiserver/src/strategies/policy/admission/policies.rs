//! ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings: what may be written.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use policy::{Compiler, Declared, Returns};

use super::expressions::{check, match_conditions, variables};
use super::matching::{match_resources, mutating_operations, param_kind, param_ref};
use crate::strategies::fields::{Fields, map_at, same};
use crate::strategies::names;
use crate::strategies::validation::{Json, one_of};

const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION_EXPRESSION: usize = 5 * 1024;
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];

fn spec_of(object: &Value) -> &Map {
    map_at(object, &["spec"])
}

/// Conditions that nothing has changed were fit once and stay.
fn conditions_may_have_broken(new: &Value, old: &Value) -> bool {
    let differs = |key: &str| !same(spec_of(new).get(key), spec_of(old).get(key));
    differs("paramKind") || differs("matchConditions")
}

fn declared(spec: &Map) -> Declared {
    Declared { params: spec.has("paramKind"), authorizer: true, patch: false }
}

/// What both kinds of policies have.
fn policy(spec: &Map, path: &Path, conditions: bool, errors: &mut ErrorList) {
    one_of(errors, spec.text("failurePolicy"), &["Fail", "Ignore"], &path.child("failurePolicy"), true);
    if let Some(kind) = spec.sub("paramKind") {
        param_kind(kind, &path.child("paramKind"), errors);
    }
    let at = path.child("matchConstraints");
    match spec.sub("matchConstraints") {
        None => errors.push(Error::required(&at, "")),
        Some(of) => {
            match_resources(of, &at, errors);
            if of.list("resourceRules").is_empty() {
                errors.push(Error::required(&at.child("resourceRules"), ""));
            }
        }
    }
    if conditions {
        match_conditions(spec, spec.has("paramKind"), path, errors);
    }
}

pub(super) fn validating(object: &Value, errors: &mut ErrorList) {
    validating_policy(object, true, errors);
}

pub(super) fn validating_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    validating_policy(new, conditions_may_have_broken(new, old), errors);
}

fn validating_policy(object: &Value, conditions: bool, errors: &mut ErrorList) {
    let (spec, path) = (spec_of(object), Path::new("spec"));
    policy(spec, &path, conditions, errors);
    let mut compiler = Compiler::default();
    variables(&mut compiler, spec, declared(spec), &path, errors);
    let (validations, annotations) = (spec.list("validations"), spec.list("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.push(Error::required(&path.child("validations"), why));
        errors.push(Error::required(&path.child("auditAnnotations"), why));
        return;
    }
    for (i, of) in spec.items("validations").enumerate() {
        validation(&compiler, of, declared(spec), &path.child("validations").index(i), errors);
    }
    audit_annotations(&compiler, object, &path.child("auditAnnotations"), errors);
}

fn validation(compiler: &Compiler, of: &Map, declared: Declared, path: &Path, errors: &mut ErrorList) {
    let text = of.text("expression");
    let at = path.child("expression");
    if text.trim().is_empty() {
        errors.push(Error::required(&at, "expression is not specified"));
    } else {
        check(compiler, text, declared, Returns::Bool, &at, errors);
    }
    let (text, at) = (of.text("messageExpression"), path.child("messageExpression"));
    if !text.is_empty() && text.trim().is_empty() {
        errors.push(Error::invalid(&at, text, "must be non-empty if specified"));
    } else if !text.is_empty() {
        let declared = Declared { authorizer: false, ..declared };
        check(compiler, text, declared, Returns::String, &at, errors);
    }
    let (text, at) = (of.text("message"), path.child("message"));
    if !text.is_empty() && text.trim().is_empty() {
        errors.push(Error::invalid(&at, text, "must be non-empty if specified"));
    } else if text.trim().contains(['\n', '\r']) {
        errors.push(Error::invalid(&at, text, "must not contain line breaks"));
    }
    if of.has("reason") {
        one_of(errors, of.text("reason"), &REASONS, &path.child("reason"), false);
    }
}

fn audit_annotations(compiler: &Compiler, object: &Value, path: &Path, errors: &mut ErrorList) {
    let spec = spec_of(object);
    let all = spec.list("auditAnnotations");
    if all.len() > MAX_ANNOTATIONS {
        let why = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(Error::invalid(path, &Json(&Value::List(all.to_vec())), why));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (i, of) in spec.items("auditAnnotations").enumerate() {
        let at = path.index(i);
        let key = of.text("key");
        let name = format!("{}/{key}", object.name());
        if object.name().is_empty() {
            let why = "requires metadata.name be non-empty";
            errors.push(Error::invalid(&at.child("key"), key, why));
        } else {
            let wrong = names::qualified_name(&name);
            errors.extend(wrong.into_iter().map(|why| Error::invalid(&at.child("key"), &name, why)));
        }
        annotation_value(compiler, of, declared(spec), &at.child("valueExpression"), errors);
        if seen.contains(&key) {
            errors.push(Error::duplicate(&at.child("key"), key));
        }
        seen.push(key);
    }
}

fn annotation_value(compiler: &Compiler, of: &Map, declared: Declared, path: &Path, errors: &mut ErrorList) {
    let whole = of.text("valueExpression");
    let text = whole.trim();
    if text.is_empty() {
        errors.push(Error::required(path, "valueExpression is not specified"));
    } else if text.len() > MAX_ANNOTATION_EXPRESSION {
        let why = format!("must not exceed {MAX_ANNOTATION_EXPRESSION} bytes in length");
        errors.push(Error::required(path, why));
    } else if let Err(why) = compiler.compile(text, declared, Returns::StringOrNull) {
        errors.push(Error::invalid(path, whole, why.to_string()));
    }
}

pub(super) fn mutating(object: &Value, errors: &mut ErrorList) {
    mutating_policy(object, true, errors);
}

pub(super) fn mutating_update(new: &Value, old: &Value, errors: &mut ErrorList) {
    mutating_policy(new, conditions_may_have_broken(new, old), errors);
}

fn mutating_policy(object: &Value, conditions: bool, errors: &mut ErrorList) {
    let (spec, path) = (spec_of(object), Path::new("spec"));
    policy(spec, &path, conditions, errors);
    if let Some(of) = spec.sub("matchConstraints") {
        mutating_operations(of, &path.child("matchConstraints"), errors);
    }
    let mut compiler = Compiler::default();
    variables(&mut compiler, spec, declared(spec), &path, errors);
    if spec.list("mutations").is_empty() {
        errors.push(Error::required(&path.child("mutations"), "mutations must contain at least one item"));
    }
    for (i, of) in spec.items("mutations").enumerate() {
        mutation(&compiler, of, declared(spec), &path.child("mutations").index(i), errors);
    }
    let (at, known) = (path.child("reinvocationPolicy"), ["IfNeeded", "Never"]);
    one_of(errors, spec.text("reinvocationPolicy"), &known, &at, true);
}

fn mutation(compiler: &Compiler, of: &Map, declared: Declared, path: &Path, errors: &mut ErrorList) {
    let kinds = [
        ("ApplyConfiguration", "applyConfiguration", Returns::Object),
        ("JSONPatch", "jsonPatch", Returns::JsonPatches),
    ];
    let given = of.text("patchType");
    one_of(errors, given, &kinds.map(|(kind, ..)| kind), &path.child("patchType"), true);
    let Some((kind, key, returns)) = kinds.into_iter().find(|(kind, ..)| *kind == given) else { return };
    let at = path.child(key);
    match of.sub(key) {
        None => {
            errors.push(Error::required(&at, format!("must be specified when patchType is {kind}")));
        }
        Some(of) => {
            let (text, at) = (of.text("expression").trim(), at.child("expression"));
            if text.is_empty() {
                errors.push(Error::required(&at, ""));
            } else {
                check(compiler, text, Declared { patch: true, ..declared }, returns, &at, errors);
            }
        }
    }
    for (_, other, _) in kinds.into_iter().filter(|(_, other, _)| *other != key && of.has(other)) {
        let why = format!("must not be specified when patchType is {kind}");
        errors.push(Error::invalid(&path.child(other), format!("{{{other}}}").as_str(), why));
    }
}

fn policy_name(spec: &Map, path: &Path, errors: &mut ErrorList) {
    let (name, at) = (spec.text("policyName"), path.child("policyName"));
    let wrong = names::dns1123_subdomain(name);
    if !name.is_empty() {
        errors.extend(wrong.into_iter().map(|why| Error::invalid(&at, name, why)));
    }
}

fn binding(spec: &Map, path: &Path, errors: &mut ErrorList) {
    policy_name(spec, path, errors);
    param_ref(spec, path, errors);
    if let Some(of) = spec.sub("matchResources") {
        match_resources(of, &path.child("matchResources"), errors);
    }
}

/// That there is a policyName and an action, the table says.
pub(super) fn validating_binding(object: &Value, errors: &mut ErrorList) {
    let (spec, path) = (spec_of(object), Path::new("spec"));
    binding(spec, &path, errors);
    let at = path.child("validationActions");
    let actions: Vec<&str> = spec.list("validationActions").iter().filter_map(Value::as_str).collect();
    for (i, action) in actions.iter().copied().enumerate() {
        one_of(errors, action, &["Audit", "Deny", "Warn"], &at.index(i), true);
        if actions[..i].contains(&action) {
            errors.push(Error::duplicate(&at.index(i), action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        let list = Value::List(spec.list("validationActions").to_vec());
        errors.push(Error::invalid(&at, &Json(&list), why));
    }
}

pub(super) fn mutating_binding(object: &Value, errors: &mut ErrorList) {
    let (spec, path) = (spec_of(object), Path::new("spec"));
    if spec.text("policyName").is_empty() {
        errors.push(Error::required(&path.child("policyName"), ""));
    }
    binding(spec, &path, errors);
    if let Some(of) = spec.sub("matchResources") {
        mutating_operations(of, &path.child("matchResources"), errors);
    }
}

/// What the status controller writes.
pub(super) fn status(object: &Value, _: &Value, errors: &mut ErrorList) {
    let path = Path::new("status").child("typeChecking").child("expressionWarnings");
    let warnings = object.list_at(&["status", "typeChecking", "expressionWarnings"]);
    for (i, warning) in warnings.iter().filter_map(Value::as_map).enumerate() {
        if warning.text("warning").is_empty() {
            errors.push(Error::required(&path.index(i).child("warning"), ""));
        }
        let (field, at) = (warning.text("fieldRef").trim(), path.index(i).child("fieldRef"));
        if field.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if let Err(error) = api::jsonpath::JsonPath::parse(&format!(".{field}")) {
            errors.push(Error::invalid(&at, field, format!("invalid JSONPath: {error}")));
        }
    }
}
