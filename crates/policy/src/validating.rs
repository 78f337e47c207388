//! ValidatingAdmissionPolicy (KEP-3488): what a policy says of one request with one set of parameters.

use std::sync::Arc;

use api::Value;

use crate::compiler::{Compiler, Expression, Returns, Spent};
use crate::conditions::{Conditions, Match};
use crate::environment::Declared;
use crate::scope::{Input, Scope, Variable};

/// What the validations and their messages may cost for one binding and one parameter; the audit annotations as much
/// again.
pub const BUDGET: u64 = 10_000_000;
/// Bytes of a message that an expression made; a longer one is not shown.
const MAX_MESSAGE: usize = 5 * 1024;

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Validating {
    ignore_failure: bool,
    conditions: Conditions,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    annotations: Vec<(Arc<str>, Expression)>,
}

#[derive(Clone, Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// What one validation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Admit,
    Deny {
        message: String,
        /// "" where the policy says none.
        reason: String,
    },
}

/// What one audit annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotation {
    Publish {
        key: Arc<str>,
        value: String,
    },
    /// The request is denied for it.
    Failed(String),
}

/// Verdicts in the order of the validations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub verdicts: Vec<Verdict>,
    pub annotations: Vec<Annotation>,
}

impl Validation {
    fn compile(compiler: &Compiler, of: &Value, declared: Declared) -> Self {
        let text = |key: &str| of.str_at(&[key]);
        let message = Some(text("messageExpression")).filter(|m| !m.is_empty());
        let without = Declared { authorizer: false, ..declared };
        Self {
            expression: compiler.expression(text("expression"), declared, Returns::Bool),
            message: text("message").trim().to_owned(),
            message_expression: message.map(|m| compiler.expression(m, without, Returns::String)),
            reason: text("reason").to_owned(),
        }
    }

    /// The message of a refusal: what its expression makes, what it is given, or the expression itself.
    fn words(&self, made: Option<&str>) -> String {
        let made = made.map(str::trim).filter(|m| m.len() <= MAX_MESSAGE && !m.contains('\n'));
        match (made.unwrap_or_default(), &*self.message) {
            ("", "") => format!("failed expression: {}", self.expression.text.trim()),
            ("", given) => given.to_owned(),
            (made, _) => made.to_owned(),
        }
    }
}

impl Validating {
    /// Of a policy object. What does not compile fails when it is evaluated.
    pub fn compile(policy: &Value) -> Self {
        let list = |key: &str| policy.list_at(&["spec", key]);
        let params = policy.at(&["spec", "paramKind"]).is_some_and(|kind| !kind.is_null());
        let declared = Declared { params, authorizer: true, patch: false };
        let mut compiler = Compiler::composed();
        let variables = variables(&mut compiler, list("variables"), declared);
        let annotation = |of: &Value| {
            let text = of.str_at(&["valueExpression"]);
            (of.str_at(&["key"]).into(), compiler.expression(text, declared, Returns::StringOrNull))
        };
        Self {
            ignore_failure: policy.str_at(&["spec", "failurePolicy"]) == "Ignore",
            conditions: Conditions::compile(list("matchConditions"), params),
            validations: list("validations")
                .iter()
                .map(|of| Validation::compile(&compiler, of, declared))
                .collect(),
            annotations: list("auditAnnotations").iter().map(annotation).collect(),
            variables,
        }
    }

    fn failed(&self, message: String) -> Verdict {
        if self.ignore_failure {
            return Verdict::Admit;
        }
        Verdict::Deny { message, reason: String::new() }
    }

    fn only(&self, message: String) -> Outcome {
        Outcome { verdicts: vec![self.failed(message)], annotations: Vec::new() }
    }

    /// Judges a request. Conditions that do not match say nothing.
    pub fn judge(&self, input: &Input<'_>) -> Outcome {
        let of_conditions = Input { namespace: None, ..input.clone() };
        match self.conditions.judge(of_conditions, self.ignore_failure) {
            Match::Yes => {}
            Match::No(_) => return Outcome::default(),
            Match::Failed(why) => return self.only(why),
        }
        match self.verdicts(input).and_then(|verdicts| Ok((verdicts, self.annotate(input)?))) {
            Ok((verdicts, annotations)) => Outcome { verdicts, annotations },
            Err(spent) => self.only(spent.to_string()),
        }
    }

    fn verdicts(&self, input: &Input<'_>) -> Result<Vec<Verdict>, Spent> {
        let scope = Scope::new(input.clone(), &self.variables, BUDGET);
        let mut out = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            out.push(match validation.expression.evaluate(&scope)? {
                Err(why) => self.failed(why),
                Ok(value) if value.as_bool() == Some(true) => Verdict::Admit,
                Ok(_) => Verdict::Deny { message: String::new(), reason: validation.reason.clone() },
            });
        }
        self.explain(input, scope.left(), &mut out);
        Ok(out)
    }

    /// Messages, which may not ask the authorizer, out of what is left of the budget.
    fn explain(&self, input: &Input<'_>, left: u64, verdicts: &mut [Verdict]) {
        let input = Input { authorizer: None, ..input.clone() };
        let scope = Scope::new(input, &self.variables, left);
        let mut spent = None;
        for (validation, verdict) in self.validations.iter().zip(verdicts.iter_mut()) {
            let Verdict::Deny { message, .. } = verdict else { continue };
            if !message.is_empty() {
                continue;
            }
            let made = match validation.message_expression.as_ref().map(|m| m.evaluate(&scope)) {
                Some(Err(why)) => {
                    spent = Some(why);
                    break;
                }
                Some(Ok(Err(why))) => {
                    tracing::debug!(why, "a messageExpression has no value");
                    None
                }
                Some(Ok(Ok(value))) => value.as_str().map(str::to_owned),
                None => None,
            };
            *message = validation.words(made.as_deref());
        }
        if let Some(spent) = spent {
            verdicts.fill(self.failed(format!("failed messageExpression: {spent}")));
        }
    }

    fn annotate(&self, input: &Input<'_>) -> Result<Vec<Annotation>, Spent> {
        let input = Input { authorizer: None, ..input.clone() };
        let scope = Scope::new(input, &self.variables, BUDGET);
        let mut out = Vec::new();
        for (key, expression) in &self.annotations {
            match expression.evaluate(&scope)? {
                Err(_) if self.ignore_failure => {}
                Err(why) => out.push(Annotation::Failed(why)),
                Ok(value) => {
                    let value = value.as_str().unwrap_or_default().trim();
                    if !value.is_empty() {
                        out.push(Annotation::Publish { key: key.clone(), value: value.to_owned() });
                    }
                }
            }
        }
        Ok(out)
    }
}

/// The variables of a policy, in their order: each knows those before it.
pub(crate) fn variables(compiler: &mut Compiler, list: &[Value], declared: Declared) -> Vec<Variable> {
    let mut out = Vec::with_capacity(list.len());
    for of in list {
        let (name, text) = (of.str_at(&["name"]), of.str_at(&["expression"]));
        let expression = compiler.variable_expression(name, text, declared);
        out.push(Variable { name: name.into(), expression });
    }
    out
}
