//! What one evaluation sees: the request, its objects, and the variables that are worked out when they are first read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cel::library::authorizer::ResourceTarget;
use cel::{Authorizer, Budget, EvalError, Program, Value, Variables};

use crate::compiler::Expression;

/// What a request brings. An absent object is null in expressions.
#[derive(Clone, Default)]
pub struct Input<'a> {
    pub object: Option<&'a api::Value>,
    pub old_object: Option<&'a api::Value>,
    /// AdmissionRequest of admission.k8s.io/v1, without its objects.
    pub request: Option<&'a api::Value>,
    pub params: Option<&'a api::Value>,
    pub namespace: Option<&'a api::Value>,
    /// Who answers `authorizer`, and what the request itself is about.
    pub authorizer: Option<(Arc<dyn Authorizer>, ResourceTarget)>,
}

/// A variable of a policy.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: Arc<str>,
    pub expression: Expression,
}

/// One evaluation of several expressions, with the budget that they share and the variables that they have read.
pub struct Scope<'a> {
    input: Input<'a>,
    variables: &'a [Variable],
    known: RefCell<HashMap<&'a str, Result<Value<'a>, EvalError>>>,
    budget: RefCell<Budget>,
}

impl<'a> Scope<'a> {
    pub fn new(input: Input<'a>, variables: &'a [Variable], budget: u64) -> Self {
        Self { input, variables, known: RefCell::default(), budget: RefCell::new(Budget::new(budget)) }
    }

    /// What is left to pay for further expressions.
    pub fn left(&self) -> u64 {
        self.budget.borrow().left
    }

    /// Evaluates with what is left; what variables cost on the way counts too.
    pub(crate) fn evaluate(&self, program: &'a Program) -> Result<Value<'a>, EvalError> {
        let before = *self.budget.borrow();
        let mut own = before;
        let value = program.evaluate(self, &mut own);
        let paid = self.budget.borrow_mut().spend(before.left.saturating_sub(own.left));
        match value {
            Err(EvalError::BudgetSpent) => Err(EvalError::BudgetSpent),
            value => paid.and(value),
        }
    }

    fn work_out(&self, variable: &'a Variable) -> Result<Value<'a>, EvalError> {
        let (name, failed) = (&*variable.name, |why: String| EvalError::runtime(why));
        match variable.expression.program() {
            Err(why) => Err(failed(format!("composited variable {name:?} fails to compile: {why}"))),
            Ok(program) => self.evaluate(program).map_err(|why| match why {
                EvalError::Runtime(why) => {
                    failed(format!("composited variable {name:?} fails to evaluate: {why}"))
                }
                other => other,
            }),
        }
    }
}

fn or_null<'a>(tree: Option<&'a api::Value>) -> Value<'a> {
    tree.map_or(Value::Null, Value::dynamic)
}

impl<'a> Variables<'a> for Scope<'a> {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let input = &self.input;
        Some(Ok(match name {
            "object" => or_null(input.object),
            "oldObject" => or_null(input.old_object),
            "request" => or_null(input.request),
            "params" => or_null(input.params),
            "namespaceObject" => or_null(input.namespace),
            "authorizer" => Value::authorizer(input.authorizer.as_ref()?.0.clone()),
            "authorizer.requestResource" => {
                let (authorizer, target) = input.authorizer.as_ref()?;
                Value::resource_check(authorizer.clone(), target.clone())
            }
            _ => return None,
        }))
    }

    fn field(&self, variable: &str, field: &str) -> Option<Result<Value<'a>, EvalError>> {
        let found = self.variables.iter().rev().find(|v| variable == "variables" && *v.name == *field)?;
        if let Some(known) = self.known.borrow().get(&*found.name) {
            return Some(known.clone());
        }
        let value = self.work_out(found);
        self.known.borrow_mut().insert(&found.name, value.clone());
        Some(value)
    }
}
