//! Rules over objects and their old ones; the words are upstream's.

use api::{Value, value};

use super::{Rules, judge};

/// A schema whose `spec` has `rules`, an int `n`, a list `items` by `name` and a map `by`.
fn schema(rules: Value) -> Value {
    let item = value!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.n >= 0", "message": "negative"},
            {"rule": "self.n >= oldSelf.n", "message": "shrinks"}]});
    value!({"type": "object", "properties": {"spec": {"type": "object",
    "x-kubernetes-validations": rules,
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": (item.clone())},
        "by": {"type": "object", "additionalProperties": item},
    }}}})
}

/// Errors and warnings of `spec`.
fn said(rules: &Value, spec: &Value, old: Option<&Value>) -> (Vec<String>, Vec<String>) {
    let rules = Rules::compile(&schema(rules.clone())).expect("there are rules");
    let object = |spec: &Value| value!({"spec": (spec.clone())});
    let judged = judge(&rules, &object(spec), old.map(object).as_ref());
    (judged.errors.iter().map(ToString::to_string).collect(), judged.warnings)
}

#[test]
fn one_object() {
    let spec = value!({"n": 7, "s": "x"});
    let cases = [
        (value!({"rule": "self.n > 5"}), None),
        (value!({"rule": "self.n > 8"}), Some("spec: Invalid value: failed rule: self.n > 8")),
        (value!({"rule": "self.n > 8", "message": "few"}), Some("spec: Invalid value: few")),
        (
            value!({"rule": "self.n > 8", "message": "few", "messageExpression": "'only ' + string(self.n)"}),
            Some("spec: Invalid value: only 7"),
        ),
        (
            value!({"rule": "self.n > 8", "message": "few", "messageExpression": "self.s.substring(9)"}),
            Some("spec: Invalid value: few"),
        ),
        (
            value!({"rule": "self.n > 8", "message": "few", "reason": "FieldValueForbidden", "fieldPath": ".n"}),
            Some("spec.n: Forbidden: few"),
        ),
        (
            value!({"rule": "self.n > 8", "message": "few", "reason": "FieldValueRequired"}),
            Some("spec: Required value: few"),
        ),
        // Nothing was before.
        (value!({"rule": "self.n == oldSelf.n"}), None),
        (
            value!({"rule": "oldSelf.hasValue()", "message": "new", "optionalOldSelf": true}),
            Some("spec: Invalid value: new"),
        ),
        (
            value!({"rule": "self.n / 0 == 1"}),
            Some("spec: Invalid value: division by zero evaluating rule: self.n / 0 == 1"),
        ),
    ];
    for (rule, want) in cases {
        let (errors, warnings) = said(&value!([(rule.clone())]), &spec, None);
        assert_eq!(
            errors.iter().map(|e| e.replace("\"object\": ", "")).collect::<Vec<_>>(),
            want.into_iter().collect::<Vec<_>>(),
            "{rule:?}"
        );
        assert!(warnings.is_empty());
    }
}

#[test]
fn transitions_find_their_old_values() {
    let rules = value!([{"rule": "self.n >= oldSelf.n", "message": "less"}]);
    let item = |name: &str, n: i64| value!({"name": name, "n": n});
    let cases = [
        (value!({"n": 2}), value!({"n": 1}), vec![]),
        (value!({"n": 1}), value!({"n": 2}), vec!["spec"]),
        // Items by their key, wherever they stand.
        (
            value!({"n": 1, "items": [(item("a", 1)), (item("b", 2))]}),
            value!({"n": 1, "items": [(item("b", 3)), (item("a", 1))]}),
            vec!["spec.items[1]"],
        ),
        (value!({"n": 1, "items": [(item("c", 1))]}), value!({"n": 1, "items": [(item("a", 5))]}), vec![]),
        (
            value!({"n": 1, "by": {"k": (item("a", 1))}}),
            value!({"n": 1, "by": {"k": (item("a", 2))}}),
            vec!["spec.by[k]"],
        ),
    ];
    for (new, old, want) in cases {
        let (errors, _) = said(&rules, &new, Some(&old));
        let fields: Vec<&str> = errors.iter().map(|e| e.split(": ").next().unwrap()).collect();
        assert_eq!(fields, want, "{new:?} after {old:?}");
    }
}

#[test]
fn what_did_not_change_is_only_warned_of() {
    let rules = value!([{"rule": "self.n > 5", "message": "few"}]);
    let item = |n: i64| value!({"name": "a", "n": n});
    let cases = [
        (value!({"n": 1}), value!({"n": 1}), (0, 1)),
        (value!({"n": 1}), value!({"n": 2}), (1, 0)),
        (value!({"n": 9, "items": [(item(-1))]}), value!({"n": 8, "items": [(item(-1))]}), (0, 1)),
        (value!({"n": 9, "items": [(item(-1))]}), value!({"n": 8, "items": [(item(-2))]}), (1, 0)),
        (value!({"n": 9, "items": [(item(-1))]}), value!({"n": 9}), (1, 0)),
    ];
    for (new, old, want) in cases {
        let (errors, warnings) = said(&rules, &new, Some(&old));
        assert_eq!((errors.len(), warnings.len()), want, "{new:?} after {old:?}: {errors:?}, {warnings:?}");
    }
}

#[test]
fn a_spent_budget_ends_the_walk() {
    let rules = value!([
        {"rule": "self.items.all(a, self.items.all(b, self.items.all(c, a.n + b.n + c.n >= 0)))"},
        {"rule": "false"}]);
    let items: Vec<Value> = (0..300).map(|n| value!({"name": (n.to_string()), "n": n})).collect();
    let (errors, _) = said(&rules, &value!({"items": items}), None);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("no further validation rules will be run"), "{errors:?}");
}
