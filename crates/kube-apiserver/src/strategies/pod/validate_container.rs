//! Validation of containers: image, ports, environment, mounts, resources, probes.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use super::super::fields::Fields;
use super::super::{names, quantities, validation};
use super::validate_env_files;

/// What containers refer to.
pub struct Context<'a> {
    /// The names of the pod's volumes, and of which kind of source each is.
    pub volumes: &'a HashMap<String, String>,
    pub host_network: bool,
    pub pod: &'a Map,
}

/// All lists of containers; names are unique over all of them.
pub fn containers(cx: &Context<'_>, path: &Path, errors: &mut ErrorList) {
    if cx.pod.list("containers").is_empty() {
        errors.push(Error::required(&path.child("containers"), ""));
    }
    let mut seen = HashSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, c) in cx.pod.items(list).enumerate() {
            let at = path.child(list).index(i);
            let name = c.text("name");
            if !name.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&at.child("name"), name));
            }
            container(cx, c, list, &at, errors);
        }
    }
}

fn container(cx: &Context<'_>, c: &Map, list: &str, path: &Path, errors: &mut ErrorList) {
    let (name, image) = (c.text("name"), c.text("image"));
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    } else {
        errors.extend(
            names::dns1123_label(name).into_iter().map(|why| Error::invalid(&path.child("name"), name, why)),
        );
    }
    if image.is_empty() {
        // A template may leave the image to somebody else only in ways that never reach here.
        errors.push(Error::required(&path.child("image"), ""));
    } else if image.trim() != image {
        errors.push(Error::invalid(
            &path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    let pull = ["Always", "IfNotPresent", "Never"];
    validation::one_of(errors, c.text("imagePullPolicy"), &pull, &path.child("imagePullPolicy"), true);
    let message = ["File", "FallbackToLogsOnError"];
    validation::one_of(
        errors,
        c.text("terminationMessagePolicy"),
        &message,
        &path.child("terminationMessagePolicy"),
        true,
    );
    ports(cx, c, path, errors);
    env(c, path, errors);
    mounts(cx, c, path, errors);
    if let Some(r) = c.sub("resources") {
        resources(r, &path.child("resources"), errors);
    }
    probes(c, list, path, errors);
    security(c, path, errors);
}

fn ports(cx: &Context<'_>, c: &Map, path: &Path, errors: &mut ErrorList) {
    let path = path.child("ports");
    let mut seen = HashSet::new();
    for (i, p) in c.items("ports").enumerate() {
        let at = path.index(i);
        let name = p.text("name");
        if !name.is_empty() {
            errors.extend(
                names::port_name(name).into_iter().map(|why| Error::invalid(&at.child("name"), name, why)),
            );
            if !seen.insert(name) {
                errors.push(Error::duplicate(&at.child("name"), name));
            }
        }
        let (number, host) = (p.int("containerPort").unwrap_or(0), p.int("hostPort").unwrap_or(0));
        if number == 0 {
            errors.push(Error::required(&at.child("containerPort"), ""));
        } else {
            validation::port(errors, number, &at.child("containerPort"));
        }
        if host != 0 {
            validation::port(errors, host, &at.child("hostPort"));
            if cx.host_network && host != number {
                errors.push(Error::invalid(
                    &at.child("hostPort"),
                    &host,
                    "must match `containerPort` when `hostNetwork` is true",
                ));
            }
        }
        validation::one_of(errors, p.text("protocol"), &["SCTP", "TCP", "UDP"], &at.child("protocol"), true);
    }
}

fn env(c: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, e) in c.items("env").enumerate() {
        let at = path.child("env").index(i);
        let name = e.text("name");
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
        } else {
            errors.extend(
                names::env_name(name).into_iter().map(|why| Error::invalid(&at.child("name"), name, why)),
            );
        }
        if let Some(from) = e.sub("valueFrom") {
            env_source(e, from, &at.child("valueFrom"), errors);
        }
    }
    for (i, e) in c.items("envFrom").enumerate() {
        let at = path.child("envFrom").index(i);
        let count = ["configMapRef", "secretRef"].iter().filter(|k| e.has(k)).count();
        match count {
            0 => errors.push(Error::invalid(
                &path.child("envFrom"),
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(Error::invalid(&at, "", "may not have more than one field specified at a time")),
        }
        for kind in ["configMapRef", "secretRef"] {
            if e.sub(kind).is_some_and(|r| r.text("name").is_empty()) {
                errors.push(Error::required(&at.child(kind).child("name"), ""));
            }
        }
    }
}

/// Paths of a pod that the downward API knows in environment variables.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn env_source(e: &Map, from: &Map, path: &Path, errors: &mut ErrorList) {
    let kinds = ["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];
    let count = kinds.iter().filter(|k| from.has(k)).count();
    if count == 0 {
        errors.push(Error::invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
    } else if count > 1 || !e.text("value").is_empty() {
        errors.push(Error::invalid(path, "", "may not be specified when `value` is not empty"));
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let Some(r) = from.sub(kind) else { continue };
        let name = r.text("name");
        let at = path.child(kind).child("name");
        errors.extend(names::dns1123_subdomain(name).into_iter().map(|why| Error::invalid(&at, name, why)));
        if r.text("key").is_empty() {
            errors.push(Error::required(&path.child(kind).child("key"), ""));
        }
        let key = r.text("key");
        if !key.is_empty() {
            let at = path.child(kind).child("key");
            errors.extend(names::config_key(key).into_iter().map(|why| Error::invalid(&at, key, why)));
        }
    }
    if let Some(field) = from.sub("fieldRef") {
        field_ref(field, &path.child("fieldRef"), &ENV_FIELDS, errors);
    }
    if let Some(r) = from.sub("resourceFieldRef") {
        resource_field_ref(r, &path.child("resourceFieldRef"), errors);
    }
    if let Some(file) = from.sub("fileKeyRef") {
        validate_env_files::selector(file, &path.child("fileKeyRef"), errors);
    }
}

/// A field of the pod by its path; `metadata.labels['x']` and annotations are always known.
pub fn field_ref(field: &Map, path: &Path, known: &[&str], errors: &mut ErrorList) {
    let text = field.text("fieldPath");
    if field.text("apiVersion").is_empty() {
        errors.push(Error::required(&path.child("apiVersion"), ""));
    }
    let at = path.child("fieldPath");
    if text.is_empty() {
        errors.push(Error::required(&at, ""));
        return;
    }
    let subscripted = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .any(|p| text.starts_with(p) && text.ends_with("']"));
    if subscripted || known.contains(&text) {
        return;
    }
    if ENV_FIELDS.contains(&text) || matches!(text, "metadata.labels" | "metadata.annotations") {
        errors.push(Error::not_supported(&at, text, known));
    } else {
        errors.push(Error::invalid(
            &at,
            text,
            format!("error converting fieldPath: field label not supported: {text}"),
        ));
    }
}

pub fn resource_field_ref(r: &Map, path: &Path, errors: &mut ErrorList) {
    let known = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let name = r.text("resource");
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if name.is_empty() {
        errors.push(Error::required(&path.child("resource"), ""));
    } else if !known.contains(&name) && !huge {
        errors.push(Error::not_supported(&path.child("resource"), name, &known));
    }
}

fn mounts(cx: &Context<'_>, c: &Map, path: &Path, errors: &mut ErrorList) {
    let mut seen = HashSet::new();
    for (i, m) in c.items("volumeMounts").enumerate() {
        let at = path.child("volumeMounts").index(i);
        let (name, mount) = (m.text("name"), m.text("mountPath"));
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
        }
        if !cx.volumes.contains_key(name) {
            errors.push(Error::not_found(&at.child("name"), name));
        }
        if mount.is_empty() {
            errors.push(Error::required(&at.child("mountPath"), ""));
        }
        if !seen.insert(mount) {
            errors.push(Error::invalid(&at.child("mountPath"), mount, "must be unique"));
        }
        for key in ["subPath", "subPathExpr"] {
            // Upstream leaves the index out here.
            local_path(m.text(key), &path.child("volumeMounts").child(key), errors);
        }
        if !m.text("subPath").is_empty() && !m.text("subPathExpr").is_empty() {
            errors.push(Error::invalid(
                &at.child("subPathExpr"),
                m.text("subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        let modes = ["Bidirectional", "HostToContainer", "None"];
        validation::one_of(
            errors,
            m.text("mountPropagation"),
            &modes,
            &path.child("volumeMounts").child("mountPropagation"),
            false,
        );
    }
    for (i, d) in c.items("volumeDevices").enumerate() {
        let at = path.child("volumeDevices").index(i);
        if !cx.volumes.contains_key(d.text("name")) {
            errors.push(Error::not_found(&at.child("name"), d.text("name")));
        }
        if d.text("devicePath").is_empty() {
            errors.push(Error::required(&at.child("devicePath"), ""));
        }
    }
}

/// A relative path that does not leave its root.
pub fn local_path(text: &str, path: &Path, errors: &mut ErrorList) {
    if text.starts_with('/') {
        errors.push(Error::invalid(path, text, "must be a relative path"));
    }
    if text.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, text, "must not contain '..'"));
    }
}

/// Requests and limits: names, amounts, and that no request exceeds its limit.
pub fn resources(r: &Map, path: &Path, errors: &mut ErrorList) {
    let empty = Map::new();
    let limits = r.sub("limits").unwrap_or(&empty);
    for part in ["limits", "requests"] {
        for (name, value) in r.sub(part).into_iter().flat_map(|m| m.iter()) {
            let at = path.child(part).key(name);
            resource_name(name, &at, errors);
            if quantities::is_negative(value) {
                errors.push(Error::invalid(
                    &at,
                    value.as_str().unwrap_or_default(),
                    validation::NON_NEGATIVE,
                ));
            }
        }
    }
    for (name, value) in r.sub("requests").into_iter().flat_map(|m| m.iter()) {
        let at = path.child("requests");
        match limits.get(name) {
            Some(limit) if quantities::compare(value, limit) == Ordering::Greater => {
                let why = format!(
                    "must be less than or equal to {name} limit of {}",
                    limit.as_str().unwrap_or_default()
                );
                errors.push(Error::invalid(&at, value.as_str().unwrap_or_default(), why));
            }
            Some(limit) if is_extended(name) && quantities::compare(value, limit) != Ordering::Equal => {
                let why = format!("must be equal to {name} limit of {}", limit.as_str().unwrap_or_default());
                errors.push(Error::invalid(&at, value.as_str().unwrap_or_default(), why));
            }
            None if is_extended(name) => {
                errors.push(Error::required(
                    &path.child("limits"),
                    "Limit must be set for non overcommitable resources",
                ));
            }
            _ => {}
        }
    }
}

fn is_native(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn is_extended(name: &str) -> bool {
    name.starts_with("hugepages-") || (name.contains('/') && !name.contains("kubernetes.io/"))
}

fn resource_name(name: &str, path: &Path, errors: &mut ErrorList) {
    errors.extend(names::qualified_name(name).into_iter().map(|why| Error::invalid(path, name, why)));
    if !name.contains('/') && !is_native(name) {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
        errors.push(Error::invalid(path, name, "must be a standard resource for containers"));
    }
}

fn probes(c: &Map, list: &str, path: &Path, errors: &mut ErrorList) {
    let sidecar = c.text("restartPolicy") == "Always";
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(p) = c.sub(name) else { continue };
        let at = path.child(name);
        if list == "initContainers" && !sidecar {
            errors.push(Error::forbidden(
                &at,
                "may not be set for init containers without restartPolicy=Always",
            ));
            continue;
        }
        handler(p, &at, errors);
        for number in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            validation::non_negative(errors, p.int(number).unwrap_or(0), &at.child(number));
        }
        let success = p.int("successThreshold").unwrap_or(1);
        if name != "readinessProbe" && success != 1 {
            errors.push(Error::invalid(&at.child("successThreshold"), &success, "must be 1"));
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(h) = c.sub("lifecycle").and_then(|l| l.sub(hook)) {
            handler(h, &path.child("lifecycle").child(hook), errors);
        }
    }
}

/// Exactly one action, and what it needs.
fn handler(h: &Map, path: &Path, errors: &mut ErrorList) {
    let actions = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    let mut found = actions.iter().filter(|a| h.has(a));
    if found.next().is_none() {
        errors.push(Error::required(path, "must specify a handler type"));
    }
    for second in found {
        errors.push(Error::forbidden(&path.child(second), "may not specify more than 1 handler type"));
    }
    if let Some(exec) = h.sub("exec")
        && exec.list("command").is_empty()
    {
        errors.push(Error::required(&path.child("exec").child("command"), ""));
    }
    for name in ["httpGet", "tcpSocket", "grpc"] {
        if let Some(action) = h.sub(name) {
            let null = Value::Null;
            validation::port_or_name(
                errors,
                action.get("port").unwrap_or(&null),
                &path.child(name).child("port"),
            );
        }
    }
    if let Some(get) = h.sub("httpGet") {
        let at = path.child("httpGet");
        if get.text("path").is_empty() {
            errors.push(Error::required(&at.child("path"), ""));
        }
        validation::one_of(errors, get.text("scheme"), &["HTTP", "HTTPS"], &at.child("scheme"), false);
    }
}

/// A user or group id.
pub fn id(number: i64, path: &Path, errors: &mut ErrorList) {
    if !(0..=i64::from(i32::MAX)).contains(&number) {
        errors.push(Error::invalid(path, &number, "must be between 0 and 2147483647, inclusive"));
    }
}

fn security(c: &Map, path: &Path, errors: &mut ErrorList) {
    let Some(context) = c.sub("securityContext") else { return };
    let at = path.child("securityContext");
    for name in ["runAsUser", "runAsGroup"] {
        if let Some(n) = context.int(name) {
            id(n, &at.child(name), errors);
        }
    }
    let escalates = context.get("allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalates == Some(false) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        if context.flag("privileged") {
            errors.push(Error::invalid(&at, &go_context(context), why));
        }
        let added = context.sub("capabilities").map(|c| c.list("add")).unwrap_or_default();
        if added.iter().any(|c| c.as_str() == Some("CAP_SYS_ADMIN")) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(Error::invalid(&at, &validation::Json(&Value::Map(context.clone())), why));
        }
    }
}

/// A security context as upstream's message shows it: Go's fields, all of them.
fn go_context(context: &Map) -> validation::Verbatim {
    const FIELDS: [(&str, &str); 12] = [
        ("Capabilities", "capabilities"),
        ("Privileged", "privileged"),
        ("SELinuxOptions", "seLinuxOptions"),
        ("WindowsOptions", "windowsOptions"),
        ("RunAsUser", "runAsUser"),
        ("RunAsGroup", "runAsGroup"),
        ("RunAsNonRoot", "runAsNonRoot"),
        ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
        ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
        ("ProcMount", "procMount"),
        ("SeccompProfile", "seccompProfile"),
        ("AppArmorProfile", "appArmorProfile"),
    ];
    let text = |name: &str| context.get(name).map_or("null".to_owned(), api::json::to_string);
    let parts: Vec<String> = FIELDS.iter().map(|(go, name)| format!("\"{go}\":{}", text(name))).collect();
    validation::Verbatim(format!("{{{}}}", parts.join(",")))
}
