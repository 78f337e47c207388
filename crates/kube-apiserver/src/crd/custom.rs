//! The strategy of custom objects: what their schema does not say as a row, by checking values.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;

use super::check::{check, check_lists, check_update};
use super::expressions::{Rules, judge};
use super::structural::{Additional, additional, flag};

/// One version of a custom kind.
pub struct Custom {
    /// `openAPIV3Schema` of the version whose values are checked.
    pub schema: Arc<Value>,
    /// Its `x-kubernetes-validations`, compiled; None: it has none.
    pub rules: Option<Rules>,
    /// `.spec.replicas` of the scale subresource, split; empty without one.
    pub replicas: Vec<String>,
    /// `status` is written by its subresource alone.
    pub has_status: bool,
    /// The warning of a deprecated version.
    pub deprecated: Option<String>,
}

/// Errors after which no rule is evaluated: values are not what rules take them for.
const BLOCKING: [ErrorType; 5] = [
    ErrorType::NotSupported,
    ErrorType::Required,
    ErrorType::TooLong,
    ErrorType::TooMany,
    ErrorType::TypeInvalid,
];

impl Custom {
    /// The rules, where nothing before them keeps them from being evaluated.
    fn judge(&self, cx: &RequestContext, object: &Value, old: Option<&Value>, errors: &mut ErrorList) {
        let Some(rules) = &self.rules else { return };
        if errors.iter().any(|error| BLOCKING.contains(&error.kind)) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            let mut error = Error::invalid(&Path::default(), "", detail);
            error.value = Some("null".into());
            errors.push(error);
            return;
        }
        let mut judged = judge(rules, object, old);
        errors.append(&mut judged.errors);
        judged.warnings.into_iter().for_each(|warning| cx.warnings.add(warning));
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

    fn validate(&self, cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = check(&self.schema, object, "");
        errors.extend(self.replica_errors(object));
        errors.extend(check_lists(&self.schema, object, &Path::default()));
        self.judge(cx, object, None, &mut errors);
        errors
    }

    /// Errors of what this update did not change are let pass (KEP-4008).
    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = check_update(&self.schema, object, old);
        errors.extend(self.replica_errors(object));
        if check_lists(&self.schema, old, &Path::default()).is_empty() {
            errors.extend(check_lists(&self.schema, object, &Path::default()));
        }
        self.judge(cx, object, Some(old), &mut errors);
        errors
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
