//! The engine of declarative rules: what upstream's generated validation does with the `+k8s:` markers of the
//! table, in its words. Unchanged data is not looked at again (ratcheting), a missing value ends the look at its
//! field, and items are compared with the old ones that have the same keys.
//!
//! Deliberately absent: validation that upstream writes by hand (strategies), and the schemas of custom resources.

mod check;
#[cfg(test)]
mod tests;
mod union;

use apimachinery::field::{Error, ErrorList, Path, Shown};

use crate::json;
use crate::schema::{Level, Node, Rule, RuleSet, Shape, Special, Type};
use crate::value::{Map, Value};

/// What the rules depend on beside the values.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// DeclarativeValidationBeta.
    pub beta: bool,
    /// Whether a feature gate is on.
    pub enabled: &'a (dyn Fn(&str) -> bool + Sync),
}

impl Options<'static> {
    /// Every gate as a default server has it.
    pub fn defaults() -> Self {
        fn on(gate: &str) -> bool {
            crate::resources::gates().any(|g| g.name == gate && g.on)
        }
        Self { beta: true, enabled: &on }
    }
}

/// Checks an object of a type; `old` is what an update replaces.
pub fn validate(value: &Value, old: Option<&Value>, of: &Type, options: Options<'_>) -> ErrorList {
    let mut walk = Walk { options, update: old.is_some(), errors: ErrorList::new() };
    if of.has_rules() {
        walk.structure(&Path::default(), of, value, old);
    }
    walk.errors
}

/// A value as messages show it.
pub(crate) struct Seen<'a>(pub &'a Value, pub Option<&'a Node>);

impl Shown for Seen<'_> {
    fn shown(&self) -> String {
        match (self.0, self.1.map(|n| &n.shape)) {
            (Value::String(s), _) => s.as_str().shown(),
            (value, Some(Shape::Struct(of))) => {
                let mut out = Vec::new();
                json::write(&mut out, value, of);
                String::from_utf8(out).unwrap_or_default()
            }
            (value, _) => json::to_string(value),
        }
    }
}

impl Shown for Value {
    fn shown(&self) -> String {
        Seen(self, None).shown()
    }
}

struct Walk<'a> {
    options: Options<'a>,
    update: bool,
    errors: ErrorList,
}

/// One place that rules look at.
struct Place<'a> {
    path: &'a Path,
    node: &'a Node,
    value: &'a Value,
    old: Option<&'a Value>,
}

/// Nothing set: what Go holds in a field that is nil or zero.
fn is_unset(node: &Node, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    if node.pointer {
        return false;
    }
    match value {
        Value::Bool(b) => !b,
        Value::Int(n) => *n == 0,
        Value::Float(n) => *n == 0.0,
        Value::String(s) => {
            s.is_empty() || matches!(node.shape, Shape::Special(Special::Quantity)) && s == "0"
        }
        Value::List(l) => l.is_empty(),
        Value::Map(m) => {
            m.is_empty()
                || matches!(&node.shape, Shape::Struct(of) if m.iter().all(|(k, v)| {
                    of.field(k).is_none_or(|f| is_unset(&f.node, v))
                }))
        }
        Value::Raw(text) => text.is_empty(),
        Value::Null => true,
    }
}

/// Equal as Go's semantic equality has it: an empty list or map is none.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::List(l)) | (Value::List(l), Value::Null) => l.is_empty(),
        (Value::Null, Value::Map(m)) | (Value::Map(m), Value::Null) => m.is_empty(),
        _ => a == b,
    }
}

static NULL: Value = Value::Null;

fn get<'a>(map: Option<&'a Map>, key: &str) -> &'a Value {
    map.and_then(|m| m.get(key)).unwrap_or(&NULL)
}

