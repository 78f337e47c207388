//! Most kinds in one form: a strategy put together from plain functions. A kind that needs more implements
//! `Strategy` itself.

use api::{Map, Value};
use apimachinery::field::ErrorList;
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::fields;

/// What counts as a change of `metadata.generation`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// Changes of these top-level fields.
    Of(&'static [&'static str]),
}

/// Who writes `status`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StatusField {
    /// There is none, or it is written with the rest.
    None,
    /// Only the status subresource.
    Own,
}

pub struct Kind {
    pub defaults: fn(&mut Map),
    pub create: fn(&RequestContext, &mut Map),
    pub update: fn(&RequestContext, &mut Map, &Map),
    pub status_update: fn(&RequestContext, &mut Map, &Map),
    pub status: StatusField,
    pub generation: Generation,
    pub validate: fn(&Value, &mut ErrorList),
    /// In addition to `validate`.
    pub validate_create: fn(&Value, &mut ErrorList),
    /// In addition to `validate`.
    pub validate_update: fn(&Value, &Value, &mut ErrorList),
    pub validate_status: fn(&Value, &Value, &mut ErrorList),
    pub cells: Option<fn(&Value, Timestamp) -> Vec<Value>>,
    pub name: Option<fn(&str) -> Vec<String>>,
    pub create_on_update: bool,
    pub unconditional_update: bool,
    pub field: Option<fn(&Value, &str) -> Option<String>>,
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    pub returns_deleted: bool,
    pub deprecation: Option<&'static str>,
}

/// A kind about which everything is default.
pub const PLAIN: Kind = Kind {
    defaults: |_| {},
    create: |_, _| {},
    update: |_, _, _| {},
    status_update: |_, _, _| {},
    status: StatusField::None,
    generation: Generation::None,
    validate: |_, _| {},
    validate_create: |_, _| {},
    validate_update: |_, _, _| {},
    validate_status: |_, _, _| {},
    cells: None,
    name: None,
    create_on_update: false,
    unconditional_update: true,
    field: None,
    warnings: |_, _| Vec::new(),
    returns_deleted: false,
    deprecation: None,
};

/// With a spec, a generation of it, and a status of its own.
pub const SPEC_AND_STATUS: Kind =
    Kind { status: StatusField::Own, generation: Generation::Of(&["spec"]), ..PLAIN };

/// With a spec and its generation, but without a status.
pub const SPEC: Kind = Kind { generation: Generation::Of(&["spec"]), ..PLAIN };

#[async_trait]
impl Strategy for Kind {
    fn default(&self, _version: &str, object: &mut Map) {
        (self.defaults)(object);
    }

    fn prepare_for_create(&self, cx: &RequestContext, object: &mut Map) {
        if self.status == StatusField::Own {
            object.insert("status", Value::map());
        }
        if self.generation != Generation::None {
            fields::first_generation(object);
        }
        (self.create)(cx, object);
    }

    fn prepare_for_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        use fields::Fields;
        if self.status == StatusField::Own {
            object.copy_from(old, "status");
        }
        (self.update)(cx, object, old);
        if let Generation::Of(names) = self.generation {
            let changed = names.iter().any(|name| !object.same(old, name));
            fields::next_generation(object, old, changed);
        }
    }

    fn prepare_for_status_update(&self, cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
        (self.status_update)(cx, object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        (self.validate)(object, &mut errors);
        (self.validate_create)(object, &mut errors);
        errors
    }

    fn validate_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        (self.validate)(object, &mut errors);
        (self.validate_update)(object, old, &mut errors);
        errors
    }

    fn validate_status_update(&self, _cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        (self.validate_status)(object, old, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        (self.warnings)(object, old)
    }

    fn allows_create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn allows_unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation
    }

    fn returns_deleted(&self) -> bool {
        self.returns_deleted
    }

    fn name_errors(&self, name: &str, generated_prefix: bool) -> Option<Vec<String>> {
        let check = self.name?;
        Some(check(&super::names::masked(name, generated_prefix)))
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        Some(self.cells?(object, now))
    }

    fn field_value(&self, object: &Value, label: &str) -> String {
        if let Some(value) = self.field.and_then(|f| f(object, label)) {
            return value;
        }
        super::plain_field(object, label)
    }
}
