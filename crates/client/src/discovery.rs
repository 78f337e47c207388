//! What the server serves: its resources by aggregated discovery (apidiscovery.k8s.io/v2, KEP-3352).

use std::borrow::Cow;

use http::Method;
use serde::Deserialize;

use crate::api::Api;
use crate::decode;
use crate::error::{Error, Result};
use crate::resource::Resource;

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A resource with the verbs that it answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    pub resource: Resource,
    pub verbs: Vec<String>,
}

impl Discovered {
    pub fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// Every resource in the version that its group prefers among those that have it.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    pub resources: Vec<Discovered>,
    /// `group/version`s whose server did not answer of late.
    pub stale: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Name,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Entry>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    resource: String,
    #[serde(default)]
    response_kind: Option<Kind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// Asks the server.
pub async fn discover(api: &Api) -> Result<Discovery> {
    let mut found = Discovery::default();
    for path in ["/api", "/apis"] {
        let bytes = api.bytes(Method::GET, path, ACCEPT, None).await?;
        let groups: Groups = decode::from_slice(&bytes)
            .map_err(|source| Error::Json { what: format!("the answer of {path}"), source })?;
        for group in groups.items {
            found.add(group);
        }
    }
    Ok(found)
}

impl Discovery {
    fn add(&mut self, group: Group) {
        let name = group.metadata.name;
        let mut seen: Vec<String> = Vec::new();
        for version in group.versions {
            if version.freshness == "Stale" {
                self.stale.push(if name.is_empty() {
                    version.version.clone()
                } else {
                    format!("{name}/{}", version.version)
                });
            }
            for entry in version.resources {
                if seen.contains(&entry.resource) {
                    continue;
                }
                seen.push(entry.resource.clone());
                let resource = Resource {
                    group: Cow::Owned(name.clone()),
                    version: Cow::Owned(version.version.clone()),
                    plural: Cow::Owned(entry.resource),
                    kind: Cow::Owned(entry.response_kind.map(|k| k.kind).unwrap_or_default()),
                    namespaced: entry.scope == "Namespaced",
                };
                self.resources.push(Discovered { resource, verbs: entry.verbs });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_counts() {
        let group: Group = serde_json::from_str(
            r#"{"metadata":{"name":"g"},"versions":[
                {"version":"v2","freshness":"Current","resources":[{"resource":"as","responseKind":{"group":"g","version":"v2","kind":"A"},"scope":"Namespaced","verbs":["list"]}]},
                {"version":"v1","freshness":"Stale","resources":[{"resource":"as","responseKind":{"kind":"A"},"verbs":["get"]},{"resource":"bs","responseKind":{"kind":"B"},"scope":"Cluster","verbs":["get"]}]}]}"#,
        )
        .unwrap();
        let mut found = Discovery::default();
        found.add(group);
        let names: Vec<_> = found
            .resources
            .iter()
            .map(|d| (d.resource.api_version(), &*d.resource.plural, d.resource.namespaced))
            .collect();
        assert_eq!(names, [("g/v2".into(), "as", true), ("g/v1".into(), "bs", false)]);
        assert_eq!(found.stale, ["g/v1"]);
        assert!(found.resources[0].has("list"));
    }
}
