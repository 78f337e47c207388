//! `matchConditions`: which of the requests that the rules select are really meant.

use std::sync::Arc;

use api::Value;

use crate::compiler::{Compiler, Expression, Returns};
use crate::environment::Declared;
use crate::scope::{Input, Scope};

/// What the conditions of one webhook or policy may cost together.
pub const BUDGET: u64 = 2_500_000;

/// Compiled conditions; none match everything.
#[derive(Clone, Debug, Default)]
pub struct Conditions(Vec<(Arc<str>, Expression)>);

/// What conditions say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Yes,
    /// The name of the condition that is false; None where an error counts as no match.
    No(Option<Arc<str>>),
    /// Upstream's words for what went wrong.
    Failed(String),
}

impl Conditions {
    /// Of a list of `{name, expression}`.
    pub fn compile(list: &[Value], params: bool) -> Self {
        let compiler = Compiler::default();
        let declared = Declared { params, authorizer: true, patch: false };
        let one = |condition: &Value| {
            let text = condition.str_at(&["expression"]);
            (condition.str_at(&["name"]).into(), compiler.expression(text, declared, Returns::Bool))
        };
        Self(list.iter().map(one).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that is false decides, whatever errors others have; otherwise errors count by the failure policy.
    pub fn judge(&self, input: Input<'_>, ignore_failure: bool) -> Match {
        if self.0.is_empty() {
            return Match::Yes;
        }
        let scope = Scope::new(input, &[], BUDGET);
        let mut errors = Vec::new();
        let mut refused = None;
        for (name, expression) in &self.0 {
            match expression.evaluate(&scope) {
                Err(spent) if ignore_failure => {
                    tracing::debug!(condition = &**name, %spent, "a match condition counts as false");
                    return Match::No(None);
                }
                Err(spent) => return Match::Failed(spent.to_string()),
                Ok(Err(why)) => errors.push(why),
                Ok(Ok(value)) if value.as_bool() == Some(false) => refused = refused.or(Some(name)),
                Ok(Ok(_)) => {}
            }
        }
        match (refused, &errors[..]) {
            (Some(name), _) => Match::No(Some(name.clone())),
            (None, []) => Match::Yes,
            (None, _) if ignore_failure => Match::No(None),
            (None, [one]) => Match::Failed(one.clone()),
            (None, many) => Match::Failed(format!("[{}]", many.join(", "))),
        }
    }
}
