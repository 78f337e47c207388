//! What callers rely on: lazy variables, authorizers, budgets, results as trees, bounds against hostile expressions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::cell::Cell;
use std::sync::Arc;

use cel::{
    AccessRequest, Authorizer, Budget, Decision, Environment, EvalError, Object, Opaque, ResourceTarget,
    Schema, Target, Type, Value, Variables,
};

fn budget() -> Budget {
    Budget::default()
}

/// The value of an expression over an untyped `self`.
fn evaluate(environment: &Environment, source: &str, node: &api::Value) -> Result<api::Value, String> {
    let program = environment.compile(source).map_err(|e| e.to_string())?;
    let variables = [("self", Value::dynamic(node))];
    let value = program.evaluate(&variables, &mut budget()).map_err(|e| e.to_string())?;
    value.to_tree().map_err(|e| e.to_string())
}

fn untyped() -> Environment {
    Environment::builder().variable("self", Type::Dyn).build()
}

struct Lazy<'a> {
    object: Value<'a>,
    asked: Cell<usize>,
}

impl<'a> Variables<'a> for Lazy<'a> {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        (name == "object").then(|| Ok(self.object.clone()))
    }

    fn field(&self, variable: &str, field: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.asked.set(self.asked.get() + 1);
        match (variable, field) {
            ("variables", "size") => Some(Ok(Value::Int(3))),
            ("variables", "bad") => Some(Err(EvalError::runtime("composited variable fails"))),
            _ => None,
        }
    }
}

#[test]
fn fields_of_lazy_variables_are_asked_for_when_read() {
    let fields = [("size", Schema::from(Type::Int)), ("bad", Schema::from(Type::Bool))];
    let environment = Environment::builder()
        .variable("object", Type::Dyn)
        .lazy("variables", Object::new("kubernetes.variables", fields))
        .build();
    let tree = api::value!({"n": 3});
    let run = |source: &str| {
        let lazy = Lazy { object: Value::dynamic(&tree), asked: Cell::new(0) };
        let program = environment.compile(source).unwrap();
        let value = program.evaluate(&lazy, &mut budget()).map(|v| v.to_string()).map_err(|e| e.to_string());
        (value, lazy.asked.get())
    };
    assert_eq!(run("variables.size == object.n"), (Ok("true".into()), 1));
    assert_eq!(run("object.n == 4 && variables.bad"), (Ok("false".into()), 0));
    assert_eq!(run("variables.bad || variables.size == 3"), (Ok("true".into()), 2));
    assert_eq!(run("variables.bad").0, Err("composited variable fails".into()));
    assert_eq!(run("has(variables.size)"), (Ok("true".into()), 0));
    let errors = environment.compile("variables.other").unwrap_err().to_string();
    assert_eq!(errors, "ERROR: <input>:1:10: undefined field 'other'\n | variables.other\n | .........^");
}

struct Rules(Vec<(AccessRequest, Decision)>);

impl Authorizer for Rules {
    fn decide(&self, request: &AccessRequest) -> Option<Decision> {
        self.0.iter().find(|(known, _)| known == request).map(|(_, decision)| decision.clone())
    }
}

fn pods(verb: &str) -> AccessRequest {
    let target = ResourceTarget {
        resource: "pods".into(),
        namespace: "default".into(),
        name: "web".into(),
        ..Default::default()
    };
    AccessRequest { service_account: None, verb: verb.into(), target: Target::Resource(target) }
}

