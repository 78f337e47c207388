//! [`Environment`]: the variables and types that expressions may use; [`Program`]: one compiled expression.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::check::{self, Checked, Ref};
use crate::cost;
use crate::error::{CompileErrors, EvalError, Issue};
use crate::evaluate::{self, Node};
use crate::functions::{self, Function};
use crate::parse::{self, Fault};
use crate::schema::{Kind, Object, Schema};
use crate::types::Type;
use crate::value::{Budget, CostRange, Value, Variables};

/// What expressions may use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<Inner>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Inner {
    pub(crate) variables: HashMap<Arc<str>, Schema>,
    /// Variables whose fields are asked for one by one.
    pub(crate) lazy: HashSet<Arc<str>>,
    objects: HashMap<Arc<str>, Object>,
    patches: bool,
}

impl Inner {
    /// The type that a struct literal of this name makes.
    pub fn object(&self, name: &str) -> Option<Object> {
        if let Some(known) = self.objects.get(name) {
            return Some(known.clone());
        }
        match name {
            _ if !self.patches => None,
            "JSONPatch" => {
                let text = || Schema::string();
                let fields = [("op", text()), ("path", text()), ("from", text()), ("value", Schema::any())];
                Some(Object::new(name, fields))
            }
            _ if name == "Object" || name.starts_with("Object.") => Some(Object::of_any_field(name)),
            _ => None,
        }
    }

    pub fn function(&self, name: &str) -> Option<&'static Function> {
        functions::find(name).filter(|_| self.patches || !name.starts_with(crate::library::PATCHES))
    }
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
        let refuse = |faults: Vec<Fault>| CompileErrors::new(source.into(), issues(source, faults));
        let ast = parse::parse(source).map_err(refuse)?;
        let checked = check::check(&ast, &self.0).map_err(refuse)?;
        let node = evaluate::resolve(&ast, &checked, &self.0)
            .map_err(|message| CompileErrors::of_constant(source.into(), message))?;
        let result = checked.types[ast.root].clone();
        let used = used(&checked);
        let estimate = cost::estimate(&ast, &checked, &self.0);
        Ok(Program(Arc::new(Compiled { node, result, used, estimate })))
    }
}

/// Variables that the expression reads.
fn used(checked: &Checked) -> HashSet<Arc<str>> {
    let names = checked.refs.iter().filter_map(|r| match r {
        Some(Ref::Variable(name)) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// Byte offsets as lines and columns.
fn issues(source: &str, faults: Vec<Fault>) -> Vec<Issue> {
    let place = |fault: Fault| {
        let Some(at) = fault.at else { return Issue { line: 0, column: 0, message: fault.message } };
        let before = source.get(..at).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        Issue { line, column, message: fault.message }
    };
    faults.into_iter().map(place).collect()
}

impl Builder {
    /// A variable, declared by a schema (whose bounds count for cost estimates) or by a [`Type`].
    #[must_use]
    pub fn variable(mut self, name: &str, declared: impl Into<Schema>) -> Self {
        let schema = declared.into();
        self.know(&schema);
        self.0.variables.insert(name.into(), schema);
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

    /// Objects in the schema can be named and made.
    fn know(&mut self, schema: &Schema) {
        match &schema.kind {
            Kind::List(of, _) | Kind::Map(of) => self.know(of),
            Kind::Object(object) if object.is_declared() && !self.0.objects.contains_key(object.name()) => {
                self.0.objects.insert(object.name().into(), object.clone());
                for name in object.names() {
                    if let Some(field) = object.field(name) {
                        self.know(&field.schema);
                    }
                }
            }
            _ => {}
        }
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
    node: Node,
    result: Type,
    used: HashSet<Arc<str>>,
    estimate: CostRange,
}

impl Program {
    /// `Type::Dyn` where only the evaluation knows.
    pub fn result_type(&self) -> &Type {
        &self.0.result
    }

    /// Whether the expression reads a variable: one that reads `oldSelf` is a transition rule.
    pub fn uses(&self, variable: &str) -> bool {
        self.0.used.contains(variable)
    }

    /// What an evaluation can cost, by the bounds of the variables' schemas.
    pub fn estimate(&self) -> CostRange {
        self.0.estimate
    }

    /// The value of the expression for these variables. What it cost is taken from the budget and is in
    /// [`Budget::last`], also where it fails.
    pub fn evaluate<'a>(
        &'a self,
        variables: &dyn Variables<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        let (value, cost) = evaluate::evaluate(&self.0.node, variables, budget.per_expression);
        budget.spend(cost)?;
        value
    }
}
