//! What an evaluation is given: the variables and the budget.

use super::Value;
use crate::error::EvalError;

/// The variables of one evaluation. Asked once for every use, so an expensive value should be remembered.
pub trait Variables<'a> {
    /// None for a variable that has no value here: an error where an expression uses it.
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>>;

    /// A field of a variable that was declared by [`Builder::lazy`](crate::Builder::lazy), asked when an expression
    /// reads it: `variables.x`. None for a field that is not there.
    fn field(&self, _variable: &str, _field: &str) -> Option<Result<Value<'a>, EvalError>> {
        None
    }
}

impl<'a> Variables<'a> for &[(&str, Value<'a>)] {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok(value.clone()))
    }
}

impl<'a, const N: usize> Variables<'a> for [(&str, Value<'a>); N] {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.as_slice().variable(name)
    }
}

impl<'a> Variables<'a> for Vec<(&str, Value<'a>)> {
    fn variable(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        self.as_slice().variable(name)
    }
}

/// What evaluations may cost, in upstream's units (about a tenth of a microsecond of Go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most for one expression; upstream: 1,000,000.
    pub per_expression: u64,
    /// Left for all expressions together; upstream: 10,000,000 for a policy binding or a custom resource, 2,500,000
    /// for the match conditions of a webhook.
    pub left: u64,
    /// What the last evaluation cost.
    pub last: u64,
}

impl Budget {
    /// With upstream's limit for one expression.
    pub const fn new(left: u64) -> Self {
        Self { per_expression: 1_000_000, left, last: 0 }
    }

    /// Accounts for one evaluation; fails when all is spent.
    pub fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        self.last = cost;
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::BudgetSpent)
            }
        }
    }
}

impl Default for Budget {
    /// Of a policy binding or a custom resource.
    fn default() -> Self {
        Self::new(10_000_000)
    }
}

/// What an evaluation can cost, judged by bounds of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostRange {
    pub min: u64,
    pub max: u64,
}
