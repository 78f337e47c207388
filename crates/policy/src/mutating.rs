//! MutatingAdmissionPolicy (KEP-3962): the patches that a policy makes for one request with one set of parameters.

use api::Value;

use crate::compiler::{Compiler, Expression, Returns};
use crate::conditions::{Conditions, Match};
use crate::environment::Declared;
use crate::scope::{Input, Scope, Variable};
use crate::validating::{BUDGET, variables};

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Mutating {
    ignore_failure: bool,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoke: bool,
    conditions: Conditions,
    variables: Vec<Variable>,
    mutations: Vec<Expression>,
}

/// What one mutation does to the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// A configuration to be laid over it, without apiVersion and kind.
    Apply(Value),
    /// A JSON patch (RFC 6902).
    Json(Vec<Value>),
}

impl Mutating {
    /// Of a policy object. What does not compile fails when it is evaluated.
    pub fn compile(policy: &Value) -> Self {
        let list = |key: &str| policy.list_at(&["spec", key]);
        let params = policy.at(&["spec", "paramKind"]).is_some_and(|kind| !kind.is_null());
        let declared = Declared { params, authorizer: true, patch: false };
        let mut compiler = Compiler::composed();
        let variables = variables(&mut compiler, list("variables"), declared);
        let mutation = |of: &Value| {
            let (key, returns) = match of.str_at(&["patchType"]) {
                "JSONPatch" => ("jsonPatch", Returns::JsonPatches),
                _ => ("applyConfiguration", Returns::Object),
            };
            let declared = Declared { patch: true, ..declared };
            compiler.expression(of.str_at(&[key, "expression"]), declared, returns)
        };
        Self {
            ignore_failure: policy.str_at(&["spec", "failurePolicy"]) == "Ignore",
            reinvoke: policy.str_at(&["spec", "reinvocationPolicy"]) == "IfNeeded",
            conditions: Conditions::compile(list("matchConditions"), params),
            mutations: list("mutations").iter().map(mutation).collect(),
            variables,
        }
    }

    /// How many patches the policy makes.
    pub fn len(&self) -> usize {
        self.mutations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// Whether the policy is about the request.
    pub fn matches(&self, input: &Input<'_>) -> Match {
        self.conditions.judge(Input { namespace: None, ..input.clone() }, self.ignore_failure)
    }

    /// The patch of one mutation for the object as the mutations before it have left it. Errors are upstream's words.
    pub fn patch(&self, mutation: usize, input: &Input<'_>) -> Result<Patch, String> {
        let Some(expression) = self.mutations.get(mutation) else {
            return Err(format!("there is no mutation {mutation}"));
        };
        if let Some(why) = expression.refused() {
            return Err(why.to_string());
        }
        let scope = Scope::new(input.clone(), &self.variables, BUDGET);
        let value = expression.evaluate(&scope).map_err(|spent| spent.to_string())??;
        if let [wrong, ..] = &value.misnamed_objects()[..] {
            return Err(format!("type mismatch: {wrong}"));
        }
        match &value {
            cel::Value::Object(_) => value.to_tree().map(Patch::Apply).map_err(|why| why.to_string()),
            cel::Value::List(list) => operations(list).map(Patch::Json),
            _ => Err("unsupported return type from ApplyConfiguration expression".into()),
        }
    }
}

/// The operations as JSON has them.
fn operations(list: &cel::List<'_>) -> Result<Vec<Value>, String> {
    let one = |item: Result<cel::Value<'_>, cel::EvalError>| -> Result<Value, cel::EvalError> {
        let mut tree = item?.to_tree()?;
        let map = tree.as_map_or_make();
        map.retain(|key, value| key != "from" || value.as_str().is_some_and(|from| !from.is_empty()));
        Ok(tree)
    };
    let all: Result<Vec<Value>, _> = list.iter().map(one).collect();
    all.map_err(|why| {
        format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {why}")
    })
}
