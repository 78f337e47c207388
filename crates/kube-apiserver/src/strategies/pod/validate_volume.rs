//! Validation of a pod's volumes: unique names, exactly one source, and what the common sources need.

use std::collections::HashMap;

use api::Map;
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::Fields;
use super::super::{names, quantities, validation};
use super::{validate_certificates, validate_container};

/// The order in which upstream looks at sources; the second one is the one too many.
const ORDER: [&str; 12] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
    "csi",
    "ephemeral",
    "image",
];

/// Checks all; the names of the volumes and the kind of each one's source.
pub fn volumes(spec: &Map, path: &Path, errors: &mut ErrorList) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for (i, v) in spec.items("volumes").enumerate() {
        let at = path.index(i);
        let name = v.text("name");
        let mut sources: Vec<&str> =
            v.iter().filter(|(k, s)| *k != "name" && !s.is_null()).map(|(k, _)| k.as_str()).collect();
        sources.sort_by_key(|s| ORDER.iter().position(|o| o == s));
        source(v, &sources, &at, errors);
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
            continue;
        }
        errors.extend(
            names::dns1123_label(name).into_iter().map(|why| Error::invalid(&at.child("name"), name, why)),
        );
        let kind = sources.first().copied().unwrap_or_default().to_owned();
        if found.insert(name.to_owned(), kind).is_some() {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
    }
    found
}

fn source(v: &Map, sources: &[&str], path: &Path, errors: &mut ErrorList) {
    let Some((first, more)) = sources.split_first() else {
        errors.push(Error::required(path, "must specify a volume type"));
        return;
    };
    for second in more {
        errors.push(Error::forbidden(&path.child(second), "may not specify more than 1 volume type"));
    }
    let empty = Map::new();
    let s = v.sub(first).unwrap_or(&empty);
    let at = path.child(first);
    match *first {
        "emptyDir" => empty_dir(s, &at, errors),
        "hostPath" => host_path(s, &at, errors),
        "secret" => {
            required(s, "secretName", &at, errors);
            mode(s, &at, errors);
            key_paths(s, &at, errors);
        }
        "configMap" => {
            required(s, "name", &at, errors);
            mode(s, &at, errors);
            key_paths(s, &at, errors);
        }
        "downwardAPI" => downward(s, &at, errors),
        "projected" => projected(s, &at, errors),
        "persistentVolumeClaim" => required(s, "claimName", &at, errors),
        "nfs" => ["server", "path"].iter().for_each(|n| required(s, n, &at, errors)),
        "csi" => required(s, "driver", &at, errors),
        "gitRepo" => required(s, "repository", &at, errors),
        "ephemeral" if !s.has("volumeClaimTemplate") => {
            errors.push(Error::required(&at.child("volumeClaimTemplate"), ""))
        }
        "image" => {
            required(s, "reference", &at, errors);
            validation::one_of(
                errors,
                s.text("pullPolicy"),
                &["Always", "IfNotPresent", "Never"],
                &at.child("pullPolicy"),
                true,
            );
        }
        _ => {}
    }
}

fn required(s: &Map, name: &str, path: &Path, errors: &mut ErrorList) {
    if s.text(name).is_empty() {
        errors.push(Error::required(&path.child(name), ""));
    }
}

fn empty_dir(s: &Map, path: &Path, errors: &mut ErrorList) {
    if let Some(limit) = s.get("sizeLimit").filter(|l| quantities::is_negative(l)) {
        let shown = limit.as_str().unwrap_or_default();
        errors.push(Error::forbidden(
            &path.child("sizeLimit"),
            format!("SizeLimit field must be a valid resource quantity ({shown})"),
        ));
    }
}

fn host_path(s: &Map, path: &Path, errors: &mut ErrorList) {
    let text = s.text("path");
    if text.is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
    } else if text.split('/').any(|p| p == "..") {
        errors.push(Error::invalid(&path.child("path"), text, "must not contain '..'"));
    }
    let kinds =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let kind = s.text("type");
    if !kinds.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, &kinds));
    }
}

fn mode(s: &Map, path: &Path, errors: &mut ErrorList) {
    mode_of(s.int("defaultMode"), &path.child("defaultMode"), errors);
}

fn mode_of(mode: Option<i64>, path: &Path, errors: &mut ErrorList) {
    if let Some(n) = mode
        && !(0..=0o777).contains(&n)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(Error::invalid(path, &n, why));
    }
}

