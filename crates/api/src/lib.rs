//! The API of Kubernetes v1.37 as data, and what is derived from it.
//!
//! [`Value`] is the one type of an object in flight. Everything else here is either the table (kinds, fields,
//! resources) or a function of a value and the table: codecs, canonical form, merges, columns, discovery.
//!
//! Deliberately absent: storage, HTTP.

pub mod canonical;
pub mod cbor;
pub mod codec;
pub mod columns;
pub mod defaults;
pub mod discovery;
pub mod json;
pub mod jsonpath;
pub mod merge;
pub mod openapi;
pub mod proto;
pub mod resources;
pub mod schema;
pub mod validate;
pub mod value;
pub mod yaml;

pub use value::{Map, Value};
