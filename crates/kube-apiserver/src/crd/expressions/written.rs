//! The rules of a definition when it is written: their form, their compilation where they stand, and their cost.

use api::Value;
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use cel::Schema;

use super::cost::{Cardinality, EXPRESSION, Total, exceeds};
use super::rule::{Rule, Scope};
use super::{VALIDATIONS, any, field_path, type_of};
use crate::crd::structural::{Additional, LIST_TYPE, MAP_TYPE, additional, properties};

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Checks all rules of a version's schema. `compile` is false where the schema itself has errors: what rules say of it
/// cannot be known then. `unchanged` schemas may cost what they did.
pub fn written(schema: &Value, path: &Path, compile: bool, unchanged: bool, errors: &mut ErrorList) {
    if !any(schema) {
        return;
    }
    let mut walk =
        Walk { errors: ErrorList::new(), found: ErrorList::new(), total: Total::default(), unchanged };
    let of = if compile { Schema::of_open_api(schema, true) } else { None };
    let place = Place { path: path.clone(), cardinality: Cardinality::ROOT, uncorrelatable: None };
    walk.node(schema, of.as_ref(), &place);
    errors.append(&mut walk.errors);
    errors.append(&mut walk.found);
    if compile {
        walk.total.check(path, errors);
    }
}

struct Place {
    path: Path,
    cardinality: Cardinality,
    /// The schema above whose parts cannot be told from one update to the next.
    uncorrelatable: Option<Path>,
}

struct Walk {
    /// Of form.
    errors: ErrorList,
    /// Of compiled expressions.
    found: ErrorList,
    total: Total,
    unchanged: bool,
}

impl Walk {
    fn node(&mut self, schema: &Value, of: Option<&Schema>, place: &Place) {
        let before = self.errors.len();
        let at = |path: Path, loses_old: bool| Place {
            path,
            cardinality: place.cardinality.below(schema),
            uncorrelatable: if loses_old { Some(place.path.clone()) } else { place.uncorrelatable.clone() },
        };
        let element = of.and_then(Schema::element);
        if let Additional::Of(values) = additional(schema) {
            self.node(values, element, &at(place.path.child("additionalProperties"), false));
        }
        let loses_old = !matches!(schema.str_at(&[MAP_TYPE]), "" | "granular" | "atomic");
        for (name, below) in properties(schema) {
            let of = of.and_then(|of| type_of(of, name, below));
            self.node(below, of.as_ref(), &at(place.path.child("properties").key(name), loses_old));
        }
        if let Some(items @ Value::Map(_)) = schema.get("items") {
            let loses_old = schema.str_at(&[LIST_TYPE]) != "map";
            self.node(items, element, &at(place.path.child("items"), loses_old));
        }
        let rules = schema.list_at(&[VALIDATIONS]);
        let path = place.path.child(VALIDATIONS);
        for (i, rule) in rules.iter().enumerate() {
            self.form(rule, schema, &path.index(i));
        }
        let Some(of) = of.filter(|_| !rules.is_empty() && self.errors.len() == before) else { return };
        let scope = Scope::new(of);
        for (i, value) in rules.iter().enumerate() {
            let rule = Rule::compile(value, schema, &scope);
            self.compiled(&rule, value, of, place, &path.index(i));
        }
    }

    fn form(&mut self, rule: &Value, schema: &Value, path: &Path) {
        let text = |key: &str| rule.str_at(&[key]);
        let (source, message) = (text("rule").trim(), text("message"));
        let broken = |text: &str| text.contains(['\n', '\r']);
        let mut refuse = |key: &str, why: &str| {
            self.errors.push(Error::invalid(&path.child(key), rule.str_at(&[key]), why));
        };
        if !message.is_empty() && message.trim().is_empty() && !source.is_empty() {
            refuse("message", "must be non-empty if specified");
        } else if broken(message.trim()) && !source.is_empty() {
            refuse("message", "must not contain line breaks");
        }
        let field = text("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            refuse("fieldPath", "must be non-empty if specified");
        }
        if broken(field) {
            refuse("fieldPath", "must not contain line breaks");
        }
        if !field.is_empty() && field_path::normalized(field, schema).is_none() {
            refuse("fieldPath", "must be a valid path");
        }
        let mut require = |key: &str, why: &str| {
            self.errors.push(Error::required(&path.child(key), why));
        };
        if source.is_empty() {
            require("rule", "rule is not specified");
        } else if broken(source) && message.trim().is_empty() && message.is_empty() {
            require("message", "message must be specified if rule contains line breaks");
        }
        let expression = text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            require("messageExpression", "messageExpression must be non-empty if specified");
        }
        let reason = text("reason");
        if rule.get("reason").is_some_and(|r| !r.is_null()) && !REASONS.contains(&reason) {
            self.errors.push(Error::not_supported(&path.child("reason"), reason, &REASONS));
        }
    }

    fn compiled(&mut self, rule: &Rule, value: &Value, of: &Schema, place: &Place, path: &Path) {
        let at = path.child("rule");
        let cost = place.cardinality.cost(rule.cost(), of.least);
        self.weigh("estimated rule cost", cost, &at);
        if let Some(Err(why)) = &rule.program {
            self.found.push(with_rule(&at, value, why));
        }
        let message = path.child("messageExpression");
        match &rule.message_program {
            Some(Err(why)) => self.found.push(with_rule(&message, value, why)),
            Some(Ok(program)) => {
                self.weigh("estimated messageExpression cost", program.estimate().max, &message);
            }
            None => {}
        }
        if let Some(above) = place.uncorrelatable.as_ref().filter(|_| rule.uses_old()) {
            let why =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {above}");
            self.found.push(Error::invalid(&at, value.str_at(&["rule"]), why));
        }
        if let Some(optional) = value.bool_at(&["optionalOldSelf"]).filter(|_| !rule.uses_old()) {
            let why = "may not be set if oldSelf is not used in rule";
            self.found.push(Error::invalid(&path.child("optionalOldSelf"), &optional, why));
        }
    }

    fn weigh(&mut self, what: &str, cost: u64, path: &Path) {
        if cost > EXPRESSION && !self.unchanged {
            self.found.push(Error::forbidden(path, exceeds(what, cost, EXPRESSION)));
        }
        self.total.add(path.clone(), cost);
    }
}

/// A fault of an expression shows the whole rule, as Go's internal struct.
fn with_rule(path: &Path, rule: &Value, why: &str) -> Error {
    let text = |key: &str| rule.str_at(&[key]).to_owned();
    let or_null = |key: &str| rule.get(key).filter(|v| !v.is_null()).cloned().unwrap_or_default();
    let shown = api::value!({
        "Rule": (text("rule")),
        "Message": (text("message")),
        "MessageExpression": (text("messageExpression")),
        "Reason": (or_null("reason")),
        "FieldPath": (text("fieldPath")),
        "OptionalOldSelf": (or_null("optionalOldSelf")),
    });
    let value = Some(api::json::to_string(&shown));
    Error { kind: ErrorType::Invalid, field: path.clone(), value, detail: why.into() }
}
