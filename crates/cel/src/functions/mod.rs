//! Functions: their declarations, which the checker matches calls against, and their code, which works by what
//! the values are, so that it serves typed and untyped calls alike.

mod signature;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::error::EvalError;
use crate::library;
use crate::types::Type;
use crate::value::Value;

/// Why a function has no value.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No overload takes such values.
    NoOverload,
    Error(EvalError),
}

impl From<EvalError> for Refused {
    fn from(error: EvalError) -> Self {
        Self::Error(error)
    }
}

pub(crate) type Outcome<'a> = Result<Value<'a>, Refused>;

/// The code of a function; for a member call, the target comes first.
pub(crate) type Code = for<'a> fn(&[Value<'a>]) -> Outcome<'a>;

/// A runtime error.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Error(EvalError::runtime(message.into())))
}

/// One function as its library declares it.
pub(crate) struct Declared {
    pub name: &'static str,
    /// (id, signature): `("add_int64", "(int, int) int")`, or `("string_size", "string.() int")` for a member.
    pub overloads: &'static [(&'static str, &'static str)],
    pub code: Code,
    pub style: Style,
}

/// How upstream words that no overload fits.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// `no such overload: name(type, type)`.
    Guarded,
    /// `no such overload: name` where the first value is no operand at all, else `no such overload`.
    Operator(for<'a> fn(&Value<'a>) -> bool),
    /// `no such overload`.
    Plain,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
    pub code: Code,
    style: Style,
}

#[derive(Debug)]
pub(crate) struct Overload {
    pub id: &'static str,
    pub member: bool,
    /// The target first.
    pub params: Vec<Type>,
    pub result: Type,
    /// How many type parameters it has.
    pub free: u32,
}

impl std::fmt::Debug for Style {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Style")
    }
}

impl Function {
    pub fn call<'a>(&self, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
        (self.code)(args).map_err(|refused| match refused {
            Refused::Error(error) => error,
            Refused::NoOverload => self.no_overload(args),
        })
    }

    /// Looks at the types of its values before it is made.
    pub fn is_guarded(&self) -> bool {
        matches!(self.style, Style::Guarded)
    }

    /// A call of the one overload that the checker left: values of other types are refused, even where another
    /// overload takes them.
    pub fn call_overload<'a>(&self, overload: &Overload, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
        if self.is_guarded() && !overload.params.iter().zip(args).all(|(of, value)| is_of(value, of)) {
            return Err(self.no_overload(args));
        }
        self.call(args)
    }

    fn no_overload(&self, args: &[Value<'_>]) -> EvalError {
        let name = self.name;
        match self.style {
            Style::Plain => EvalError::no_such_overload(),
            Style::Operator(is_operand) if args.first().is_some_and(is_operand) => {
                EvalError::no_such_overload()
            }
            // These have methods of their own, which upstream looks for then.
            Style::Operator(_)
                if matches!(
                    args.first(),
                    Some(Value::String(_) | Value::Timestamp(_) | Value::Duration(_))
                ) =>
            {
                EvalError::no_such_overload()
            }
            Style::Operator(_) => EvalError::runtime(format!("no such overload: {name}")),
            Style::Guarded => {
                let types: Vec<String> = args.iter().map(|a| a.type_of().name().to_owned()).collect();
                EvalError::runtime(format!("no such overload: {name}({})", types.join(", ")))
            }
        }
    }
}

/// Whether a value may stand where a type is declared; of a list or map the first element is looked at.
fn is_of(value: &Value<'_>, of: &Type) -> bool {
    match (of, value) {
        (Type::Dyn | Type::Param(_) | Type::Error, _) => true,
        (Type::Null, Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Uint, Value::Uint(_))
        | (Type::Double, Value::Double(_))
        | (Type::String, Value::String(_))
        | (Type::Bytes, Value::Bytes(_))
        | (Type::Timestamp, Value::Timestamp(_))
        | (Type::Duration, Value::Duration(_))
        | (Type::Type(_), Value::Type(_))
        | (Type::Map(_), Value::Map(_)) => true,
        (Type::List(of), Value::List(list)) => match list.get(0) {
            Some(Ok(first)) => is_of(&first, of),
            _ => true,
        },
        (Type::Optional(of), Value::Optional(value)) => value.as_ref().is_none_or(|value| is_of(value, of)),
        (Type::Opaque(opaque), Value::Special(special)) => special.opaque() == *opaque,
        (Type::Object(_), Value::Object(_) | Value::Map(_)) => true,
        _ => false,
    }
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Function> = HashMap::new();
    for declared in library::declared() {
        let made = Function {
            name: declared.name,
            overloads: Vec::new(),
            code: declared.code,
            style: declared.style,
        };
        let function = all.entry(declared.name).or_insert(made);
        let overloads = declared.overloads.iter();
        function.overloads.extend(overloads.filter_map(|(id, text)| signature::parse(id, text)));
    }
    all
});

/// The function of that name, whatever its overloads.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}
