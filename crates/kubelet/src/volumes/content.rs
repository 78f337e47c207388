//! The files of config map, secret, downward API and projected volumes. Pure: objects and tokens are handed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, SecretVolumeSource,
};

use super::atomic::{File, Payload};
use super::ownership;
use crate::environment::{EnvError, Facts, field_value, resource_value};
use crate::objects::{Data, Kind};

/// Why the content cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContentError {
    /// An object does not exist.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// Lower-case kind.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// An object lacks a key.
    #[error("{kind} {name:?}: references non-existent {kind} key: {key}")]
    Key {
        /// Lower-case kind.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// Missing key.
        key: String,
    },
    /// A field cannot be given.
    #[error(transparent)]
    Field(#[from] EnvError),
}

/// Objects by kind and name, `None` for those that do not exist, and tokens by path.
#[derive(Default)]
pub struct Sources {
    /// Config maps and secrets.
    pub objects: HashMap<(Kind, String), Option<Arc<Data>>>,
    /// Service account tokens, by audience and lifetime.
    pub tokens: HashMap<(String, i64), String>,
    /// Trust anchors, by index of the source that names them.
    pub anchors: HashMap<usize, String>,
    /// Private keys and certificates, both PEM, by index of the source.
    pub certificates: HashMap<usize, (String, String)>,
}

impl Sources {
    fn get(&self, kind: Kind, name: &str) -> Option<&Data> {
        self.objects.get(&(kind, name.to_owned()))?.as_deref()
    }
}

fn mode(own: Option<i32>, default: u32) -> u32 {
    own.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default)
}

/// Default mode of a volume's files, 0644 if unset.
#[must_use]
pub fn default_mode(mode_: Option<i32>) -> u32 {
    mode(mode_, 0o644)
}

