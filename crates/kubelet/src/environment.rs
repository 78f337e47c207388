//! Environment variables of a container: literal values with `$(VAR)` expansion, fields, resources, config maps,
//! secrets and the addresses of Services. Pure: the objects it needs are handed in.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvVar, FileKeySelector, Pod, ResourceFieldSelector};

use crate::env_files;
use crate::objects::{Data, Kind};
use crate::pod::PodExt;
use crate::quantity;

/// Why the environment cannot be made; shown as `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A config map or secret does not exist.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// Lower-case kind.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// It exists and lacks the key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        /// Kind as in the API.
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
        /// Missing key.
        key: String,
    },
    /// A value is no UTF-8 text and cannot be an environment variable.
    #[error("value of {0} is not valid UTF-8")]
    NotText(String),
    /// A field that cannot be given to containers.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// A resource that cannot be given to containers.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// A file's volume is not there.
    #[error("cannot find the volume {0:?} referenced by FileKeyRef")]
    Volume(String),
    /// A file is not there, or is no file of variables.
    #[error("couldn't parse env file")]
    File,
    /// A file lacks the variable.
    #[error("environment variable key {key:?} not found in file {path:?}")]
    FileKey {
        /// Missing variable.
        key: String,
        /// The file in its volume.
        path: String,
    },
}

/// What the node and the runtime know about the pod.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Addresses of the node.
    pub host_ips: Vec<String>,
    /// Addresses of the pod.
    pub pod_ips: Vec<String>,
    /// Allocatable resources of the node, the default of limits.
    pub allocatable: BTreeMap<String, String>,
}

/// Finds config maps and secrets by kind and name; `None` if there is none.
pub type Lookup<'a> = &'a dyn Fn(Kind, &str) -> Option<std::sync::Arc<Data>>;

/// The text of a file, by volume and path in it.
pub type Files<'a> = &'a dyn Fn(&str, &str) -> Result<String, EnvError>;

/// Where the values of variables come from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What node and runtime know.
    pub facts: &'a Facts,
    /// Config maps and secrets.
    pub objects: Lookup<'a>,
    /// Files in the pod's volumes.
    pub files: Files<'a>,
}

/// Replaces `$(NAME)` where `lookup` knows the name; `$$` is a dollar sign.
#[must_use]
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The variables of a container, in order of definition, later ones winning; services' where nothing else is.
///
/// # Errors
/// [`EnvError`] if a source that is not optional is missing.
pub fn environment(
    pod: &Pod,
    container: &Container,
    services: &[(String, String)],
    from: Sources<'_>,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut out = Ordered::default();
    for source in container.env_from.iter().flatten() {
        let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (Kind::ConfigMap, &map.name, map.optional),
            (_, Some(secret)) => (Kind::Secret, &secret.name, secret.optional),
            _ => continue,
        };
        let Some(data) = (from.objects)(kind, name) else {
            if optional == Some(true) {
                continue;
            }
            return Err(EnvError::NotFound { kind: kind.lower(), name: name.clone() });
        };
        for (key, value) in data.text() {
            let key = format!("{}{key}", source.prefix.as_deref().unwrap_or_default());
            let value = value.ok_or_else(|| EnvError::NotText(key.clone()))?;
            if valid_name(&key) {
                out.set(&key, value.to_owned());
            }
        }
    }
    let services: HashMap<&str, &str> = services.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for variable in container.env.iter().flatten() {
        let known = |name: &str| {
            out.get(name).map(str::to_owned).or_else(|| services.get(name).map(|v| (*v).to_owned()))
        };
        if let Some(value) = variable_value(pod, container, variable, from, &known)? {
            out.set(&variable.name, value);
        }
    }
    let mut names: Vec<_> = services.into_iter().filter(|(name, _)| out.get(name).is_none()).collect();
    names.sort_unstable();
    for (name, value) in names {
        out.set(name, value.to_owned());
    }
    Ok(out.list)
}

#[derive(Default)]
struct Ordered {
    list: Vec<(String, String)>,
    at: HashMap<String, usize>,
}

impl Ordered {
    fn set(&mut self, name: &str, value: String) {
        match self.at.get(name) {
            Some(index) => self.list[*index].1 = value,
            None => {
                self.at.insert(name.to_owned(), self.list.len());
                self.list.push((name.to_owned(), value));
            }
        }
    }
    fn get(&self, name: &str) -> Option<&str> {
        self.at.get(name).map(|index| self.list[*index].1.as_str())
    }
}

/// Printable ASCII without `=`, as variables may be named since relaxed validation.
fn valid_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// One variable; `None` leaves it out (an optional source is missing).
fn variable_value(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    from: Sources<'_>,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, EnvError> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), known)));
    };
    if let Some(field) = &source.field_ref {
        return field_value(pod, &field.field_path, from.facts).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_value(pod, Some(container), resource, from.facts).map(Some);
    }
    if let Some(file) = &source.file_key_ref {
        return file_value(file, from.files);
    }
    let (kind, name, key, optional) = if let Some(map) = &source.config_map_key_ref {
        (Kind::ConfigMap, &map.name, &map.key, map.optional)
    } else if let Some(secret) = &source.secret_key_ref {
        (Kind::Secret, &secret.name, &secret.key, secret.optional)
    } else {
        return Ok(Some(String::new()));
    };
    let optional = optional == Some(true);
    let Some(data) = (from.objects)(kind, name) else {
        if optional {
            return Ok(None);
        }
        return Err(EnvError::NotFound { kind: kind.lower(), name: name.clone() });
    };
    match data.bytes(key) {
        Some(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(EnvError::NotText(variable.name.clone())),
        },
        None if optional => Ok(None),
        None => Err(EnvError::Key {
            kind: kind.name(),
            namespace: pod.namespace().to_owned(),
            name: name.clone(),
            key: key.clone(),
        }),
    }
}

