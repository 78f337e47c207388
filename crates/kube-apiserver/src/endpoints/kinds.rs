//! Names that the endpoints of this crate share.

use std::sync::LazyLock;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::endpoint::{Call, Verb};

use crate::strategies::fields::map;

macro_rules! resources {
    ($($name:ident = $group:literal, $resource:literal;)*) => {
        $(pub static $name: LazyLock<GroupResource> = LazyLock::new(|| GroupResource::new($group, $resource));)*
    };
}

resources! {
    PODS = "", "pods";
    SECRETS = "", "secrets";
    NODES = "", "nodes";
    SERVICE_ACCOUNTS = "", "serviceaccounts";
    BUDGETS = "policy", "poddisruptionbudgets";
}

/// `Status` of a success, as actions without an object of their own answer.
pub fn success(code: u16) -> Value {
    Value::Map(map([
        ("kind", "Status".into()),
        ("apiVersion", "v1".into()),
        ("metadata", Value::map()),
        ("status", "Success".into()),
        ("code", Value::Int(code.into())),
    ]))
}

/// The object of a POST.
pub fn created(call: Call, resource: &GroupResource) -> Result<Value, Status> {
    match call {
        Call::Object { verb: Verb::Create, object, .. } => Ok(object),
        _ => Err(Status::method_not_allowed(resource, "this verb")),
    }
}
