//! Bound policies over a store of objects; the words are upstream's.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersionKind, GroupVersionResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin, Rounds};
use apiserver::request::{RequestContext, UserInfo};
use serde_json::{Value as Json, json};

use super::{Mutating, ParamGrants, Validating};
use crate::authz::{Authorization, Mode};
use crate::testing::{Fake, context, value};

const GROUP: &str = "admissionregistration.k8s.io";

fn allowing(objects: &Arc<Fake>, mode: Mode) -> Arc<Authorization> {
    let objects: Arc<dyn apiserver::resource::Objects> = objects.clone();
    Authorization::new(&[mode], &objects)
}

fn user(name: &str) -> RequestContext {
    context(UserInfo { name: name.into(), ..UserInfo::default() })
}

fn attributes<'a>(cx: &'a RequestContext, resource: &str, kind: &str, object: Value) -> Attributes<'a> {
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    Attributes {
        cx,
        operation: Operation::Create,
        kind: GroupVersionKind::new(group, "v1", kind),
        resource: GroupVersionResource::new(group, "v1", resource),
        subresource: "",
        namespace: "ns",
        name: "x",
        object: Some(object),
        old_object: None,
        options: Value::Null,
        rounds: Rounds::default(),
    }
}

/// A config map with `data.a`.
fn config_map<'a>(cx: &'a RequestContext, a: &str) -> Attributes<'a> {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "ns"},
        "data": {"a": a}});
    attributes(cx, "configmaps", "ConfigMap", value(object))
}

/// A store with a policy `p` of config maps, its binding `b` and a namespace.
fn bound(kind: &str, spec: Json, binding: Json) -> Arc<Fake> {
    let mut spec = spec;
    spec["matchConstraints"] = json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""],
        "apiVersions": ["v1"], "resources": ["configmaps"], "scope": "*"}],
        "namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"});
    let mut binding = binding;
    binding["policyName"] = "p".into();
    let named = |name: &str, spec: Json| json!({"metadata": {"name": name}, "spec": spec});
    Fake::with(&[
        (&format!("{kind}admissionpolicies.{GROUP}"), named("p", spec)),
        (&format!("{kind}admissionpolicybindings.{GROUP}"), named("b", binding)),
        ("namespaces", json!({"metadata": {"name": "ns", "labels": {"team": "red"}}})),
    ])
}

/// What the plugin says of a config map whose `data.a` is `a`, and the warnings.
async fn judged(spec: Json, binding: Json, a: &str) -> (Result<(), Status>, Vec<String>) {
    let objects = bound("validating", spec, binding);
    let plugin = Validating::new(objects.clone(), allowing(&objects, Mode::AlwaysAllow));
    let cx = user("ann");
    let said = plugin.validate(&config_map(&cx, a)).await;
    (said, cx.warnings.take())
}

#[tokio::test]
async fn bindings_say_what_a_refusal_does() {
    let spec = json!({"validations": [{"expression": "object.data.a == 'b'", "message": "no b"}]});
    let words =
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no b";
    let warning = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no b";
    let cases = [
        (json!(["Deny"]), "b", None, None),
        (json!(["Deny"]), "c", Some(words), None),
        (json!(["Warn"]), "c", None, Some(warning)),
        (json!(["Audit"]), "c", None, None),
        (json!(["Deny", "Audit"]), "c", Some(words), None),
    ];
    for (actions, a, denied, warned) in cases {
        let (said, warnings) = judged(spec.clone(), json!({"validationActions": actions}), a).await;
        assert_eq!(said.as_ref().err().map(|s| (s.message.as_str(), s.code)), denied.map(|d| (d, 422)));
        assert_eq!(warnings, warned.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), "{actions}");
    }
}

#[tokio::test]
async fn expressions_see_the_request() {
    let holds = [
        "request.userInfo.username == 'ann'",
        "request.operation == 'CREATE' && request.resource.resource == 'configmaps' && !request.dryRun",
        "request.kind.kind == 'ConfigMap' && request.namespace == 'ns'",
        "namespaceObject.metadata.labels.team == 'red'",
        "oldObject == null && params == null",
        "authorizer.group('').resource('pods').namespace('ns').check('get').allowed()",
        "authorizer.requestResource.check('create').allowed()",
    ];
    let binding = json!({"validationActions": ["Deny"]});
    for text in holds {
        let mut spec = json!({"validations": [{"expression": text}]});
        if text.contains("params") {
            spec["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        }
        let (said, _) = judged(spec, binding.clone(), "b").await;
        assert_eq!(said.err().map(|s| s.message.clone()), None, "{text}");
    }
}

#[tokio::test]
async fn parameters_are_found_by_name_and_selector() {
    let spec = |failure: &str| {
        json!({"failurePolicy": failure, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{"expression": "object.data.a == params.data.a",
                "messageExpression": "'want ' + params.data.a"}]})
    };
    let missing = "denied request: failed to configure binding: no params found for policy binding with `Deny` \
                   parameterNotFoundAction";
    let cases = [
        (spec("Fail"), json!({"name": "one"}), "1", None),
        (spec("Fail"), json!({"name": "one"}), "2", Some("denied request: want 1")),
        // All that are selected are asked.
        (
            spec("Fail"),
            json!({"selector": {"matchLabels": {"of": "p"}}}),
            "1",
            Some("denied request: want 2"),
        ),
        (spec("Fail"), json!({"name": "none", "parameterNotFoundAction": "Deny"}), "1", Some(missing)),
        (spec("Ignore"), json!({"name": "none", "parameterNotFoundAction": "Deny"}), "1", None),
        (spec("Fail"), json!({"name": "none", "parameterNotFoundAction": "Allow"}), "1", None),
    ];
    for (spec, by, a, want) in cases {
        let binding = json!({"validationActions": ["Deny"], "paramRef": by});
        let objects = bound("validating", spec, binding);
        for (name, a) in [("one", "1"), ("two", "2")] {
            let metadata = json!({"name": name, "namespace": "ns", "labels": {"of": "p"}});
            let named =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": a}});
            objects.put("configmaps", named);
        }
        let plugin = Validating::new(objects.clone(), allowing(&objects, Mode::AlwaysAllow));
        let cx = user("ann");
        let said = plugin.validate(&config_map(&cx, a)).await.err().map(|s| s.message.clone());
        match want {
            None => assert_eq!(said, None, "{by}"),
            Some(want) => assert!(said.as_ref().is_some_and(|said| said.ends_with(want)), "{by}: {said:?}"),
        }
    }
}

#[tokio::test]
async fn bindings_narrow_down() {
    let spec = json!({"validations": [{"expression": "false"}]});
    let cases = [
        (json!({}), true),
        (json!({"namespaceSelector": {"matchLabels": {"team": "red"}}}), true),
        (json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}), false),
        (json!({"objectSelector": {"matchLabels": {"a": "b"}}}), false),
        (
            json!({"excludeResourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
                "resources": ["configmaps"]}]}),
            false,
        ),
    ];
    for (narrower, asked) in cases {
        let binding = json!({"validationActions": ["Deny"], "matchResources": narrower});
        let (said, _) = judged(spec.clone(), binding, "b").await;
        assert_eq!(said.is_err(), asked, "{narrower}");
    }
}

