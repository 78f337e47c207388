//! managedFields across the scale subresource: who owns `spec.replicas` of an object owns it in its Scale, and an
//! update of the Scale moves ownership in the object.

use super::managed::{Entry, Managed};
use super::path::PathElement;
use super::set::Set;

/// Where a kind keeps its replicas in each version: `spec`, `replicas` for built-in ones.
pub struct Replicas<'a> {
    /// (apiVersion, path); no path: the version has no scale subresource.
    pub paths: &'a [(String, Option<Vec<PathElement>>)],
    /// Of the request's object.
    pub api_version: &'a str,
}

const SCALE: &str = "autoscaling/v1";

fn in_scale() -> Set {
    Set::of_fields(&[&["spec", "replicas"]])
}

fn same_owner(a: &Entry, b: &Entry) -> bool {
    let key = |e: &Entry| (e.manager.name.clone(), e.manager.operation, e.manager.subresource.clone());
    key(a) == key(b)
}

impl Replicas<'_> {
    /// None: an unknown version. Some(None): known, without scale.
    fn path(&self, api_version: &str) -> Option<Option<&[PathElement]>> {
        self.paths.iter().find(|(v, _)| v == api_version).map(|(_, path)| path.as_deref())
    }

    /// The entries of the Scale of an object with these entries.
    pub fn to_scale(&self, parent: &Managed) -> Managed {
        let owns = |e: &&Entry| self.path(&e.api_version).flatten().is_some_and(|path| e.set.has(path));
        let entries = parent.0.iter().filter(owns).map(|e| {
            let mut manager = e.manager.clone();
            if !e.applied() {
                manager.api_version = SCALE.into();
            }
            Entry { manager, api_version: SCALE.into(), time: e.time, set: in_scale() }
        });
        Managed(entries.collect())
    }

    /// The object's entries after its Scale got these.
    pub fn to_parent(&self, parent: &Managed, scale: &Managed) -> Managed {
        let mut left: Vec<&Entry> = scale.0.iter().filter(|e| !e.set.is_empty()).collect();
        let mut out = Vec::with_capacity(parent.0.len() + 1);
        for entry in &parent.0 {
            let Some(path) = self.path(&entry.api_version) else { continue };
            let Some(path) = path.filter(|p| entry.set.has(p)) else {
                out.push(entry.clone());
                continue;
            };
            match left.iter().position(|e| same_owner(e, entry)) {
                Some(at) => {
                    left.remove(at);
                    out.push(entry.clone());
                }
                None => {
                    let mut replicas = Set::new();
                    replicas.insert(path);
                    let set = entry.set.difference(&replicas);
                    out.extend((!set.is_empty()).then(|| Entry { set, ..entry.clone() }));
                }
            }
        }
        let own = self.path(self.api_version).flatten();
        for (entry, path) in left.into_iter().filter_map(|e| Some((e, own?))) {
            let mut manager = entry.manager.clone();
            if !entry.applied() {
                manager.api_version = self.api_version.into();
            }
            let mut set = Set::new();
            set.insert(path);
            out.push(Entry { manager, api_version: self.api_version.into(), time: entry.time, set });
        }
        Managed(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::managed::{Manager, Operation};
    use super::*;

    fn entry(name: &str, operation: Operation, api_version: &str, subresource: &str, set: &str) -> Entry {
        Entry {
            manager: Manager::new(name, operation, api_version, subresource),
            api_version: api_version.into(),
            time: Some(1),
            set: Set::from_json(set).unwrap(),
        }
    }

    #[test]
    fn ownership_moves_with_the_scale() {
        let path = vec![PathElement::field("spec"), PathElement::field("replicas")];
        let paths = [("apps/v1".to_owned(), Some(path))];
        let replicas = Replicas { paths: &paths, api_version: "apps/v1" };
        let both = r#"{"f:spec":{"f:paused":{},"f:replicas":{}}}"#;
        let parent = Managed(vec![
            entry("a", Operation::Apply, "apps/v1", "", both),
            entry("b", Operation::Update, "apps/v1", "", r#"{"f:spec":{"f:template":{}}}"#),
        ]);
        let scale = replicas.to_scale(&parent);
        assert_eq!(scale.0, [entry("a", Operation::Apply, SCALE, "", r#"{"f:spec":{"f:replicas":{}}}"#)]);
        assert_eq!(replicas.to_parent(&parent, &scale), parent);
        let moved =
            Managed(vec![entry("hpa", Operation::Update, SCALE, "scale", r#"{"f:spec":{"f:replicas":{}}}"#)]);
        let got = replicas.to_parent(&parent, &moved);
        assert_eq!(got.0[0].set.to_json(), r#"{"f:spec":{"f:paused":{}}}"#);
        assert_eq!(
            got.0[2],
            entry("hpa", Operation::Update, "apps/v1", "scale", r#"{"f:spec":{"f:replicas":{}}}"#)
        );
    }
}
