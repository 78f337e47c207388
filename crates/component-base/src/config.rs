//! Configuration kinds: a YAML or JSON file with apiVersion and kind, read strictly into a struct.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{path}: no kind {kind:?} is registered for version {api_version:?}; expected {expected}")]
    Kind { path: PathBuf, api_version: String, kind: String, expected: String },
    /// Names the field, as serde does (`unknown field `x``).
    #[error("{path}: strict decoding error: {message}")]
    Field { path: PathBuf, message: String },
}

/// Reads `path` into `T`, which should `deny_unknown_fields` and not name `apiVersion` and `kind`. Any of
/// `api_versions` is taken; `T` gets the fields of the newest.
pub fn load<T: DeserializeOwned>(path: &Path, api_versions: &[&str], kind: &str) -> Result<T, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(path, &text, api_versions, kind)
}

/// [`load`] on the content of a file; `path` is for messages.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    api_versions: &[&str],
    kind: &str,
) -> Result<T, ConfigError> {
    let mut value: Value = serde_saphyr::from_str(text)
        .map_err(|e| ConfigError::Syntax { path: path.into(), message: e.to_string() })?;
    let found = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, found_kind) = (found("apiVersion"), found("kind"));
    if found_kind != kind || !api_versions.contains(&&*api_version) {
        let expected = format!("{kind} of {}", api_versions.join(", "));
        return Err(ConfigError::Kind { path: path.into(), api_version, kind: found_kind, expected });
    }
    if let Some(map) = value.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    serde_json::from_value(value)
        .map_err(|e| ConfigError::Field { path: path.into(), message: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Proxy {
        bind_address: String,
    }

    fn read(text: &str) -> Result<Proxy, ConfigError> {
        parse(Path::new("p.yaml"), text, &["kubeproxy.config.k8s.io/v1alpha1"], "KubeProxyConfiguration")
    }

    #[test]
    fn strictly() {
        let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
        assert_eq!(read(&format!("{head}bindAddress: 1.2.3.4\n")).unwrap().bind_address, "1.2.3.4");
        let error = read(&format!("{head}bindAddress: a\nbindAdress: b\n")).unwrap_err();
        assert!(error.to_string().contains("unknown field `bindAdress`"), "{error}");
        assert!(matches!(read("kind: Other\n"), Err(ConfigError::Kind { .. })));
    }
}
