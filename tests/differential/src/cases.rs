//! Requests as data. A file of `requests/` is a story: its lines are sent in their order to both servers, in the
//! order of the files' names. A line is a JSON object, or a comment after `#`:
//!
//! ```text
//! {"name": "a pod without containers", "POST": "/api/v1/namespaces/default/pods", "from": "pod", "with": {"spec": {"containers": []}}}
//! ```
//!
//! `from` names a body of `templates.json`, `with` is a merge patch on it; `body` is a whole body, `text` one that
//! is no JSON. `type` and `accept` are media types or short names of some; `as` is a user of `tokens`; `keep` takes
//! values of the answer by pointer, which later lines name as `$NAME`; `until` repeats a GET until the answer has
//! these values, since a server does some things in its own time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// One request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    pub name: String,
    #[serde(rename = "GET")]
    get: String,
    #[serde(rename = "POST")]
    post: String,
    #[serde(rename = "PUT")]
    put: String,
    #[serde(rename = "PATCH")]
    patch: String,
    #[serde(rename = "DELETE")]
    delete: String,
    #[serde(rename = "OPTIONS")]
    options: String,
    #[serde(rename = "HEAD")]
    head: String,
    pub r#as: Option<String>,
    from: String,
    with: Option<Value>,
    body: Option<Value>,
    text: Option<String>,
    r#type: Option<String>,
    accept: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub keep: BTreeMap<String, String>,
    pub until: BTreeMap<String, Value>,
    /// Lists of the answer at these pointers have no order.
    pub unordered: Vec<String>,
}

const SHORT: &[(&str, &str)] = &[
    ("json", "application/json"),
    ("yaml", "application/yaml"),
    ("protobuf", "application/vnd.kubernetes.protobuf"),
    ("cbor", "application/cbor"),
    ("json-patch", "application/json-patch+json"),
    ("merge", "application/merge-patch+json"),
    ("strategic", "application/strategic-merge-patch+json"),
    ("apply", "application/apply-patch+yaml"),
    ("table", "application/json;as=Table;v=v1;g=meta.k8s.io"),
    ("metadata", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
    ("metadata-list", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
    ("aggregated", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
];

fn media(name: &str) -> String {
    SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long).to_owned()
}

impl Case {
    /// Method and target.
    pub fn line(&self) -> (&'static str, &str) {
        let all = [
            ("GET", &self.get),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("OPTIONS", &self.options),
            ("HEAD", &self.head),
        ];
        all.into_iter().find(|(_, t)| !t.is_empty()).map_or(("", ""), |(method, target)| (method, target))
    }

    /// The bytes to send, "" for none.
    pub fn payload(&self, templates: &Map<String, Value>) -> std::result::Result<String, String> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        let mut body = match (&self.body, self.from.as_str()) {
            (Some(body), _) => body.clone(),
            (None, "") => return Ok(String::new()),
            (None, from) => templates.get(from).cloned().ok_or_else(|| format!("no template {from:?}"))?,
        };
        if let Some(with) = &self.with {
            merge(&mut body, with);
        }
        Ok(body.to_string())
    }

    pub fn content_type(&self) -> Option<String> {
        self.r#type.as_deref().map(media)
    }

    pub fn accept(&self) -> String {
        media(self.accept.as_deref().unwrap_or("application/json"))
    }
}

/// RFC 7386, but that a null in a patch stays one where the target has nothing.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                match target.get_mut(key) {
                    Some(_) if value.is_null() => {
                        target.shift_remove(key);
                    }
                    Some(old) => merge(old, value),
                    None => {
                        target.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// All that is to be sent, and what is known to differ.
pub struct Cases {
    /// (`file: name`, request).
    pub all: Vec<(String, Case)>,
    pub templates: Map<String, Value>,
    /// By `file: name`: why.
    pub known: BTreeMap<String, String>,
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::File(path.display().to_string(), e))
}

impl Cases {
    /// Of a folder with `requests/` and `known.txt`; only files whose name contains one of `only`, and those whose
    /// name starts with `0`, on which all others stand.
    pub fn load(folder: &Path, only: &[String]) -> Result<Self> {
        let requests = folder.join("requests");
        let entries = fs::read_dir(&requests).map_err(|e| Error::File(requests.display().to_string(), e))?;
        let mut files: Vec<_> = entries.flatten().map(|e| e.path()).collect();
        files.sort();
        let templates = serde_json::from_str(&read(&requests.join("templates.json"))?)
            .map_err(|e| Error::Setup(format!("templates.json: {e}")))?;
        let mut all = Vec::new();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "jsonl")) {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = only.is_empty() || name.starts_with('0') || only.iter().any(|o| name.contains(o));
            if wanted {
                story(&name, &read(file)?, &mut all)?;
            }
        }
        let mut known = known(&read(&folder.join("known.txt"))?);
        let names: BTreeSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        if only.is_empty() {
            let stray = known.keys().find(|k| !names.contains(k.as_str()));
            if let Some(name) = stray {
                return Err(Error::Setup(format!("known.txt names {name:?}, which is not sent")));
            }
        }
        known.retain(|name, _| names.contains(name.as_str()));
        Ok(Self { all, templates, known })
    }
}

fn story(file: &str, text: &str, into: &mut Vec<(String, Case)>) -> Result<()> {
    for (at, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| Error::Case { file: format!("{file}.jsonl"), line: at + 1, why };
        let case: Case = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let name = format!("{file}: {}", case.name);
        if case.name.is_empty() || case.line().1.is_empty() {
            return Err(wrong("a name and a method with its target are needed".into()));
        }
        if into.iter().any(|(n, _)| *n == name) {
            return Err(wrong(format!("{:?} stands here twice", case.name)));
        }
        into.push((name, case));
    }
    Ok(())
}

/// Lines `# why`, each with the names that it is true for beneath.
fn known(text: &str) -> BTreeMap<String, String> {
    let mut why = String::new();
    let mut known = BTreeMap::new();
    for line in text.lines().filter(|l| !l.is_empty()) {
        match line.strip_prefix("# ") {
            Some(reason) => why = reason.to_owned(),
            None => {
                known.insert(line.to_owned(), why.clone());
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_templates_with_changes() {
        let templates = json!({"pod": {"spec": {"a": 1, "b": 2}}});
        let case: Case = serde_json::from_value(
            json!({"name": "n", "POST": "/x", "from": "pod", "with": {"spec": {"a": null, "c": null}}}),
        )
        .unwrap();
        assert_eq!(case.line(), ("POST", "/x"));
        assert_eq!(case.payload(templates.as_object().unwrap()).unwrap(), r#"{"spec":{"b":2,"c":null}}"#);
    }

    #[test]
    fn known_differences_stand_under_their_reason() {
        let known = known("# Not built\na: x\n\n# Other\nb: y\n");
        assert_eq!(known["a: x"], "Not built");
        assert_eq!(known["b: y"], "Other");
    }

    #[test]
    fn every_request_of_the_project_can_be_read() {
        let cases = Cases::load(Path::new(env!("CARGO_MANIFEST_DIR")), &[]).unwrap();
        for (name, case) in &cases.all {
            assert!(case.payload(&cases.templates).is_ok(), "{name}");
        }
    }
}
