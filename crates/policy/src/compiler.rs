//! Expressions of admission: compiled for a certain result, with the variables that a policy has made of others.

use std::sync::Arc;

use cel::{Environment, EvalError, Object, Program, Schema, Type, Value};

use crate::environment::{self, Declared};
use crate::scope::Scope;

/// What an expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Bool,
    String,
    StringOrNull,
    Anything,
    /// An apply configuration, `Object{..}`.
    Object,
    /// A list of `JSONPatch{..}`.
    JsonPatches,
}

impl Returns {
    fn fits(self, of: &Type) -> bool {
        match self {
            Self::Anything => true,
            Self::Bool => *of == Type::Bool,
            Self::String => *of == Type::String,
            Self::StringOrNull => matches!(of, Type::String | Type::Null),
            Self::Object => of.to_string() == "Object",
            Self::JsonPatches => of.to_string() == "list(JSONPatch)",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::StringOrNull => "one of [string null_type]",
            Self::Anything => "any",
            Self::Object => "Object",
            Self::JsonPatches => "list(JSONPatch)",
        }
    }
}

/// Why an expression was not compiled, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("compilation failed: {0}")]
    Source(String),
    #[error("must evaluate to {0} but got {1}")]
    Result(&'static str, String),
}

/// What is left of a budget cannot pay for the next expression, so that none of them counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validation failed due to running out of cost budget, no further validation rules will be run")]
pub struct Spent;

/// An expression as an object has it. One that does not compile is an error whenever it is evaluated: it was written
/// to the store by somebody else.
#[derive(Clone, Debug)]
pub struct Expression {
    pub text: Arc<str>,
    program: Result<Program, Refused>,
}

impl Expression {
    /// Why it cannot be evaluated.
    pub fn refused(&self) -> Option<&Refused> {
        self.program.as_ref().err()
    }

    /// Its value, or what went wrong in upstream's words.
    pub fn evaluate<'a>(&'a self, scope: &Scope<'a>) -> Result<Result<Value<'a>, String>, Spent> {
        let program = match &self.program {
            Ok(program) => program,
            Err(why) => return Ok(Err(format!("compilation error: {why}"))),
        };
        match scope.evaluate(program) {
            Ok(value) => Ok(Ok(value)),
            Err(EvalError::BudgetSpent) => Err(Spent),
            Err(why) => Ok(Err(format!("expression '{}' resulted in error: {why}", self.text))),
        }
    }

    pub(crate) fn program(&self) -> Result<&Program, &Refused> {
        self.program.as_ref()
    }
}

/// Compiles the expressions of one object.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    /// Instead of the untyped environment.
    typed: Option<Environment>,
    /// The variables so far, for objects that have any.
    variables: Option<Vec<(Arc<str>, Schema)>>,
}

impl Compiler {
    /// Knows `variables` even while there are none.
    pub fn composed() -> Self {
        Self { typed: None, variables: Some(Vec::new()) }
    }

    pub(crate) fn typed(environment: Environment) -> Self {
        Self { typed: Some(environment), variables: Some(Vec::new()) }
    }

    fn environment(&self, declared: Declared) -> Environment {
        let base = match &self.typed {
            Some(typed) => typed,
            None => environment::untyped(declared),
        };
        let Some(variables) = &self.variables else { return base.clone() };
        let fields = variables.iter().map(|(name, schema)| (&**name, schema.clone()));
        base.extend().lazy("variables", Object::new("kubernetes.variables", fields)).build()
    }

    /// Compiles, and checks the type of the result.
    pub fn compile(&self, text: &str, declared: Declared, returns: Returns) -> Result<Program, Refused> {
        let program =
            self.environment(declared).compile(text).map_err(|why| Refused::Source(why.to_string()))?;
        let result = program.result_type();
        if returns.fits(result) {
            return Ok(program);
        }
        Err(Refused::Result(returns.words(), result.to_string()))
    }

    /// Compiles a variable and declares it for the expressions that follow; one that fails is declared untyped.
    pub fn variable(&mut self, name: &str, text: &str, declared: Declared) -> Result<Program, Refused> {
        let done = self.compile(text, declared, Returns::Anything);
        let of = done.as_ref().map_or(Type::Dyn, |program| plain(program.result_type()));
        let variables = self.variables.get_or_insert_default();
        variables.retain(|(known, _)| **known != *name);
        variables.push((name.into(), of.into()));
        done
    }

    /// An expression to be evaluated, whether it compiles or not.
    pub fn expression(&self, text: &str, declared: Declared, returns: Returns) -> Expression {
        Expression { text: text.into(), program: self.compile(text, declared, returns) }
    }

    pub(crate) fn variable_expression(&mut self, name: &str, text: &str, declared: Declared) -> Expression {
        Expression { text: text.into(), program: self.variable(name, text, declared) }
    }
}

/// The types that a variable hands on: structs and libraries' types become untyped.
fn plain(of: &Type) -> Type {
    match of {
        Type::List(item) => Type::list(plain(item)),
        Type::Map(pair) => Type::map(plain(&pair.0), plain(&pair.1)),
        Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Timestamp
        | Type::Duration => of.clone(),
        _ => Type::Dyn,
    }
}
