//! Kubernetes' expression language: CEL with the libraries, the typing and the cost rules of v1.37
//! (KEP-2876, KEP-3488, KEP-3962).
//!
//! An [`Environment`] knows the variables and their types; it compiles a source text once into a [`Program`]
//! (parse, check, resolve), which is evaluated as often as needed over object trees that are never converted:
//!
//! ```
//! use cel::{Budget, Environment, Schema, Value};
//!
//! let schema = Schema::of_open_api(&api::value!({
//!     "type": "object",
//!     "properties": {"replicas": {"type": "integer"}},
//! }), false).unwrap();
//! let environment = Environment::builder().variable("self", &schema).build();
//! let program = environment.compile("self.replicas < 3").unwrap();
//! assert_eq!(program.result_type(), &cel::Type::Bool);
//! let object = api::value!({"replicas": 2});
//! let variables = [("self", Value::of(&object, &schema).unwrap())];
//! assert!(matches!(program.evaluate(&variables, &mut Budget::default()), Ok(Value::Bool(true))));
//! ```
//!
//! Deliberately absent: HTTP, storage, and the policies and rules that use it (they are `kube-apiserver`'s).

mod ast;
mod check;
mod cost;
mod environment;
mod error;
mod evaluate;
mod functions;
pub mod library;
mod parse;
mod schema;
mod types;
mod value;
mod words;

pub use environment::{Builder, Environment, Program};
pub use error::{CompileErrors, EvalError, Issue};
pub use library::authorizer::{AccessRequest, Authorizer, Decision, ResourceTarget, Target};
pub use schema::{Field, Kind, ListKind, Object, Schema, escape, unescape};
pub use types::{Opaque, Type};
pub use value::{Budget, CostRange, Instance, List, Map, Str, Timestamp, Value, Variables};
pub use words::is_reserved;
