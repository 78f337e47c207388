//! Policies and conditions over tables of requests; the words are upstream's.

use api::{Value, value};

use crate::typecheck::{self, Typed};
use crate::validating::{Annotation, Verdict};
use crate::{Conditions, Input, Match, Mutating, Patch, Validating};

fn deployment(replicas: i64) -> Value {
    value!({"metadata": {"name": "web"}, "spec": {"replicas": replicas}})
}

/// A validation of `spec.replicas`, where `more` stands beside the expression.
fn judged(spec: Value, input: &Input<'_>) -> crate::Outcome {
    Validating::compile(&value!({"spec": spec})).judge(input)
}

fn deny(message: &str, reason: &str) -> Verdict {
    Verdict::Deny { message: message.into(), reason: reason.into() }
}

#[test]
fn validations_say_upstreams_words() {
    let object = deployment(7);
    let input = Input { object: Some(&object), ..Input::default() };
    let cases = [
        (value!({"expression": "object.spec.replicas <= 10"}), Verdict::Admit),
        (
            value!({"expression": " object.spec.replicas <= 5 "}),
            deny("failed expression: object.spec.replicas <= 5", ""),
        ),
        (
            value!({"expression": "object.spec.replicas <= 5", "message": " few ", "reason": "Forbidden"}),
            deny("few", "Forbidden"),
        ),
        (
            value!({"expression": "false", "message": "few",
                "messageExpression": "'have ' + string(object.spec.replicas)"}),
            deny("have 7", ""),
        ),
        // A message that fails, is empty or has lines is not shown.
        (
            value!({"expression": "false", "message": "few", "messageExpression": "object.none"}),
            deny("few", ""),
        ),
        (value!({"expression": "false", "message": "few", "messageExpression": "' '"}), deny("few", "")),
        (value!({"expression": "false", "message": "few", "messageExpression": "'a\\nb'"}), deny("few", "")),
        (
            value!({"expression": "object.none == 1", "message": "few"}),
            deny("expression 'object.none == 1' resulted in error: no such key: none", ""),
        ),
        (
            value!({"expression": "oldObject == null && request == null && namespaceObject == null"}),
            Verdict::Admit,
        ),
    ];
    for (validation, want) in cases {
        let out = judged(value!({"validations": [(validation.clone())]}), &input);
        assert_eq!(out.verdicts, [want], "{validation:?}");
    }
}

#[test]
fn failures_follow_the_policy() {
    let object = deployment(7);
    let input = Input { object: Some(&object), ..Input::default() };
    for (expression, ignored) in [("object.none == 1", true), ("1 +", true), ("false", false)] {
        let spec = value!({"failurePolicy": "Ignore", "validations": [{"expression": expression}]});
        let out = judged(spec, &input);
        assert_eq!(out.verdicts == [Verdict::Admit], ignored, "{expression}");
    }
    let out = judged(value!({"validations": [{"expression": "1 +"}]}), &input);
    let [Verdict::Deny { message, .. }] = &out.verdicts[..] else { panic!("{out:?}") };
    assert!(message.contains("compilation error"), "{message}");
}

#[test]
fn variables_are_worked_out_when_read() {
    let object = deployment(7);
    let input = Input { object: Some(&object), ..Input::default() };
    let spec = value!({
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "twice", "expression": "variables.replicas * 2"},
            {"name": "bad", "expression": "object.none"},
        ],
        "validations": [
            {"expression": "variables.twice == 14"},
            {"expression": "variables.bad == 1"},
            {"expression": "variables.twice == 15", "messageExpression": "'is ' + string(variables.twice)"},
        ],
    });
    let bad = "expression 'variables.bad == 1' resulted in error: composited variable \"bad\" fails to evaluate: \
               no such key: none";
    assert_eq!(judged(spec, &input).verdicts, [Verdict::Admit, deny(bad, ""), deny("is 14", "")]);
}

#[test]
fn a_budget_is_shared() {
    let numbers: Vec<Value> = (0..400).map(Value::from).collect();
    let object = value!({"list": numbers});
    let input = Input { object: Some(&object), ..Input::default() };
    let long = "object.list.all(a, object.list.all(b, a + b >= 0))";
    let many: Vec<Value> = (0..30).map(|_| value!({"expression": long})).collect();
    let out = judged(value!({"validations": many}), &input);
    let [Verdict::Deny { message, .. }] = &out.verdicts[..] else { panic!("{out:?}") };
    assert!(message.contains("no further validation rules will be run"), "{message}");
}

