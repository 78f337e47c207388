//! [`Environment`]: the variables and types that expressions may use; [`Program`]: one compiled expression.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{CompileErrors, EvalError, Issue};
use crate::schema::{Object, Schema};
use crate::types::Type;
use crate::value::{Budget, CostRange, Value, Variables};

/// What expressions may use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    variables: HashMap<Arc<str>, Schema>,
    lazy: HashSet<Arc<str>>,
    objects: HashMap<Arc<str>, Object>,
    patches: bool,
}

/// Makes an [`Environment`]. The libraries are those of v1.37 for new expressions.
#[derive(Clone, Debug, Default)]
pub struct Builder(Inner);

impl Environment {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A builder that begins with what this has.
    pub fn extend(&self) -> Builder {
        Builder((*self.0).clone())
    }

    /// Parses, checks and resolves an expression. The result's type is [`Program::result_type`].
    pub fn compile(&self, source: &str) -> Result<Program, CompileErrors> {
        let issue = Issue { line: 1, column: 0, message: "not built yet".into() };
        Err(CompileErrors::new(source.into(), vec![issue]))
    }
}

impl Builder {
    /// A variable, declared by a schema (whose bounds count for cost estimates) or by a [`Type`].
    #[must_use]
    pub fn variable(mut self, name: &str, declared: impl Into<Schema>) -> Self {
        self.0.variables.insert(name.into(), declared.into());
        self
    }

    /// A struct variable whose fields are worked out one by one, when an expression first reads them: `variables.x`.
    /// Evaluations ask [`Variables::field`] for them.
    #[must_use]
    pub fn lazy(mut self, name: &str, object: Object) -> Self {
        self.0.lazy.insert(name.into());
        self.variable(name, Schema::object(object))
    }

    /// A type that object literals can make: `Name{field: value}`. Types of variables are known without it.
    #[must_use]
    pub fn object(mut self, object: Object) -> Self {
        self.0.objects.insert(object.name().into(), object);
        self
    }

    /// What MutatingAdmissionPolicy has beyond validating ones (KEP-3962): `Object{}` and `Object.a.b{}` with any
    /// field, `JSONPatch{op, path, from, value}` and `jsonpatch.escapeKey`.
    #[must_use]
    pub fn patches(mut self) -> Self {
        self.0.patches = true;
        self
    }

    pub fn build(self) -> Environment {
        Environment(Arc::new(self.0))
    }
}

/// A compiled expression. Cheap to clone and to share.
#[derive(Clone, Debug)]
pub struct Program(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    result: Type,
}

impl Program {
    /// `Type::Dyn` where only the evaluation knows.
    pub fn result_type(&self) -> &Type {
        &self.0.result
    }

    /// Whether the expression reads a variable: one that reads `oldSelf` is a transition rule.
    pub fn uses(&self, _variable: &str) -> bool {
        false
    }

    /// What an evaluation can cost, by the bounds of the variables' schemas.
    pub fn estimate(&self) -> CostRange {
        CostRange { min: 0, max: u64::MAX }
    }

    /// The value of the expression for these variables.
    pub fn evaluate<'a>(
        &'a self,
        _variables: &dyn Variables<'a>,
        _budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        Err(EvalError::runtime("not built yet"))
    }
}
