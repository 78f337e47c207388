//! Kubeconfig files: written for components, and merged into the user's as kind does it: the context is added
//! and made the current one; on `down` it is taken out again and the one before comes back.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::pki::{certificate_file, key_file};
use crate::record::write_whole;
use crate::{During, Error};

/// A kubeconfig with the certificates inside, for the client certificate `certificate` of the cluster.
pub fn build(layout: &Layout, certificate: &str) -> Result<Value, Error> {
    let (dir, name) = (layout.pki(), layout.context());
    let data = |path: PathBuf| -> Result<String, Error> {
        Ok(STANDARD.encode(fs::read(&path).during(format!("reading {}", path.display()))?))
    };
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": layout.server(), "certificate-authority-data": data(certificate_file(&dir, "ca"))?}}],
        "users": [{"name": name, "user": {
            "client-certificate-data": data(certificate_file(&dir, certificate))?,
            "client-key-data": data(key_file(&dir, certificate))?}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }))
}

pub fn write(layout: &Layout, certificate: &str, path: &Path) -> Result<(), Error> {
    save(path, &build(layout, certificate)?)
}

/// The first file of KUBECONFIG, else `~/.kube/config`.
pub fn users_file() -> PathBuf {
    let named = std::env::var_os("KUBECONFIG")
        .and_then(|list| std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty()));
    let home =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".kube/config");
    named.unwrap_or_else(home)
}

/// Adds the cluster to a kubeconfig and makes it the current one; the context that was current before.
pub fn merge_into(path: &Path, ours: &Value) -> Result<Option<String>, Error> {
    let mut config = load(path)?;
    let before = config["current-context"].as_str().filter(|c| !c.is_empty()).map(str::to_owned);
    for list in ["clusters", "users", "contexts"] {
        for entry in ours[list].as_array().into_iter().flatten() {
            remove_entry(&mut config, list, entry["name"].as_str().unwrap_or_default());
            match config[list].as_array_mut() {
                Some(entries) => entries.push(entry.clone()),
                None => config[list] = json!([entry]),
            }
        }
    }
    config["current-context"] = ours["current-context"].clone();
    save(path, &config)?;
    Ok(before.filter(|b| Some(b.as_str()) != ours["current-context"].as_str()))
}

/// Takes the cluster out again. A file that held nothing else is removed.
pub fn remove_from(path: &Path, context: &str, previous: Option<&str>) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let mut config = load(path)?;
    for list in ["clusters", "users", "contexts"] {
        remove_entry(&mut config, list, context);
    }
    if config["current-context"] == context {
        let known =
            |name: &str| config["contexts"].as_array().is_some_and(|c| c.iter().any(|e| e["name"] == name));
        config["current-context"] = json!(previous.filter(|p| known(p)).unwrap_or_default());
    }
    let empty =
        ["clusters", "users", "contexts"].iter().all(|l| config[*l].as_array().is_none_or(Vec::is_empty));
    if empty {
        fs::remove_file(path).during(format!("removing {}", path.display()))?;
        // The folder goes too if this was all it held.
        let _ = path.parent().map(fs::remove_dir);
        return Ok(());
    }
    save(path, &config)
}

fn remove_entry(config: &mut Value, list: &str, name: &str) {
    if let Some(entries) = config[list].as_array_mut() {
        entries.retain(|e| e["name"] != name);
    }
}

fn load(path: &Path) -> Result<Value, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => text,
        Ok(_) => return Ok(json!({"apiVersion": "v1", "kind": "Config"})),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(json!({"apiVersion": "v1", "kind": "Config"}));
        }
        Err(e) => return Err(e).during(format!("reading {}", path.display())),
    };
    let value: Value =
        serde_saphyr::from_str(&text).map_err(|e| Error::Record { path: path.into(), why: e.to_string() })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Error::Record { path: path.into(), why: "is no kubeconfig".into() })
}

/// JSON is YAML, and every client reads it; but people read these files, so YAML it is.
fn save(path: &Path, config: &Value) -> Result<(), Error> {
    let text = serde_saphyr::to_string(config)
        .map_err(|e| Error::Record { path: path.into(), why: e.to_string() })?;
    write_whole(path, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({"current-context": "keelson", "clusters": [{"name": "keelson", "cluster": {"server": "https://a"}}],
               "users": [{"name": "keelson", "user": {}}],
               "contexts": [{"name": "keelson", "context": {"cluster": "keelson", "user": "keelson"}}]})
    }

    #[test]
    fn what_up_adds_down_takes_away() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kube/config");
        let theirs = "apiVersion: v1\nkind: Config\ncurrent-context: prod\ncontexts:\n- name: prod\n  context: {cluster: c, user: u}\nclusters: []\nusers: []\n";
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, theirs).unwrap();
        let before = load(&file).unwrap();
        let previous = merge_into(&file, &ours()).unwrap();
        assert_eq!(previous.as_deref(), Some("prod"));
        assert_eq!(load(&file).unwrap()["current-context"], "keelson");
        assert_eq!(
            merge_into(&file, &ours()).unwrap(),
            None,
            "a second up keeps the context before the first"
        );
        remove_from(&file, "keelson", Some("prod")).unwrap();
        assert_eq!(load(&file).unwrap(), before);
    }

    #[test]
    fn a_file_of_ours_alone_goes_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kube/config");
        merge_into(&file, &ours()).unwrap();
        remove_from(&file, "keelson", None).unwrap();
        assert!(!file.parent().unwrap().exists());
    }
}