#[test]
fn annotations_publish_what_has_a_value() {
    let object = deployment(7);
    let input = Input { object: Some(&object), ..Input::default() };
    let annotations = value!([
        {"key": "many", "valueExpression": "object.spec.replicas > 5 ? ' many ' : ''"},
        {"key": "few", "valueExpression": "object.spec.replicas < 5 ? 'few' : ''"},
        {"key": "bad", "valueExpression": "string(object.none)"},
    ]);
    let out = judged(value!({"auditAnnotations": annotations}), &input);
    let [Annotation::Publish { key, value }, Annotation::Failed(_)] = &out.annotations[..] else {
        panic!("{out:?}")
    };
    assert_eq!((&**key, &**value), ("many", "many"));
}

#[test]
fn conditions_decide_before_errors_do() {
    let object = deployment(7);
    let (yes, no, bad) = ("object.spec.replicas == 7", "object.spec.replicas == 8", "object.none == 1");
    let failed = Match::Failed("expression 'object.none == 1' resulted in error: no such key: none".into());
    let cases = [
        (vec![], false, Match::Yes),
        (vec![yes], false, Match::Yes),
        (vec![yes, no], false, Match::No(Some("c1".into()))),
        (vec![bad, no], false, Match::No(Some("c1".into()))),
        (vec![yes, bad], false, failed),
        (vec![yes, bad], true, Match::No(None)),
    ];
    for (expressions, ignore, want) in cases {
        let list: Vec<Value> = expressions
            .iter()
            .enumerate()
            .map(|(i, text)| value!({"name": (format!("c{i}")), "expression": (*text)}))
            .collect();
        let input = Input { object: Some(&object), ..Input::default() };
        assert_eq!(Conditions::compile(&list, false).judge(input, ignore), want, "{expressions:?}");
    }
}

#[test]
fn mutations_make_patches() {
    let object = deployment(7);
    let input = Input { object: Some(&object), ..Input::default() };
    let apply =
        |text: &str| value!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}});
    let json = |text: &str| value!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}});
    let patched = |mutation: Value| {
        let policy = Mutating::compile(&value!({"spec": {"mutations": [mutation]}}));
        policy.patch(0, &input)
    };
    let cases = [
        (
            apply("Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"),
            Ok(Patch::Apply(value!({"spec": {"replicas": 8}}))),
        ),
        (
            json("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a': 'b'}}]"),
            Ok(Patch::Json(vec![
                value!({"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}),
            ])),
        ),
(json("[]"), Err("must evaluate to list(JSONPatch) but got list(dyn)".into())),
        (
            apply("Object{spec: Object.other{replicas: 1}}"),
            Err("type mismatch: unexpected type name \"Object.other\", expected \"Object.spec\", which matches \
                 field name path from root Object type"
                .to_owned()),
        ),
    ];
    for (mutation, want) in cases {
        assert_eq!(patched(mutation.clone()), want, "{mutation:?}");
    }
    assert!(patched(apply("object.none")).is_err());
}

#[test]
fn kinds_without_wildcards_are_checked() {
    let rule = |groups: Value, versions: Value, resources: Value| {
        value!({"spec": {"matchConstraints": {"resourceRules":
            [{"apiGroups": groups, "apiVersions": versions, "resources": resources}]}}})
    };
    let names = |policy: Value| -> Vec<String> {
        typecheck::wanted(&policy).into_iter().map(|(g, v, r)| format!("{g}/{v}/{r}")).collect()
    };
    assert_eq!(
        names(rule(value!(["apps"]), value!(["v1"]), value!(["replicasets", "deployments", "pods/exec"]))),
        ["apps/v1/deployments", "apps/v1/replicasets"]
    );
    assert!(names(rule(value!(["*"]), value!(["v1"]), value!(["pods"]))).is_empty());
    assert!(names(rule(value!([""]), value!(["v1"]), value!(["*"]))).is_empty());
}

#[test]
fn types_are_warned_of() {
    let of = api::schema::by_gvk("apps", "v1", "Deployment").expect("a kind of the table");
    let schema = cel::Schema::object(cel::Object::of_table(&of));
    let kind = apimachinery::GroupVersionKind::new("apps", "v1", "Deployment");
    let mut kinds = vec![Typed { kind, schema }];
    let policy = value!({"spec": {"validations": [
        {"expression": "object.spec.replicas > 1"},
        {"expression": "object.spec.replicas > '1'", "messageExpression": "object.foo"},
    ]}});
    let warnings = typecheck::check(&policy, &mut kinds, None);
    let fields: Vec<&str> = warnings.iter().map(|w| w.str_at(&["fieldRef"])).collect();
    assert_eq!(fields, ["spec.validations[1].expression", "spec.validations[1].messageExpression"]);
    let words = warnings[0].str_at(&["warning"]);
    assert!(
        words.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload"),
        "{words}"
    );
}
