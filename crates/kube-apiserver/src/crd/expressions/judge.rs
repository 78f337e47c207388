//! Objects against their rules: each rule on each value of its place, with a budget for all, and without errors of what
//! an update did not change.

use api::Value;
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use cel::{Budget, EvalError, Value as Cel};

use super::Rules;
use super::rule::Rule;
use crate::crd::check::shown;
use crate::crd::correlate;

/// Bytes of a message that an expression made.
const MAX_MESSAGE: usize = 5 * 1024;
const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// What rules say of an object.
#[derive(Debug, Default)]
pub struct Judged {
    pub errors: ErrorList,
    /// Errors of what has not changed.
    pub warnings: Vec<String>,
}

/// Judges an object; `old` is what it replaces.
pub fn judge(rules: &Rules, object: &Value, old: Option<&Value>) -> Judged {
    let mut walk = Walk { judged: Judged::default(), budget: Budget::default(), updates: old.is_some() };
    let place = Place { path: Path::default(), value: object, old, unchanged_above: false };
    // The end of the walk by a spent budget is in its errors.
    let _ = walk.node(rules, place);
    walk.judged
}

/// One value on the way.
#[derive(Clone)]
struct Place<'a> {
    path: Path,
    value: &'a Value,
    /// What it was.
    old: Option<&'a Value>,
    /// No old value is known to be this one, but the nearest one above it that is has not changed.
    unchanged_above: bool,
}

/// No further rule is run.
struct Stop;

struct Walk {
    judged: Judged,
    budget: Budget,
    updates: bool,
}

impl<'a> Place<'a> {
    fn below(&self, rules: &Rules, path: Path, value: &'a Value, old: Option<&'a Value>) -> Self {
        let unchanged_above = match (old, self.old) {
            (None, Some(above)) => correlate::equal(&rules.schema, self.value, above),
            _ => self.unchanged_above,
        };
        Self { path, value, old, unchanged_above }
    }

    /// An error here is about something that was so before.
    fn is_unchanged(&self, rules: &Rules) -> bool {
        match self.old {
            Some(old) => correlate::equal(&rules.schema, self.value, old),
            None => self.unchanged_above,
        }
    }
}

