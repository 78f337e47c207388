//! What can go wrong: in a source text ([`CompileErrors`]) and at evaluation ([`EvalError`]), in cel-go's words,
//! since users see them in `Status` messages.

use std::fmt;
use std::sync::Arc;

use crate::library::authorizer::AccessRequest;

/// One fault of a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// From 1; 0 for a fault of the text as a whole.
    pub line: usize,
    /// From 0, in characters.
    pub column: usize,
    /// Such as `undeclared reference to 'x' (in container '')`.
    pub message: String,
}

/// All faults of a source text, by place. Shown as cel-go shows them: each with its source line and a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors {
    pub issues: Vec<Issue>,
    /// What upstream says before them: `compilation failed`, or `program instantiation failed` where the expression
    /// is good but for a constant in it.
    pub stage: &'static str,
    source: Arc<str>,
}

impl std::error::Error for CompileErrors {}

impl CompileErrors {
    pub(crate) fn new(source: Arc<str>, mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| (issue.line, issue.column));
        Self { issues, stage: "compilation failed", source }
    }

    pub(crate) fn of_constant(source: Arc<str>, message: String) -> Self {
        let issues = vec![Issue { line: 0, column: 0, message }];
        Self { issues, stage: "program instantiation failed", source }
    }
}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, issue) in self.issues.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            if issue.line == 0 && self.stage != "compilation failed" {
                f.write_str(&issue.message)?;
                continue;
            }
            if issue.line == 0 {
                write!(f, "ERROR: <input>:-1:0: {}", issue.message)?;
                continue;
            }
            if self.source.is_empty() {
                write!(f, "ERROR: <input>:1:0: {}", issue.message)?;
                continue;
            }
            write!(f, "ERROR: <input>:{}:{}: {}", issue.line, issue.column + 1, issue.message)?;
            if let Some(line) = self.source.split('\n').nth(issue.line.saturating_sub(1)) {
                write_line(f, line, issue.column)?;
            }
        }
        Ok(())
    }
}

/// The source line and a caret below the column; wide where the character is.
fn write_line(f: &mut fmt::Formatter<'_>, line: &str, column: usize) -> fmt::Result {
    write!(f, "\n | {}\n | ", line.replace('\t', " "))?;
    let wide = |c: char| c.len_utf8() > 1;
    for c in line.chars().take(column) {
        f.write_str(if wide(c) { "．" } else { "." })?;
    }
    f.write_str(if line.chars().nth(column).is_some_and(wide) { "＾" } else { "^" })
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// In cel-go's words: `no such key: x`, `division by zero`. `&&`, `||` and `all` absorb it as CEL says.
    #[error("{0}")]
    Runtime(Arc<str>),
    /// The expression cost more than [`Budget`](crate::Budget) allows one expression.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// What was left for all expressions together is spent.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetSpent,
    /// The [`Authorizer`](crate::Authorizer) has no answer yet: ask it (asynchronously), remember the answer and
    /// evaluate again. Nothing in an expression absorbs it.
    #[error("an authorization decision is pending")]
    Undecided(Box<AccessRequest>),
}

impl EvalError {
    pub(crate) fn no_such_overload() -> Self {
        Self::runtime("no such overload")
    }

    /// A runtime error that an expression can absorb.
    pub fn runtime(message: impl Into<Arc<str>>) -> Self {
        Self::Runtime(message.into())
    }
}