/// The chosen keys of an object, or all.
fn keys(
    data: &Data,
    kind: Kind,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    default: u32,
    optional: bool,
    out: &mut Payload,
) -> Result<(), ContentError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let files = data
            .all()
            .iter()
            .map(|(key, bytes)| (key.clone(), File { data: bytes.clone(), mode: default, owner: None }));
        out.extend(files);
        return Ok(());
    };
    for item in items {
        match data.bytes(&item.key) {
            Some(bytes) => {
                out.insert(
                    item.path.clone(),
                    File { data: bytes, mode: mode(item.mode, default), owner: None },
                );
            }
            None if optional => {}
            None => {
                return Err(ContentError::Key {
                    kind: kind.lower(),
                    name: name.to_owned(),
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(())
}

fn object(
    sources: &Sources,
    kind: Kind,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    optional: Option<bool>,
    default: u32,
    out: &mut Payload,
) -> Result<(), ContentError> {
    let optional = optional == Some(true);
    match sources.get(kind, name) {
        Some(data) => keys(data, kind, name, items, default, optional, out),
        None if optional => Ok(()),
        None => Err(ContentError::NotFound { kind: kind.lower(), name: name.to_owned() }),
    }
}

/// A config map volume.
///
/// # Errors
/// [`ContentError`]
pub fn config_map(source: &ConfigMapVolumeSource, sources: &Sources) -> Result<Payload, ContentError> {
    let mut out = Payload::new();
    let default = default_mode(source.default_mode);
    object(
        sources,
        Kind::ConfigMap,
        &source.name,
        source.items.as_ref(),
        source.optional,
        default,
        &mut out,
    )?;
    Ok(out)
}

/// A secret volume.
///
/// # Errors
/// [`ContentError`]
pub fn secret(source: &SecretVolumeSource, sources: &Sources) -> Result<Payload, ContentError> {
    let mut out = Payload::new();
    let name = source.secret_name.as_deref().unwrap_or_default();
    let default = default_mode(source.default_mode);
    object(sources, Kind::Secret, name, source.items.as_ref(), source.optional, default, &mut out)?;
    Ok(out)
}

/// The files of a downward API volume.
///
/// # Errors
/// [`ContentError::Field`]
pub fn downward(
    pod: &Pod,
    items: Option<&Vec<DownwardAPIVolumeFile>>,
    default: u32,
    facts: &Facts,
) -> Result<Payload, ContentError> {
    let mut out = Payload::new();
    for item in items.into_iter().flatten() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => field_value(pod, &field.field_path, facts)?,
            (None, Some(resource)) => resource_value(pod, None, resource, facts)?,
            (None, None) => continue,
        };
        out.insert(
            item.path.clone(),
            File { data: text.into_bytes(), mode: mode(item.mode, default), owner: None },
        );
    }
    Ok(out)
}

/// A projected volume: several sources in one folder.
///
/// # Errors
/// [`ContentError`]
pub fn projected(
    pod: &Pod,
    source: &ProjectedVolumeSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Payload, ContentError> {
    let mut out = Payload::new();
    let default = default_mode(source.default_mode);
    let user = ownership::common_user(pod);
    // what only its owner may read, if there is one
    let private = user.is_some() || ownership::group(pod).is_some();
    let own = |text: String| File {
        data: text.into_bytes(),
        mode: if private { 0o600 } else { default },
        owner: user,
    };
    for (index, part) in source.sources.iter().flatten().enumerate() {
        if let Some(map) = &part.config_map {
            object(sources, Kind::ConfigMap, &map.name, map.items.as_ref(), map.optional, default, &mut out)?;
        } else if let Some(secret) = &part.secret {
            object(
                sources,
                Kind::Secret,
                &secret.name,
                secret.items.as_ref(),
                secret.optional,
                default,
                &mut out,
            )?;
        } else if let Some(api) = &part.downward_api {
            out.extend(downward(pod, api.items.as_ref(), default, facts)?);
        } else if let Some(token) = &part.service_account_token {
            let key = (token.audience.clone().unwrap_or_default(), token.expiration_seconds.unwrap_or(3600));
            let text = sources.tokens.get(&key).cloned().unwrap_or_default();
            out.insert(token.path.clone(), own(text));
        } else if let Some(bundle) = &part.cluster_trust_bundle {
            out.insert(bundle.path.clone(), own(sources.anchors.get(&index).cloned().unwrap_or_default()));
        } else if let Some(certificate) = &part.pod_certificate {
            let (key, chain) = sources.certificates.get(&index).cloned().unwrap_or_default();
            let files = [
                (&certificate.credential_bundle_path, format!("{key}{chain}")),
                (&certificate.key_path, key),
                (&certificate.certificate_chain_path, chain),
            ];
            for (path, text) in files {
                let path = path.as_ref().filter(|path| !path.is_empty());
                out.extend(path.map(|path| (path.clone(), own(text))));
            }
        }
    }
    Ok(out)
}

/// Audience and lifetime of each token that a projected volume asks for.
#[must_use]
pub fn tokens(source: &ProjectedVolumeSource) -> BTreeMap<(String, i64), ()> {
    let tokens = source.sources.iter().flatten().filter_map(|part| part.service_account_token.as_ref());
    tokens
        .map(|t| ((t.audience.clone().unwrap_or_default(), t.expiration_seconds.unwrap_or(3600)), ()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources() -> Sources {
        let map: Data =
            serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}))
                .unwrap();
        let secret: Data = serde_json::from_value(json!({"type": "Opaque", "data": {"s": "eA=="}})).unwrap();
        Sources {
            objects: HashMap::from([
                ((Kind::ConfigMap, "m".to_owned()), Some(Arc::new(map))),
                ((Kind::Secret, "s".to_owned()), Some(Arc::new(secret))),
            ]),
            tokens: HashMap::from([(("aud".to_owned(), 600), "token".to_owned())]),
            anchors: HashMap::from([(4, "anchors".to_owned())]),
            certificates: HashMap::from([(5, ("key".to_owned(), "chain".to_owned()))]),
        }
    }

    #[test]
    fn maps_keys_and_modes() {
        let source = serde_json::from_value(json!({"name": "m", "defaultMode": 256,
            "items": [{"key": "a", "path": "x/y"}, {"key": "c", "path": "z", "mode": 292}]}))
        .unwrap();
        let got = config_map(&source, &sources()).unwrap();
        assert_eq!((got["x/y"].data.as_slice(), got["x/y"].mode), (&b"1"[..], 0o400));
        assert_eq!((got["z"].data.as_slice(), got["z"].mode), (&[0u8, 1][..], 0o444));
        let missing =
            serde_json::from_value(json!({"name": "m", "items": [{"key": "q", "path": "q"}]})).unwrap();
        let error = config_map(&missing, &sources()).unwrap_err().to_string();
        assert_eq!(error, "configmap \"m\": references non-existent configmap key: q");
        let none = serde_json::from_value(json!({"secretName": "none", "optional": true})).unwrap();
        assert!(secret(&none, &sources()).unwrap().is_empty());
    }

    #[test]
    fn projects_everything() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
            "spec": {"securityContext": {"runAsUser": 7}, "containers": [{"name": "c"}]}}))
        .unwrap();
        let source = serde_json::from_value(json!({"sources": [
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "a"}]}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"serviceAccountToken": {"audience": "aud", "expirationSeconds": 600, "path": "token"}},
            {"clusterTrustBundle": {"name": "b", "path": "ca"}},
            {"podCertificate": {"signerName": "e.com/s", "keyType": "ED25519",
                "credentialBundlePath": "bundle", "keyPath": "key", "certificateChainPath": "chain"}}]}))
        .unwrap();
        let got = projected(&pod, &source, &sources(), &Facts::default()).unwrap();
        let names: Vec<_> = got.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "bundle", "ca", "chain", "key", "n", "s", "token"]);
        let text = |name: &str| String::from_utf8(got[name].data.clone()).unwrap();
        assert_eq!(["ca", "bundle", "key", "chain"].map(text), ["anchors", "keychain", "key", "chain"]);
        assert_eq!((got["ca"].mode, got["bundle"].owner), (0o600, Some(7)));
        assert_eq!((got["token"].mode, got["token"].owner), (0o600, Some(7)));
        assert_eq!((got["s"].data.as_slice(), got["n"].data.as_slice()), (&b"x"[..], &b"p"[..]));
    }
}
