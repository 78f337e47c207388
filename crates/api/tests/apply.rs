//! Server-side apply and updates of built-in kinds as the reference server recorded them (`data/apply`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use api::Value;
use api::merge::Versions;
use api::schema::{TypeRef, by_gvk};

mod replay;

/// One version only: nothing converts.
struct Builtin(&'static str);

impl Versions for Builtin {
    fn type_of(&self, api_version: &str) -> Option<TypeRef> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        by_gvk(group, version, self.0)
    }

    fn convert(&self, _: &Value, _: &str) -> Option<Value> {
        None
    }
}

macro_rules! recorded {
    ($($test:ident: $file:literal, $kind:literal;)*) => {
        $(#[test]
        fn $test() {
            let text = include_str!(concat!("data/apply/", $file, ".json"));
            replay::replay($file, text, &Builtin($kind));
        })*
    };
}

recorded! {
    deployment_conflict: "deployment-conflict", "Deployment";
    deployment_update: "deployment-update", "Deployment";
    configmap_ownership: "configmap-ownership", "ConfigMap";
    many_updaters: "many-updaters", "ConfigMap";
    client_side: "client-side", "ConfigMap";
    lists: "lists", "Service";
    pod: "pod", "Pod";
    revision: "revision", "ControllerRevision";
}
