//! One rule of `x-kubernetes-validations`, compiled for the place where its schema stands.

use api::Value;
use apimachinery::field::Path;
use cel::{Environment, Program, Schema, Type};

use super::field_path;

/// See the module.
#[derive(Debug)]
pub struct Rule {
    pub text: String,
    /// "" for none.
    pub message: String,
    pub message_text: String,
    pub reason: String,
    /// Where its errors stand, below the place of the rule.
    pub field: Option<Path>,
    /// `optionalOldSelf`: evaluated without an old value too.
    pub optional: bool,
    /// None: the rule is empty. Err: upstream's words.
    pub program: Option<Result<Program, String>>,
    /// None where there is none or the rule does not compile.
    pub message_program: Option<Result<Program, String>>,
}

/// The variables of the rules at one place.
pub struct Scope {
    plain: Environment,
    optional: Environment,
}

impl Scope {
    /// `of` is the type of the place.
    pub fn new(of: &Schema) -> Self {
        let of = of.named("selfType");
        let plain = Environment::builder().variable("self", &of).variable("oldSelf", &of).build();
        let old = Type::optional(of.cel_type());
        let optional = Environment::builder().variable("self", &of).variable("oldSelf", old).build();
        Self { plain, optional }
    }
}

impl Rule {
    /// `schema` is the one that has the rule.
    pub fn compile(rule: &Value, schema: &Value, scope: &Scope) -> Self {
        let text = |key: &str| rule.str_at(&[key]);
        let optional = rule.bool_at(&["optionalOldSelf"]) == Some(true);
        let environment = if optional { &scope.optional } else { &scope.plain };
        let source = text("rule");
        let program = (!source.trim().is_empty()).then(|| compile(environment, source));
        let message_text = text("messageExpression");
        let wanted = !message_text.is_empty() && matches!(program, Some(Ok(_)));
        Self {
            text: source.trim().to_owned(),
            message: text("message").trim().to_owned(),
            message_text: message_text.to_owned(),
            reason: text("reason").to_owned(),
            field: Some(text("fieldPath"))
                .filter(|f| !f.is_empty())
                .and_then(|f| field_path::normalized(f, schema)),
            optional,
            message_program: wanted.then(|| compile_message(environment, message_text)),
            program,
        }
    }

    /// A transition rule: it says something about a change.
    pub fn uses_old(&self) -> bool {
        matches!(&self.program, Some(Ok(program)) if program.uses("oldSelf"))
    }

    /// The rule as errors of its evaluation name it.
    pub fn words(&self) -> &str {
        if self.message.is_empty() { &self.text } else { &self.message }
    }

    /// Worst cost of one evaluation.
    pub fn cost(&self) -> u64 {
        match &self.program {
            Some(Ok(program)) => program.estimate().max,
            _ => 0,
        }
    }
}

fn compile(environment: &Environment, source: &str) -> Result<Program, String> {
    let program = environment.compile(source).map_err(|why| format!("compilation failed: {why}"))?;
    match program.result_type() {
        Type::Bool => Ok(program),
        _ => Err("cel expression must evaluate to a bool".into()),
    }
}

fn compile_message(environment: &Environment, source: &str) -> Result<Program, String> {
    let program =
        environment.compile(source).map_err(|why| format!("messageExpression compilation failed: {why}"))?;
    match program.result_type() {
        Type::String => Ok(program),
        _ => Err("messageExpression must evaluate to a string".into()),
    }
}
