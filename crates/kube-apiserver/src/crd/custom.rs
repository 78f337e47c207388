//! The strategy of custom objects: what their schema does not say as a row, by checking values.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;

use super::check::{check, check_lists};
use super::structural::{Additional, additional, flag};

/// One version of a custom kind.
pub struct Custom {
    /// `openAPIV3Schema` of the version whose values are checked.
    pub schema: Arc<Value>,
    /// `.spec.replicas` of the scale subresource, split; empty without one.
    pub replicas: Vec<String>,
    /// `status` is written by its subresource alone.
    pub has_status: bool,
    /// The warning of a deprecated version.
    pub deprecated: Option<String>,
}

impl Custom {
    fn errors(&self, object: &Value) -> ErrorList {
        let mut errors = check(&self.schema, object, "");
        errors.extend(check_lists(&self.schema, object, &Path::default()));
        errors.extend(self.replica_errors(object));
        errors
    }

    fn replica_errors(&self, object: &Value) -> Option<Error> {
        let path: Vec<&str> = self.replicas.iter().map(String::as_str).collect();
        let field = Path::new(&self.replicas.join("."));
        let count = object.int_at(&path).filter(|_| !path.is_empty())?;
        match count {
            0..=2_147_483_647 => None,
            n if n < 0 => Some(Error::invalid(&field, &n, "should be a non-negative integer")),
            n => Some(Error::invalid(&field, &n, "should be less than or equal to 2147483647")),
        }
    }
}

#[async_trait]
impl Strategy for Custom {
    /// A null where the schema allows none is nothing.
    fn default(&self, _: &str, object: &mut Map) {
        drop_nulls(&self.schema, object);
    }

    fn prepare_for_create(&self, _: &RequestContext, object: &mut Map) {
        if self.has_status {
            object.remove("status");
        }
    }

    fn validate(&self, _: &RequestContext, object: &Value) -> ErrorList {
        self.errors(object)
    }

    fn validate_update(&self, _: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let errors = self.errors(object);
        if errors.is_empty() { errors } else { ratcheted(errors, &self.errors(old), object, old) }
    }

    fn validate_status_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        self.validate_update(cx, object, old)
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecated.as_deref()
    }

    /// Unconditional updates of custom resources are refused.
    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

/// Fields of known objects and maps only: a null in a list stays, and is refused.
fn drop_nulls(schema: &Value, map: &mut Map) {
    let of = |name: &str| match (schema.at(&["properties", name]), additional(schema)) {
        (Some(of), _) | (None, Additional::Of(of)) => Some(of),
        _ => None,
    };
    map.retain(|name, value| {
        let Some(of) = of(name) else { return true };
        if value.is_null() && !flag(of, "nullable") {
            return false;
        }
        match value {
            Value::Map(map) => drop_nulls(of, map),
            Value::List(list) => {
                let items = of.get("items");
                for map in list.iter_mut().filter_map(Value::as_map_mut) {
                    items.into_iter().for_each(|items| drop_nulls(items, map));
                }
            }
            _ => {}
        }
        true
    });
}

/// Errors of values that this update did not change are let pass (CRD validation ratcheting).
fn ratcheted(errors: ErrorList, before: &ErrorList, object: &Value, old: &Value) -> ErrorList {
    let unchanged = |error: &Error| {
        let path = error.field.as_str();
        let simple = !path.is_empty() && !path.contains('[');
        let parts: Vec<&str> = path.split('.').collect();
        simple && object.at(&parts) == old.at(&parts) && before.contains(error) && object.at(&parts).is_some()
    };
    errors.into_iter().filter(|e| !unchanged(e)).collect()
}