/// A variable of a file. One that is not in it may be optional; a file that cannot be read is wrong all the same.
fn file_value(file: &FileKeySelector, files: Files<'_>) -> Result<Option<String>, EnvError> {
    let text = files(&file.volume_name, &file.path)?;
    let found = env_files::value(&text, &file.key).map_err(|error| {
        tracing::warn!(volume = file.volume_name, path = file.path, %error, "file of environment variables");
        EnvError::File
    })?;
    match found {
        None if file.optional != Some(true) => {
            Err(EnvError::FileKey { key: file.key.clone(), path: file.path.clone() })
        }
        found => Ok(found),
    }
}

/// A field of the pod by the path of the downward API.
///
/// # Errors
/// [`EnvError::Field`] if the path is not one of those that may be used.
pub fn field_value(pod: &Pod, path: &str, facts: &Facts) -> Result<String, EnvError> {
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    let meta = &pod.metadata;
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => pod.spec().node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.spec().service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return subscript(pod, path).ok_or_else(|| EnvError::Field(path.to_owned())),
    })
}

/// `metadata.labels['key']` and the same of annotations.
fn subscript(pod: &Pod, path: &str) -> Option<String> {
    let (field, rest) = path.split_once("['")?;
    let key = rest.strip_suffix("']")?;
    let map = match field {
        "metadata.labels" => pod.metadata.labels.as_ref(),
        "metadata.annotations" => pod.metadata.annotations.as_ref(),
        _ => return None,
    };
    Some(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
}

/// `key="value"` lines, sorted, values quoted as Go quotes them.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<_> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
    lines.join("\n")
}

/// A Go string literal.
#[must_use]
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A container's resource by the selector of the downward API, divided and rounded up.
///
/// # Errors
/// [`EnvError::Resource`] if it names no such resource or container.
pub fn resource_value(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, EnvError> {
    let wrong = || EnvError::Resource(selector.resource.clone());
    let named = selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .and_then(|name| pod.container(name));
    let container = match (&named, own) {
        (Some((_, container)), _) => container.as_ref(),
        (None, Some(container)) => container,
        (None, None) => return Err(wrong()),
    };
    let (list, name) = selector.resource.split_once('.').ok_or_else(wrong)?;
    let resources = container.resources.as_ref();
    let map = match list {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(wrong()),
    };
    let mut amount = map.and_then(|map| map.get(name)).map(|quantity| quantity.0.clone());
    if list == "limits" && amount.as_deref().is_none_or(|amount| quantity::milli(amount) == Some(0)) {
        // the pod as a whole may be limited
        let whole = pod.spec().resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get(name));
        amount = whole.map(|quantity| quantity.0.clone()).or_else(|| facts.allocatable.get(name).cloned());
    }
    let divisor = selector
        .divisor
        .as_ref()
        .map(|divisor| divisor.0.as_str())
        .filter(|divisor| *divisor != "0")
        .unwrap_or("1");
    divided(name, amount.as_deref().unwrap_or("0"), divisor).ok_or_else(wrong)
}

fn divided(name: &str, amount: &str, divisor: &str) -> Option<String> {
    let (amount, divisor) = if name == "cpu" {
        (quantity::milli(amount)?, quantity::milli(divisor)?)
    } else {
        (quantity::value(amount)?, quantity::value(divisor)?)
    };
    if divisor == 0 {
        return None;
    }
    Some((amount / divisor + i64::from(amount % divisor != 0)).to_string())
}

/// A Service as far as environment variables need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Name.
    pub name: String,
    /// Cluster address.
    pub ip: String,
    /// Name, port and protocol of its ports.
    pub ports: Vec<(String, i32, String)>,
}

/// The variables for Services: `X_SERVICE_HOST` and the like, and those of Docker's links.
#[must_use]
pub fn service_variables(services: &[ServiceFacts]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for service in services.iter().filter(|s| !s.ip.is_empty() && s.ip != "None" && !s.ports.is_empty()) {
        let name = variable_name(&service.name);
        let host = if service.ip.contains(':') { format!("[{}]", service.ip) } else { service.ip.clone() };
        out.push((format!("{name}_SERVICE_HOST"), service.ip.clone()));
        out.push((format!("{name}_SERVICE_PORT"), service.ports[0].1.to_string()));
        for (port, number, _) in service.ports.iter().filter(|(port, ..)| !port.is_empty()) {
            out.push((format!("{name}_SERVICE_PORT_{}", variable_name(port)), number.to_string()));
        }
        for (index, (_, number, protocol)) in service.ports.iter().enumerate() {
            let url = format!("{}://{host}:{number}", protocol.to_lowercase());
            let prefix = format!("{name}_PORT_{number}_{}", protocol.to_uppercase());
            if index == 0 {
                out.push((format!("{name}_PORT"), url.clone()));
            }
            out.push((prefix.clone(), url));
            out.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
            out.push((format!("{prefix}_PORT"), number.to_string()));
            out.push((format!("{prefix}_ADDR"), service.ip.clone()));
        }
    }
    out
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