impl Walk<'_> {
    fn structure(&mut self, path: &Path, of: &Type, value: &Value, old: Option<&Value>) {
        let rules = of.rules();
        union::check(self, path, of, value.as_map(), old);
        self.modes(path, of, value, old);
        let before = old.map(|o| o.as_map());
        for (at, field) in of.fields.iter().enumerate() {
            let set = rules.of(at);
            if set.is_none_or(|s| s.rules.is_empty()) && !self.goes_below(&field.node) {
                continue;
            }
            let path = path.child(&field.name);
            let value = get(value.as_map(), &field.name);
            let old = before.map(|b| get(b, &field.name));
            let place = Place { path: &path, node: &field.node, value, old };
            self.place(&place, set);
        }
    }

    fn goes_below(&self, node: &Node) -> bool {
        node.leaf().as_struct().is_some_and(Type::has_rules)
    }

    /// The rules that are in force now, without their conditions.
    fn rules<'r>(&self, set: &'r RuleSet) -> Vec<(&'r Rule, Level)> {
        let mut out = Vec::new();
        for stated in &set.rules {
            if stated.level == Level::Beta && !self.options.beta {
                continue;
            }
            let mut rule = &stated.rule;
            loop {
                match rule {
                    Rule::IfEnabled(gate, inner) if (self.options.enabled)(gate) => rule = inner,
                    Rule::IfDisabled(gate, inner) if !(self.options.enabled)(gate) => rule = inner,
                    Rule::IfEnabled(..) | Rule::IfDisabled(..) | Rule::IfMode(..) => break,
                    _ => {
                        out.push((rule, stated.level));
                        break;
                    }
                }
            }
        }
        out
    }

    fn place(&mut self, place: &Place<'_>, set: Option<&RuleSet>) {
        if self.update && place.old.is_some_and(|old| same(place.value, old)) {
            return;
        }
        let rules = set.map(|s| self.rules(s)).unwrap_or_default();
        if self.ends_early(place, &rules) {
            return;
        }
        for (rule, level) in &rules {
            if *level != Level::Alpha {
                check::rule(self, place, rule, &rules);
            }
        }
        if rules.iter().any(|(r, _)| matches!(r, Rule::Opaque)) {
            return;
        }
        self.below(place, &rules);
    }

    /// Rules after whose failure (or whose verdict that there is nothing) no other is looked at.
    fn ends_early(&mut self, place: &Place<'_>, rules: &[(&Rule, Level)]) -> bool {
        let unset = is_unset(place.node, place.value);
        let mut ends = false;
        for (rule, level) in rules {
            let before = self.errors.len();
            match rule {
                Rule::Required if unset => self.errors.push(Error::required(place.path, "")),
                Rule::Forbidden if !unset => self.errors.push(Error::forbidden(place.path, "")),
                Rule::Optional | Rule::Forbidden if unset => ends = true,
                Rule::Immutable if self.update => {
                    self.errors.push(Error::invalid(place.path, &NULL, "field is immutable"));
                }
                Rule::MaxItems(max) => {
                    let n = place.value.as_list().map_or(0, <[Value]>::len);
                    if n > *max {
                        self.errors.push(Error::too_many(place.path, n, *max));
                    }
                }
                Rule::Update(update) => check::update(self, place, *update, rules),
                _ => {}
            }
            if self.errors.len() > before {
                ends = true;
                if *level == Level::Alpha {
                    self.errors.truncate(before);
                }
            }
        }
        ends
    }

    fn below(&mut self, place: &Place<'_>, rules: &[(&Rule, Level)]) {
        if place.value.is_null() || !self.goes_below(place.node) {
            return;
        }
        match (&place.node.shape, place.value) {
            (Shape::Struct(of), Value::Map(_)) => self.structure(place.path, of, place.value, place.old),
            (Shape::List(inner), Value::List(list)) => {
                for (at, item) in list.iter().enumerate() {
                    let old = check::counterpart(item, place.old, place.node, rules);
                    if self.update && old.is_some_and(|o| same(item, o)) {
                        continue;
                    }
                    let path = place.path.index(at);
                    self.below(&Place { path: &path, node: inner, value: item, old }, &[]);
                }
            }
            (Shape::Map(inner), Value::Map(map)) => {
                for (key, item) in map {
                    let old = place.old.and_then(|o| o.get(key));
                    if self.update && old.is_some_and(|o| same(item, o)) {
                        continue;
                    }
                    let path = place.path.key(key);
                    self.below(&Place { path: &path, node: inner, value: item, old }, &[]);
                }
            }
            _ => {}
        }
    }

    /// Fields that a discriminator allows, demands or forbids (`ifMode`).
    fn modes(&mut self, path: &Path, of: &Type, value: &Value, old: Option<&Value>) {
        let rules = of.rules();
        let is_mode = |set: &RuleSet| set.rules.iter().any(|s| s.rule == Rule::ModeDiscriminator);
        let Some((at, _)) = rules.fields.iter().find(|(_, set)| is_mode(set)) else { return };
        let mode_field = &of.fields[*at].name;
        let mode = get(value.as_map(), mode_field).as_str().unwrap_or_default();
        for (at, set) in &rules.fields {
            let modes = set.rules.iter().filter(|s| s.level != Level::Beta || self.options.beta);
            let modes: Vec<(&str, &Rule)> = modes
                .filter_map(|s| {
                    if let Rule::IfMode(mode, rule) = &s.rule { Some((*mode, &**rule)) } else { None }
                })
                .collect();
            if modes.is_empty() {
                continue;
            }
            let field = &of.fields[*at];
            let now = get(value.as_map(), &field.name);
            let before = old.map(|o| (get(o.as_map(), &field.name), get(o.as_map(), mode_field)));
            if self.update
                && before.is_some_and(|(o, m)| same(now, o) && m.as_str().unwrap_or_default() == mode)
            {
                continue;
            }
            let unset = is_unset(&field.node, now);
            let path = path.child(&field.name);
            match modes.iter().find(|(m, _)| *m == mode).map(|(_, rule)| rule) {
                Some(Rule::Required) if unset => self.errors.push(Error::required(&path, "")),
                Some(_) => {}
                None if !unset => self.errors.push(Error::forbidden(&path, "")),
                None => {}
            }
        }
    }
}
