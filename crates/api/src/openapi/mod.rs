//! OpenAPI v3: a document for each group-version out of the rows of what is served, and the index of them.
//!
//! Deliberately absent: OpenAPI v2; the watch paths (deprecated; clients use `?watch`); prose of parameters.

mod describe;
mod paths;
mod schemas;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha512};

use crate::resources::Resource;
use crate::schema::TypeRef;

pub use schemas::definition_name;

/// One resource of a group-version.
pub struct Entry<'a> {
    pub row: &'a Resource,
    /// Of `row.kind`.
    pub of: TypeRef,
    /// A custom resource: its version's `openAPIV3Schema`.
    pub custom: Option<&'a crate::Value>,
}

/// The document of a group-version as JSON text.
pub fn document(group: &str, version: &str, entries: &[Entry<'_>]) -> Vec<u8> {
    let mut wanted = schemas::Wanted::default();
    let paths = paths::paths(group, version, entries, &mut wanted);
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.37"},
        "paths": paths,
        "components": {
            "schemas": wanted.schemas(group, version, entries),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    });
    serde_json::to_vec(&document).unwrap_or_default()
}

/// Changes whenever [`document`] would: a hash of what the document is made of. Upper-case hexadecimal SHA-512, as
/// upstream's; clients only compare it.
pub fn hash(group: &str, version: &str, entries: &[Entry<'_>]) -> String {
    let mut hash = Sha512::new();
    hash.update(concat!(env!("CARGO_PKG_VERSION"), " v1.37\n"));
    hash.update(format!("{group}/{version}\n"));
    for entry in entries {
        let row = entry.row;
        hash.update(format!("{} {} {} {:?}\n", row.resource, row.kind, row.namespaced, row.verbs));
        row.subresources.iter().for_each(|s| hash.update(format!(" {} {:?}\n", s.name, s.verbs)));
        if let Some(schema) = entry.custom {
            hash.update(Json::from(schema).to_string());
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02X}")).collect()
}

/// The index at `/openapi/v3`: (path below it such as `apis/apps/v1`, hash) each, sorted by path.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut paths: Vec<(&str, &str)> = documents.into_iter().collect();
    paths.sort_unstable();
    let url = |(path, hash): (&str, &str)| {
        (path.to_owned(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    };
    let paths: Map<String, Json> = paths.into_iter().map(url).collect();
    serde_json::to_vec(&json!({ "paths": paths })).unwrap_or_default()
}

/// `apis/apps/v1`, `api/v1`.
pub fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

#[cfg(test)]
mod tests;