#[test]
fn authorizers_answer_or_the_evaluation_waits() {
    let environment = Environment::builder()
        .variable("authorizer", Type::Opaque(Opaque::Authorizer))
        .variable("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck))
        .build();
    let allowed = Decision { allowed: true, reason: "because".into(), error: None };
    let broken = Decision { error: Some("broken".into()), ..Decision::default() };
    let account = Some((Arc::from("kube-system"), Arc::from("bot")));
    let rules: Arc<dyn Authorizer> = Arc::new(Rules(vec![
        (pods("get"), allowed.clone()),
        (pods("delete"), broken),
        (
            AccessRequest { service_account: account, verb: "get".into(), target: Target::Path("/x".into()) },
            allowed,
        ),
    ]));
    let run = |source: &str| {
        let program = environment.compile(source).unwrap();
        let Target::Resource(target) = pods("get").target else { unreachable!() };
        let variables = [
            ("authorizer", Value::authorizer(rules.clone())),
            ("authorizer.requestResource", Value::resource_check(rules.clone(), target)),
        ];
        program.evaluate(&variables, &mut budget()).map(|v| v.to_string())
    };
    let check = "authorizer.group('').resource('pods').namespace('default').name('web')";
    assert_eq!(run(&format!("{check}.check('get').allowed()")), Ok("true".into()));
    assert_eq!(run(&format!("{check}.check('get').reason()")), Ok("because".into()));
    assert_eq!(run(&format!("{check}.check('delete').errored()")), Ok("true".into()));
    assert_eq!(run(&format!("{check}.check('delete').error()")), Ok("broken".into()));
    assert_eq!(run("authorizer.requestResource.check('get').allowed()"), Ok("true".into()));
    let other = "authorizer.serviceAccount('kube-system', 'bot').path('/x').check('get').allowed()";
    assert_eq!(run(other), Ok("true".into()));
    // Nothing absorbs an answer that is still to come.
    let pending = EvalError::Undecided(Box::new(pods("watch")));
    assert_eq!(run(&format!("{check}.check('watch').allowed() || true")), Err(pending.clone()));
    assert_eq!(run(&format!("[1].all(x, {check}.check('watch').allowed())")), Err(pending));
    assert_eq!(run("authorizer.path(' ')"), Err(EvalError::runtime("path must not be empty")));
}

#[test]
fn selectors_come_parsed() {
    let environment = Environment::builder().variable("authorizer", Type::Opaque(Opaque::Authorizer)).build();
    let source = "authorizer.group('').resource('pods').fieldSelector('spec.nodeName=a').labelSelector('x in (').check('list')";
    let program = environment.compile(source).unwrap();
    let nobody: Arc<dyn Authorizer> = Arc::new(Rules(Vec::new()));
    let Err(EvalError::Undecided(request)) =
        program.evaluate(&[("authorizer", Value::authorizer(nobody))], &mut budget())
    else {
        panic!("nobody answers");
    };
    let Target::Resource(target) = request.target else { panic!("a resource was asked for") };
    let (text, parsed) = target.field_selector.unwrap();
    assert_eq!(text, "spec.nodeName=a");
    assert_eq!(parsed.unwrap().exact("spec.nodeName"), Some("a"));
    assert!(target.label_selector.unwrap().1.is_err());
}

#[test]
fn budgets_end_what_costs_too_much() {
    let environment = untyped();
    let tree = api::Value::List((0..2000).map(api::Value::Int).collect());
    let program = environment.compile("self.all(x, self.all(y, x >= 0 && y >= 0))").unwrap();
    let variables = [("self", Value::dynamic(&tree))];
    let mut small = Budget { per_expression: 10_000, left: 1_000_000, last: 0 };
    assert_eq!(program.evaluate(&variables, &mut small).unwrap_err(), EvalError::CostLimit);
    assert!(small.last > 10_000 && small.last < 20_000 && small.left > 980_000);
    let mut spent = Budget { left: 100, ..Budget::default() };
    let cheap = environment.compile("self.map(x, x + 1).size() == 2000").unwrap();
    assert_eq!(cheap.evaluate(&variables, &mut spent).unwrap_err(), EvalError::BudgetSpent);
    assert_eq!(spent.left, 0);
    let mut enough = Budget::default();
    assert_eq!(cheap.evaluate(&variables, &mut enough).unwrap().as_bool(), Some(true));
    assert_eq!(enough.left, 10_000_000 - enough.last);
}

#[test]
fn results_are_trees() {
    let environment = Environment::builder().variable("self", Type::Dyn).patches().build();
    let tree = api::value!({"spec": {"a": [1, {"b": null}]}});
    let run = |source: &str| evaluate(&environment, source, &tree);
    assert_eq!(run("self.spec").unwrap(), api::value!({"a": [1, {"b": null}]}));
    let made = "Object{metadata: Object.metadata{labels: {'x': string(self.spec.a[0])}}, spec: self.spec}";
    let expected = api::value!({"metadata": {"labels": {"x": "1"}}, "spec": {"a": [1, {"b": null}]}});
    assert_eq!(run(made).unwrap(), expected);
    let patch = "[JSONPatch{op: 'add', path: '/metadata/' + jsonpatch.escapeKey('a/b'), value: [dyn(1u), dyn(1.5), dyn(true), dyn(b'hi')]}]";
    let expected = api::value!([{"op": "add", "path": "/metadata/a~1b", "value": [1, 1.5, true, "aGk="]}]);
    assert_eq!(run(patch).unwrap(), expected);
    assert_eq!(
        run("[string(timestamp('2024-01-02T03:04:05Z')), '90s']").unwrap(),
        api::value!(["2024-01-02T03:04:05Z", "90s"])
    );
    assert!(run("{1: 2}").is_err() && run("int").is_err());
    // Without `patches` there are no such types.
    assert!(evaluate(&untyped(), "Object{a: 1}", &tree).is_err());
    assert!(evaluate(&untyped(), "jsonpatch.escapeKey('a')", &tree).is_err());
}

#[test]
fn objects_are_named_by_their_fields() {
    let environment = Environment::builder().patches().build();
    let faults = |source: &str| {
        let program = environment.compile(source).unwrap();
        program.evaluate(&[], &mut budget()).unwrap().misnamed_objects()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(faults("Object{spec: Object.spec{items: [Object.spec.items{a: 1}]}}"), none);
    assert_eq!(
        faults("Object{spec: Object.other{}}"),
        [
            "unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name path from root Object type"
        ]
    );
}

#[test]
fn variables_that_are_read_are_known() {
    let schema =
        Schema::of_open_api(&api::value!({"type": "object", "properties": {"a": {"type": "integer"}}}), true);
    let schema = schema.unwrap().named("T");
    let environment = Environment::builder().variable("self", &schema).variable("oldSelf", &schema).build();
    assert!(environment.compile("self.a > oldSelf.a").unwrap().uses("oldSelf"));
    assert!(!environment.compile("self.a > 1 && [1].all(oldSelf, oldSelf > 0)").unwrap().uses("oldSelf"));
}

#[test]
fn hostile_expressions_neither_overflow_nor_hang() {
    let environment = untyped();
    let deep = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for n in [200, 249, 5000] {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1: ", "}"), ("size([", "])"), ("-(", ")"), ("true ? 1 : (", ")")]
        {
            let source = deep(open, close, n);
            let _ = evaluate(&environment, &source, &api::Value::Null);
        }
    }
    let wide = vec!["self"; 10_000].join(" && ");
    assert!(evaluate(&environment, &wide, &api::Value::Bool(true)).is_ok());
    let nested = format!("{}true{}", "[1].all(x, ".repeat(60), ")".repeat(60));
    assert_eq!(evaluate(&environment, &nested, &api::Value::Null), Ok(api::Value::Bool(true)));
    let doubling = "[1,2,3,4,5,6,7,8].map(a, [1,2,3,4,5,6,7,8].map(b, [1,2,3,4,5,6,7,8].map(c, [1,2,3,4,5,6,7,8].map(d, [1,2,3,4,5,6,7,8].map(e, [1,2,3,4,5,6,7,8].map(f, 1))))))";
    assert!(evaluate(&environment, doubling, &api::Value::Null).unwrap_err().contains("cost limit exceeded"));
    assert!(evaluate(&environment, "lists.range(9223372036854775807)", &api::Value::Null).is_err());
    assert!(evaluate(&environment, "'a'.matches('(a{1000}){1000}')", &api::Value::Null).is_err());
    let long = format!("'{}'", "x".repeat(100_001));
    assert!(
        evaluate(&environment, &long, &api::Value::Null)
            .unwrap_err()
            .contains("code point size exceeds limit")
    );
}

#[test]
fn growing_texts_are_bounded_by_their_cost() {
    let environment = untyped();
    let doubled = format!("{}'0123456789'{}", "[".repeat(30), "].map(x, x + x + x + x)[0]".repeat(30));
    assert!(evaluate(&environment, &doubled, &api::Value::Null).unwrap_err().contains("cost limit exceeded"));
}
