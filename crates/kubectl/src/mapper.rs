//! What the server serves, by aggregated discovery (KEP-3352), and what a word for a resource means: plural,
//! singular, short name or kind, with group and version behind dots; categories stand for many.
//!
//! Deliberately absent: the cache on disk.

use std::rc::Rc;

use api::Value;

use crate::error::{Error, Result};
use crate::server::{Ask, Server};

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One resource in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: Vec<String>,
    pub namespaced: bool,
    pub subresources: Vec<String>,
}

impl Resource {
    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of the collection ("" for all namespaces) or of one object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let mut path =
            if self.group.is_empty() { "/api/".to_owned() } else { format!("/apis/{}/", self.group) };
        path.push_str(&self.version);
        if self.namespaced && !namespace.is_empty() {
            path.push_str("/namespaces/");
            crate::server::escape(&mut path, namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if !name.is_empty() {
            path.push('/');
            crate::server::escape(&mut path, name);
        }
        path
    }

    /// `deployment.apps`, as objects are named in messages.
    pub fn display(&self) -> String {
        let kind = if self.singular.is_empty() { self.kind.to_lowercase() } else { self.singular.clone() };
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    /// `deployments.apps`.
    pub fn display_plural(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    fn is_called(&self, word: &str) -> bool {
        self.plural == word || self.singular == word || self.kind.to_lowercase() == word
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// Every resource, in the server's order of preference.
#[derive(Debug, Default)]
pub struct Mapper {
    pub resources: Vec<Rc<Resource>>,
}

impl Mapper {
    pub async fn load(server: &Server) -> Result<Self> {
        let (core, groups) = (Ask::get("/api").accepting(ACCEPT), Ask::get("/apis").accepting(ACCEPT));
        let (core, groups) = tokio::join!(server.value(&core), server.value(&groups));
        let mut mapper = Self::default();
        mapper.read(&core?);
        mapper.read(&groups?);
        Ok(mapper)
    }

    /// Adds what an APIGroupDiscoveryList says.
    pub fn read(&mut self, list: &Value) {
        for group in list.list_at(&["items"]) {
            let name = group.str_at(&["metadata", "name"]);
            for version in group.list_at(&["versions"]) {
                let entries = version.list_at(&["resources"]).iter();
                self.resources.extend(entries.map(|e| Rc::new(entry(name, version.str_at(&["version"]), e))));
            }
        }
    }

    /// The resource of a word such as `po`, `deployments.apps` or `deployments.v1.apps`.
    pub fn resource(&self, word: &str) -> Result<Rc<Resource>> {
        let lower = word.to_lowercase();
        let (name, rest) = lower.split_once('.').unwrap_or((&lower, ""));
        let (version, group) = rest.split_once('.').unwrap_or((rest, ""));
        let fits =
            |r: &Resource| rest.is_empty() || r.group == rest || (r.version == version && r.group == group);
        let all = || self.resources.iter().filter(|r| fits(r));
        let found = all()
            .find(|r| r.is_called(name))
            .or_else(|| all().find(|r| r.short.iter().any(|s| s == name)))
            .or_else(|| all().find(|r| r.is_called(&lower)));
        found
            .cloned()
            .ok_or_else(|| Error::Plain(format!("the server doesn't have a resource type {word:?}")))
    }

    /// The resources of a word, which may be a category.
    pub fn resources(&self, word: &str) -> Result<Vec<Rc<Resource>>> {
        match self.resource(word) {
            Ok(one) => Ok(vec![one]),
            Err(error) => {
                let mut members: Vec<Rc<Resource>> = Vec::new();
                for r in self.resources.iter().filter(|r| r.categories.iter().any(|c| c == word)) {
                    if !members.iter().any(|m| m.group == r.group && m.plural == r.plural) {
                        members.push(r.clone());
                    }
                }
                if members.is_empty() { Err(error) } else { Ok(members) }
            }
        }
    }

    /// The resource of an object's `apiVersion` and `kind`.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<Rc<Resource>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let fits = |r: &&Rc<Resource>| r.kind == kind && r.group == group && r.version == version;
        self.resources.iter().find(fits).cloned()
    }
}

fn entry(group: &str, version: &str, e: &Value) -> Resource {
    let texts = |key: &str| e.list_at(&[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Resource {
        group: group.into(),
        version: version.into(),
        kind: e.str_at(&["responseKind", "kind"]).into(),
        plural: e.str_at(&["resource"]).into(),
        singular: e.str_at(&["singularResource"]).into(),
        short: texts("shortNames"),
        categories: texts("categories"),
        verbs: texts("verbs"),
        namespaced: e.str_at(&["scope"]) == "Namespaced",
        subresources: e
            .list_at(&["subresources"])
            .iter()
            .map(|s| s.str_at(&["subresource"]).to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    fn mapper() -> Mapper {
        let mut mapper = Mapper::default();
        let one = |plural: &str, kind: &str, short: &str, scope: &str| {
            value!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["get"],
                "singularResource": (kind.to_lowercase()), "shortNames": [short], "categories": ["all"]})
        };
        mapper.read(&value!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            (one("pods", "Pod", "po", "Namespaced")), (one("events", "Event", "ev", "Namespaced")), (one("nodes", "Node", "no", "Cluster"))]}]}]}));
        mapper.read(&value!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [(one("deployments", "Deployment", "deploy", "Namespaced"))]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [(one("events", "Event", "ev", "Namespaced"))]}]}]}));
        mapper
    }

    #[test]
    fn words_for_resources() {
        let mapper = mapper();
        for (word, want) in [
            ("po", "/api/v1/namespaces/x/pods"),
            ("Pod", "/api/v1/namespaces/x/pods"),
            ("no", "/api/v1/nodes"),
            ("deploy", "/apis/apps/v1/namespaces/x/deployments"),
            ("deployments.apps", "/apis/apps/v1/namespaces/x/deployments"),
            ("deployments.v1.apps", "/apis/apps/v1/namespaces/x/deployments"),
            ("events", "/api/v1/namespaces/x/events"),
            ("events.events.k8s.io", "/apis/events.k8s.io/v1/namespaces/x/events"),
        ] {
            assert_eq!(mapper.resource(word).unwrap().path("x", ""), want, "{word}");
        }
        let error = mapper.resource("nope").unwrap_err().to_string();
        assert_eq!(error, "the server doesn't have a resource type \"nope\"");
        assert_eq!(mapper.resources("all").unwrap().len(), 5);
        assert_eq!(mapper.kind("apps/v1", "Deployment").unwrap().display(), "deployment.apps");
        assert_eq!(mapper.kind("v1", "Node").unwrap().path("x", "n"), "/api/v1/nodes/n");
    }
}
