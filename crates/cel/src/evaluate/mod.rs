//! The evaluator: walks the nodes over the given values, counting what it costs.

mod fold;
mod node;
mod resolve;
mod select;

use std::sync::Arc;

use smallvec::SmallVec;

pub(crate) use node::Node;
pub(crate) use resolve::resolve;

use crate::cost;
use crate::error::EvalError;
use crate::functions::Refused;
use crate::value::map::Entries;
use crate::value::{Instance, List, Str, Value, Variables};
use node::{Call, Literal, MapEntry};

type Evaluated<'a> = Result<Value<'a>, EvalError>;

/// Arguments of a call: hardly ever more than three.
type Args<'a> = SmallVec<[Value<'a>; 3]>;

/// The value of an expression, and what it cost.
pub(crate) fn evaluate<'a>(
    node: &'a Node,
    variables: &dyn Variables<'a>,
    limit: u64,
) -> (Evaluated<'a>, u64) {
    let mut run = Run { variables, locals: Vec::new(), cost: 0, limit };
    let value = run.value(node);
    (value, run.cost)
}

struct Run<'a, 'v> {
    variables: &'v dyn Variables<'a>,
    locals: Vec<Slot<'a>>,
    cost: u64,
    limit: u64,
}

/// A variable of a macro.
#[derive(Clone)]
enum Slot<'a> {
    Value(Value<'a>),
    /// Worked out when first read.
    Lazy(&'a Node),
    Failed(EvalError),
}

/// A constant, borrowed from the program.
fn value_of_constant<'p>(value: &'p Value<'static>) -> Value<'p> {
    match value {
        Value::String(text) => Value::String(Str::Borrowed(text)),
        other => other.clone(),
    }
}

impl<'a> Run<'a, '_> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::CostLimit) } else { Ok(()) }
    }

    fn value(&mut self, node: &'a Node) -> Evaluated<'a> {
        match node {
            Node::Const(value) => Ok(value_of_constant(value)),
            Node::Variable { name, cost } => self.variable(name, *cost),
            Node::Local { slot, cost } => self.local(*slot, *cost),
            Node::LazyField { variable, field, cost } => self.lazy_field(variable, field, *cost),
            Node::Select(select) => self.select(select),
            Node::Has(select) => self.has(select),
            Node::Index(index) => self.index(index),
            Node::And(parts) => self.logical(parts, false),
            Node::Or(parts) => self.logical(parts, true),
            Node::Conditional(parts) => self.conditional(parts),
            Node::Call(call) => self.call(call),
            Node::Matching(call, regex, code) => self.matching(call, regex, *code),
            Node::InSet(of, set) => self.value(of).map(|value| Value::Bool(set.contains(&value))),
            Node::OptionalOr(parts, unwrap) => self.optional_or(parts, *unwrap),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Struct(literal) => self.structure(literal),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&mut self, name: &str, cost: u64) -> Evaluated<'a> {
        self.charge(cost)?;
        match self.variables.variable(name) {
            Some(value) => value,
            None => Err(EvalError::runtime(format!("no such attribute(s): {name}"))),
        }
    }

    fn lazy_field(&mut self, variable: &str, field: &str, cost: u64) -> Evaluated<'a> {
        self.charge(cost)?;
        match self.variables.field(variable, field) {
            Some(value) => value,
            None => Err(EvalError::runtime(format!("no such key: {field}"))),
        }
    }

    fn local(&mut self, slot: usize, cost: u64) -> Evaluated<'a> {
        self.charge(cost)?;
        let init = match self.locals.get(slot) {
            Some(Slot::Value(value)) => return Ok(value.clone()),
            Some(Slot::Failed(error)) => return Err(error.clone()),
            Some(Slot::Lazy(init)) => *init,
            None => return Err(EvalError::runtime("no such attribute(s)")),
        };
        // The variable's own macros have their places from here on: what is there now comes back afterwards.
        let mut inner = self.locals.split_off(slot);
        let value = self.value(init);
        self.locals.truncate(slot);
        if let Some(known) = inner.first_mut() {
            *known = match &value {
                Ok(value) => Slot::Value(value.clone()),
                Err(error) => Slot::Failed(error.clone()),
            };
        }
        self.locals.append(&mut inner);
        value
    }

    /// `&&` (or `||`): `decisive` decides, whatever the other side is.
    fn logical(&mut self, parts: &'a [Node; 2], decisive: bool) -> Evaluated<'a> {
        let left = bool_of(self.value(&parts[0]))?;
        if left == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        let right = bool_of(self.value(&parts[1]))?;
        if right == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        left.and(right).map(Value::Bool)
    }

    fn conditional(&mut self, parts: &'a [Node; 3]) -> Evaluated<'a> {
        match self.value(&parts[0])? {
            Value::Bool(true) => self.value(&parts[1]),
            Value::Bool(false) => self.value(&parts[2]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// All arguments; for one or two, those after a failed one too, as upstream does. The call costs something where
    /// all were worked out, even if it is not made.
    fn args(&mut self, call: &'a Call) -> Result<Args<'a>, EvalError> {
        let count = call.args.len();
        // What several overloads may take is called by all its arguments at once, which the first failure ends.
        let at_once = count > 2 || call.overload.is_none() && call.function.is_guarded();
        let mut args = Args::new();
        let mut failed = None;
        for (at, arg) in call.args.iter().enumerate() {
            match self.value(arg) {
                Ok(value) => args.push(value),
                Err(error @ EvalError::Runtime(_)) if !at_once || at + 1 == count => {
                    failed.get_or_insert(error);
                    args.push(Value::Null);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(error) = failed else { return Ok(args) };
        self.charge(cost::of_call(call.rule, &args, None))?;
        Err(error)
    }

    fn call(&mut self, call: &'a Call) -> Evaluated<'a> {
        let args = self.args(call)?;
        let value = match (&call.empty, args.first()) {
            (Some(empty), Some(Value::List(list))) if list.is_empty() => Ok(value_of_constant(empty)),
            _ => match call.overload {
                Some(overload) => call.function.call_overload(overload, &args),
                None => call.function.call(&args),
            },
        };
        self.charge(cost::of_call(call.rule, &args, value.as_ref().ok()))?;
        value
    }

    fn matching(
        &mut self,
        call: &'a Call,
        regex: &regex::Regex,
        code: crate::library::WithPattern,
    ) -> Evaluated<'a> {
        let mut args = Args::new();
        for arg in &call.args {
            args.push(self.value(arg)?);
        }
        let value = match code(regex, &args) {
            Ok(value) => Ok(value),
            Err(Refused::Error(error)) => Err(error),
            Err(Refused::NoOverload) => call.function.call(&args),
        };
        self.charge(cost::of_call(call.rule, &args, value.as_ref().ok()))?;
        value
    }

    fn optional_or(&mut self, parts: &'a [Node; 2], unwrap: bool) -> Evaluated<'a> {
        match self.value(&parts[0])? {
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            Value::Optional(Some(value)) => Ok(Value::Optional(Some(value))),
            Value::Optional(None) => self.value(&parts[1]),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// The value of a part of a literal; None for one that is optional and empty.
    fn part(&mut self, node: &'a Node, optional: bool, what: &str) -> Result<Option<Value<'a>>, EvalError> {
        let value = self.value(node)?;
        match value {
            value if !optional => Ok(Some(value)),
            Value::Optional(value) => Ok(value.map(|value| (*value).clone())),
            other => {
                let message = format!("cannot initialize optional {what} from non-optional value {other}");
                Err(EvalError::runtime(message))
            }
        }
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Evaluated<'a> {
        let mut out = Vec::with_capacity(items.len());
        let mut run = || -> Result<(), EvalError> {
            for (node, optional) in items {
                out.extend(self.part(node, *optional, "list element")?);
            }
            Ok(())
        };
        let result = run();
        self.charge(cost::LIST)?;
        result.map(|()| Value::List(List::from(out)))
    }

    fn map(&mut self, entries: &'a [MapEntry]) -> Evaluated<'a> {
        let mut out = Entries::default();
        let result = self.entries(entries, &mut out);
        self.charge(cost::MAP)?;
        result.map(|()| Value::Map(out.into()))
    }

    fn entries(&mut self, entries: &'a [MapEntry], out: &mut Entries<'a>) -> Result<(), EvalError> {
        for entry in entries {
            let key = self.value(&entry.key)?;
            let what = format!("entry '{key}'");
            if let Some(value) = self.part(&entry.value, entry.optional, &what)? {
                out.insert(key, value);
            }
        }
        Ok(())
    }

    fn structure(&mut self, literal: &'a Literal) -> Evaluated<'a> {
        let mut fields: Vec<(Arc<str>, Value<'a>)> = Vec::with_capacity(literal.fields.len());
        for (name, node, optional) in &literal.fields {
            let what = format!("entry '{name}'");
            if let Some(value) = self.part(node, *optional, &what)? {
                fields.retain(|(known, _)| known != name);
                fields.push((name.clone(), value));
            }
        }
        self.charge(cost::STRUCT)?;
        Ok(Value::Object(Arc::new(Instance { object: literal.object.clone(), fields })))
    }
}

/// A truth value, or a failure that a logical operator may absorb; what it may not comes first.
fn bool_of(value: Evaluated<'_>) -> Result<Result<bool, EvalError>, EvalError> {
    match value {
        Ok(Value::Bool(b)) => Ok(Ok(b)),
        Ok(_) => Ok(Err(EvalError::no_such_overload())),
        Err(error @ EvalError::Runtime(_)) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}
