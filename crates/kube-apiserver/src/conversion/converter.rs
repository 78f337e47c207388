//! The registry's view of these conversions.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersion, Status};
use apiserver::catalog::Converter;

struct Coded {
    group: String,
    resource: String,
}

impl Converter for Coded {
    fn now(&self, object: &Value, from: &GroupVersion, to: &GroupVersion) -> Option<Result<Value, Status>> {
        Some(super::convert(&self.group, &self.resource, object, from, to))
    }
}

/// The converter of a built-in resource.
pub fn converter(group: &str, resource: &str) -> Arc<dyn Converter> {
    Arc::new(Coded { group: group.into(), resource: resource.into() })
}