fn key_paths(s: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, item) in s.items("items").enumerate() {
        let at = path.child("items").index(i);
        required(item, "key", &at, errors);
        target(item, &at, errors);
    }
}

/// Where in the volume a file goes.
fn target(item: &Map, at: &Path, errors: &mut ErrorList) {
    required(item, "path", at, errors);
    mode_of(item.int("mode"), &at.child("mode"), errors);
    let text = item.text("path");
    validate_container::local_path(text, &at.child("path"), errors);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.push(Error::invalid(&at.child("path"), text, "must not start with '..'"));
    }
}

/// Paths of a pod that the downward API knows in files.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward(s: &Map, path: &Path, errors: &mut ErrorList) {
    mode(s, path, errors);
    // Upstream names no item here.
    let at = path;
    for item in s.items("items") {
        target(item, at, errors);
        match (item.sub("fieldRef"), item.sub("resourceFieldRef")) {
            (Some(field), None) => {
                validate_container::field_ref(field, &at.child("fieldRef"), &FILE_FIELDS, errors)
            }
            (None, Some(r)) => {
                if r.text("containerName").is_empty() {
                    errors.push(Error::required(&at.child("resourceFieldRef").child("containerName"), ""));
                }
                validate_container::resource_field_ref(r, &at.child("resourceFieldRef"), errors);
            }
            (None, None) => {
                errors.push(Error::required(at, "one of fieldRef and resourceFieldRef is required"))
            }
            (Some(_), Some(_)) => {
                errors.push(Error::invalid(
                    at,
                    "resource",
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                ));
            }
        }
    }
}

fn projected(s: &Map, path: &Path, errors: &mut ErrorList) {
    mode(s, path, errors);
    let mut paths = std::collections::HashSet::new();
    for (i, source) in s.items("sources").enumerate() {
        let at = path.child("sources").index(i);
        for kind in source.keys().skip(1) {
            errors.push(Error::forbidden(
                &at.child(kind),
                "may not specify more than 1 volume type per source",
            ));
        }
        if let Some(token) = source.sub("serviceAccountToken") {
            service_account_token(token, &at.child("serviceAccountToken"), path, errors);
        }
        for kind in ["secret", "configMap"] {
            if let Some(part) = source.sub(kind) {
                required(part, "name", &at.child(kind), errors);
                key_paths(part, &at.child(kind), errors);
            }
        }
        if let Some(part) = source.sub("downwardAPI") {
            downward(part, &at.child("downwardAPI"), errors);
        }
        if let Some(part) = source.sub("clusterTrustBundle") {
            validate_certificates::trust_bundle(part, &at.child("clusterTrustBundle"), errors);
        }
        if let Some(part) = source.sub("podCertificate") {
            validate_certificates::pod_certificate(part, &at.child("podCertificate"), errors);
        }
        for (owner, text) in targets(source) {
            if !paths.insert(text) {
                errors.push(Error::invalid(path, owner, "conflicting duplicate paths"));
            }
        }
    }
}

/// The files that a source makes, each with what names it in messages.
fn targets(source: &Map) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for kind in ["secret", "configMap"] {
        if let Some(part) = source.sub(kind) {
            found.extend(part.items("items").map(|i| (part.text("name"), i.text("path"))));
        }
    }
    if let Some(part) = source.sub("downwardAPI") {
        found.extend(part.items("items").map(|i| (i.text("path"), i.text("path"))));
    }
    if let Some(token) = source.sub("serviceAccountToken") {
        found.push((token.text("path"), token.text("path")));
    }
    if let Some(part) = source.sub("clusterTrustBundle") {
        found.push((part.text("path"), part.text("path")));
    }
    if let Some(part) = source.sub("podCertificate") {
        let files = validate_certificates::FILES.iter().map(|name| part.text(name));
        found.extend(files.filter(|file| !file.is_empty()).map(|file| (file, file)));
    }
    found
}

fn service_account_token(token: &Map, path: &Path, volume: &Path, errors: &mut ErrorList) {
    let at = path.child("expirationSeconds");
    let seconds = token.int("expirationSeconds").unwrap_or(3600);
    if seconds < 600 {
        errors.push(Error::invalid(&at, &seconds, "may not specify a duration less than 10 minutes"));
    }
    if seconds > 1 << 32 {
        errors.push(Error::invalid(&at, &seconds, "may not specify a duration larger than 2^32 seconds"));
    }
    if token.text("path").is_empty() {
        errors.push(Error::required(&volume.child("path"), ""));
    }
}
