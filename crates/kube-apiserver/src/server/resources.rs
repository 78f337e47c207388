//! Which resources are served, and what stands behind each of their subresources.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::resources::Resource;
use apiserver::catalog::{ScalePaths, Serve, Subresource};
use apiserver::endpoint::Endpoint;

use super::Error;
use crate::endpoints::parts;
use crate::strategies::{self, Needs};

/// What endpoints there are, by `group/resource` or `group/resource/subresource`.
#[derive(Clone, Default)]
pub struct Endpoints(pub BTreeMap<String, Arc<dyn Endpoint>>);

impl Endpoints {
    pub fn add(&mut self, group: &str, path: &str, endpoint: Arc<dyn Endpoint>) {
        self.0.insert(format!("{group}/{path}"), endpoint);
    }

    fn find(&self, group: &str, path: &str) -> Option<Arc<dyn Endpoint>> {
        self.0.get(&format!("{group}/{path}")).cloned()
    }
}

/// `--runtime-config`: `api/all`, `api/ga`, `api/beta`, `api/alpha`, `group/version`, `group/version/resource`.
pub struct Enabled(Vec<(String, bool)>);

impl Enabled {
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, Error> {
        let mut out = Vec::new();
        for (key, value) in pairs {
            let on = match value.as_str() {
                "true" | "" => true,
                "false" => false,
                _ => {
                    return Err(Error::Option(format!(
                        "--runtime-config: {key}={value} is neither true nor false"
                    )));
                }
            };
            out.push((key.clone(), on));
        }
        Ok(Self(out))
    }

    fn said(&self, key: &str) -> Option<bool> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, on)| *on)
    }

    /// The narrowest word counts.
    pub fn serves(&self, row: &Resource) -> bool {
        let gv = if row.group.is_empty() {
            row.version.to_string()
        } else {
            format!("{}/{}", row.group, row.version)
        };
        let stage = match &*row.version {
            v if v.contains("alpha") => "api/alpha",
            v if v.contains("beta") => "api/beta",
            _ => "api/ga",
        };
        self.said(&format!("{gv}/{}", row.resource))
            .or_else(|| self.said(&gv))
            .or_else(|| self.said(stage))
            .or_else(|| self.said("api/all"))
            .unwrap_or(row.by_default)
    }
}

/// The row as it is to be served.
pub fn serve(row: &Arc<Resource>, needs: &Needs, endpoints: &Endpoints) -> Option<Serve> {
    let schema = row.object_type()?;
    let storage_schema = row.stored_type().unwrap_or_else(|| schema.clone());
    Some(Serve {
        row: row.clone(),
        schema,
        storage_schema,
        strategy: strategies::of(&row.group, &row.resource, needs),
        converter: crate::conversion::converter(&row.group, &row.resource),
        subresources: subresources(row, endpoints),
        endpoint: endpoints.find(&row.group, &row.resource),
        table: None,
        openapi: None,
        generation: 0,
    })
}

fn subresources(row: &Resource, endpoints: &Endpoints) -> BTreeMap<String, Subresource> {
    let mut found = BTreeMap::new();
    for sub in &row.subresources {
        let name = &*sub.name;
        let path = format!("{}/{name}", row.resource);
        let what = match (&*row.resource, name) {
            (_, "status") => Some(Subresource::Status),
            (_, "scale") => Some(Subresource::Scale(scale())),
            ("pods", "ephemeralcontainers") => Some(Subresource::Part(Arc::new(parts::EphemeralContainers))),
            ("pods", "resize") => Some(Subresource::Part(Arc::new(parts::Resize))),
            ("namespaces", "finalize") => {
                Some(Subresource::Part(Arc::new(strategies::corev1::namespace::Finalize)))
            }
            ("certificatesigningrequests", "approval") => Some(Subresource::Part(Arc::new(parts::Approval))),
            _ => endpoints.find(&row.group, &path).map(Subresource::Endpoint),
        };
        match what {
            Some(what) => drop(found.insert(name.to_owned(), what)),
            None => tracing::warn!(group = %row.group, path, "not served: nothing stands behind it"),
        }
    }
    found
}

fn scale() -> ScalePaths {
    ScalePaths {
        spec_replicas: ".spec.replicas".into(),
        status_replicas: ".status.replicas".into(),
        selector: ".spec.selector".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_config_by_its_narrowest_word() {
        let row = |group: &str, version: &str, resource: &str| {
            api::resources::builtin()
                .iter()
                .find(|r| &*r.group == group && &*r.version == version && &*r.resource == resource)
                .cloned()
                .unwrap()
        };
        let pairs = |list: &[(&str, &str)]| {
            Enabled::parse(&list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
                .unwrap()
        };
        let pods = row("", "v1", "pods");
        assert!(pairs(&[]).serves(&pods));
        assert!(!pairs(&[("api/all", "false")]).serves(&pods));
        assert!(pairs(&[("api/all", "false"), ("v1", "true")]).serves(&pods));
        let beta = row("resource.k8s.io", "v1beta1", "deviceclasses");
        assert!(!pairs(&[]).serves(&beta));
        assert!(pairs(&[("api/beta", "true")]).serves(&beta));
        assert!(Enabled::parse(&[("api/all".into(), "maybe".into())]).is_err());
    }
}