impl Walk {
    fn node(&mut self, rules: &Rules, place: Place<'_>) -> Result<(), Stop> {
        if place.value.is_null() {
            return Ok(());
        }
        let mut unchanged = None;
        for rule in &rules.rules {
            if self.budget.left == 0 {
                self.refuse(rules, &place.path, SPENT.into());
                return Err(Stop);
            }
            self.rule(rules, rule, &place, &mut unchanged)?;
        }
        match place.value {
            Value::Map(map) => {
                for (name, value) in map.iter() {
                    let old = place.old.and_then(|old| old.get(name));
                    if let Some(below) = &rules.additional {
                        self.node(below, place.below(rules, place.path.key(name), value, old))?;
                    }
                    if let Some(below) = rules.properties.get(name.as_str()) {
                        self.node(below, place.below(rules, place.path.child(name), value, old))?;
                    }
                }
            }
            Value::List(list) => {
                let Some(below) = &rules.items else { return Ok(()) };
                for (i, value) in list.iter().enumerate() {
                    let old = place.old.and_then(|old| correlate::item(&rules.schema, old, value));
                    self.node(below, place.below(rules, place.path.index(i), value, old))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn refuse(&mut self, rules: &Rules, path: &Path, detail: String) {
        self.judged.errors.push(Error::invalid(path, rules.kind.as_str(), detail));
    }

    fn rule(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        place: &Place<'_>,
        unchanged: &mut Option<bool>,
    ) -> Result<(), Stop> {
        let program = match &rule.program {
            None => return Ok(()),
            Some(Err(why)) => {
                self.refuse(rules, &place.path, format!("rule compile error: {why}"));
                return Ok(());
            }
            Some(Ok(program)) => program,
        };
        let old = place.old.filter(|old| !old.is_null());
        if rule.uses_old() && old.is_none() && !rule.optional {
            return Ok(());
        }
        let variables = variables(rules, rule, place.value, old);
        let evaluated = match &variables {
            Ok(variables) => program.evaluate(variables, &mut self.budget),
            Err(why) => Err(why.clone()),
        };
        match evaluated {
            Ok(value) if value.as_bool() == Some(true) => return Ok(()),
            Ok(_) => {}
            Err(EvalError::BudgetSpent) => {
                self.refuse(rules, &place.path, SPENT.into());
                return Err(Stop);
            }
            Err(EvalError::CostLimit) => {
                let detail = format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    EvalError::CostLimit,
                    rule.words()
                );
                self.refuse(rules, &place.path, detail);
                return Err(Stop);
            }
            Err(why) => {
                self.refuse(rules, &place.path, failure(&why, rule));
                return Ok(());
            }
        }
        let ratcheted =
            self.updates && !rule.uses_old() && *unchanged.get_or_insert_with(|| place.is_unchanged(rules));
        let path = rule.field.as_ref().map_or_else(|| place.path.clone(), |f| place.path.child(f.as_str()));
        let (error, stop) = match &variables {
            Ok(variables) => self.error(rules, rule, place.value, &path, variables),
            Err(_) => return Ok(()),
        };
        if ratcheted {
            self.judged.warnings.push(error.to_string());
        } else {
            self.judged.errors.push(error);
        }
        if stop { Err(Stop) } else { Ok(()) }
    }

    /// The error of a rule that is false; true: its message has spent the budget.
    fn error(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        value: &Value,
        path: &Path,
        variables: &[(&str, Cel<'_>); 2],
    ) -> (Error, bool) {
        let made = match &rule.message_program {
            Some(Ok(program)) => program.evaluate(variables, &mut self.budget),
            _ => Err(EvalError::runtime("")),
        };
        let detail = match made {
            Err(EvalError::BudgetSpent) => {
                let detail = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                return (Error::invalid(path, rules.kind.as_str(), detail), true);
            }
            Err(EvalError::CostLimit) => {
                let detail = format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                    rule.message_text
                );
                return (Error::invalid(path, rules.kind.as_str(), detail), true);
            }
            made => message(made.ok().as_ref().and_then(Cel::as_str), rule),
        };
        let bare = matches!(rules.kind.as_str(), "object" | "array");
        (refusal(&rule.reason, path, (!bare).then(|| shown(value)), detail), false)
    }
}

fn failure(why: &EvalError, rule: &Rule) -> String {
    let text = why.to_string();
    if text.starts_with("no such overload") {
        return format!(
            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: {}",
            rule.words()
        );
    }
    format!("{text} evaluating rule: {}", rule.words())
}

/// What the expression has made, if it is fit to be shown, or what the rule says.
fn message(made: Option<&str>, rule: &Rule) -> String {
    let made = made.map(str::trim).unwrap_or_default();
    if !made.is_empty() && made.len() <= MAX_MESSAGE && !made.contains('\n') {
        return made.to_owned();
    }
    if rule.message.is_empty() { format!("failed rule: {}", rule.text) } else { rule.message.clone() }
}

fn refusal(reason: &str, path: &Path, value: Option<String>, detail: String) -> Error {
    let (kind, value, detail) = match reason {
        "FieldValueForbidden" => (ErrorType::Forbidden, None, detail),
        "FieldValueRequired" => (ErrorType::Required, None, detail),
        "FieldValueDuplicate" => (ErrorType::Duplicate, value, String::new()),
        _ => (ErrorType::Invalid, value, detail),
    };
    Error { kind, field: path.clone(), value, detail }
}

/// `self` and `oldSelf`, which is an optional where the rule says so.
fn variables<'a>(
    rules: &'a Rules,
    rule: &Rule,
    value: &'a Value,
    old: Option<&'a Value>,
) -> Result<[(&'static str, Cel<'a>); 2], EvalError> {
    let of = |value: &'a Value| Cel::of(value, &rules.of);
    let before = old.filter(|_| rule.uses_old()).map(of).transpose()?;
    let before = if rule.optional { Cel::optional(before) } else { before.unwrap_or(Cel::Null) };
    Ok([("self", of(value)?), ("oldSelf", before)])
}