/// `data` after the policy with these mutations, or the refusal.
async fn mutated(spec: Json) -> Result<Value, String> {
    let objects = bound("mutating", spec, json!({}));
    let plugin = Mutating::new(objects.clone(), allowing(&objects, Mode::AlwaysAllow));
    let cx = user("ann");
    let mut a = config_map(&cx, "b");
    plugin.mutate(&mut a).await.map_err(|status| status.message.clone())?;
    Ok(a.object.unwrap().get("data").cloned().unwrap_or_default())
}

#[tokio::test]
async fn mutations_follow_one_another() {
    let apply =
        |text: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}});
    let patch = |text: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}});
    let add = apply("Object{data: {'c': object.data.a + 'c'}}");
    let after = patch("[JSONPatch{op: 'add', path: '/data/d', value: object.data.c + 'd'}]");
    let test = patch("[JSONPatch{op: 'test', path: '/data/a', value: 'x'}]");
    let fails = apply("Object{data: {'c': object.data.none}}");
    let all = json!({"a": "b", "c": "bc", "d": "bcd"});
    let cases = [
        (json!({"mutations": [add, after]}), Ok(all)),
        // A test that fails drops its patch alone.
        (json!({"mutations": [test, add]}), Ok(json!({"a": "b", "c": "bc"}))),
        (
            json!({"mutations": [fails]}),
            Err(
                "policy 'p' with binding 'b' denied request: expression 'Object{data: {'c': object.data.none}}' resulted in error: no such key: none",
            ),
        ),
        (json!({"failurePolicy": "Ignore", "mutations": [fails, add]}), Ok(json!({"a": "b", "c": "bc"}))),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.a == 'x'"}], "mutations": [add]}),
            Ok(json!({"a": "b"})),
        ),
    ];
    for (spec, want) in cases {
        let got = mutated(spec.clone()).await;
        assert_eq!(got, want.map(value).map_err(str::to_owned), "{spec}");
    }
}

#[tokio::test]
async fn a_policy_that_asks_for_it_is_asked_again_after_others() {
    let spec = json!({"reinvocationPolicy": "IfNeeded", "mutations": [{"patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'n': has(object.data.n) ? object.data.n + 'i' : 'i'}}"}}]});
    for (other_changes, want) in [(false, "i"), (true, "ii")] {
        let objects = bound("mutating", spec.clone(), json!({}));
        let plugin = Mutating::new(objects.clone(), allowing(&objects, Mode::AlwaysAllow));
        let cx = user("ann");
        let mut a = config_map(&cx, "b");
        plugin.mutate(&mut a).await.unwrap();
        if other_changes {
            let data = a.object.as_mut().unwrap().as_map_or_make().get_mut("data").unwrap();
            data.as_map_or_make().insert("z", "z");
        }
        assert!(a.rounds.another());
        plugin.mutate(&mut a).await.unwrap();
        assert_eq!(a.object.unwrap().str_at(&["data", "n"]), want);
    }
}

#[tokio::test]
async fn who_names_parameters_must_be_able_to_read_them() {
    let objects = Fake::with(&[]);
    let policy = value(json!({"metadata": {"name": "p"},
        "spec": {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}}));
    for (mode, want) in [(Mode::AlwaysAllow, None), (Mode::AlwaysDeny, Some(422))] {
        let plugin = ParamGrants::new(objects.clone(), allowing(&objects, mode));
        let cx = user("ann");
        let resource = format!("validatingadmissionpolicies.{GROUP}");
        let a = attributes(&cx, &resource, "ValidatingAdmissionPolicy", policy.clone());
        let said = plugin.validate(&a).await.err();
        assert_eq!(said.as_ref().map(|status| status.code), want);
        let words = said.map(|status| status.message.clone()).unwrap_or_default();
        assert!(want.is_none() || words.contains("must have \"get\" permission on all objects"), "{words}");
    }
}
