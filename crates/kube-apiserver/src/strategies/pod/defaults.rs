//! Defaults of pods and pod templates that look at other fields, as upstream's `core/v1` defaulting.

use api::{Map, Value};

use super::super::fields::Fields;
use super::resources;

/// What a Pod has beyond what its spec has in a template too.
pub fn pod(object: &mut Map) {
    if let Some(status) = object.sub_mut("status") {
        pod_ips(status);
    }
    let Some(spec) = object.sub_mut("spec") else { return };
    spec.default("enableServiceLinks", true);
    pod_spec(spec);
    if spec.flag("hostNetwork") {
        host_ports(spec);
    }
    resources::default_requests(spec);
}

/// `podIP` is the first of `podIPs`; a writer that knows only one of them is understood.
fn pod_ips(status: &mut Map) {
    let ip = status.text("podIP").to_owned();
    let first = status.items("podIPs").next().map(|p| p.text("ip").to_owned());
    match first {
        Some(first) if ip.is_empty() => drop(status.insert("podIP", first)),
        Some(first) if first == ip => {}
        _ if ip.is_empty() => {}
        _ => drop(status.insert("podIPs", vec![Value::Map(super::super::fields::one("ip", ip))])),
    }
}

/// `serviceAccount` is an old name of `serviceAccountName`; both always say the same.
fn account(spec: &mut Map) {
    if spec.text("serviceAccountName").is_empty() {
        let old = spec.text("serviceAccount").to_owned();
        if old.is_empty() {
            return;
        }
        spec.insert("serviceAccountName", old);
    }
    let name = spec.text("serviceAccountName").to_owned();
    spec.insert("serviceAccount", name);
}

/// `{metadata, spec}` of a workload.
pub fn template(template: &mut Map) {
    if let Some(spec) = template.sub_mut("spec") {
        pod_spec(spec);
    }
}

/// The template under `spec.template` of a workload.
pub fn template_of(object: &mut Map) {
    if let Some(t) = object.sub_mut("spec").and_then(|s| s.sub_mut("template")) {
        template(t);
    }
}

/// A PodSpec, wherever it stands.
pub fn pod_spec(spec: &mut Map) {
    account(spec);
    spec.default("restartPolicy", "Always");
    spec.default("terminationGracePeriodSeconds", 30i64);
    spec.default("dnsPolicy", "ClusterFirst");
    spec.default("securityContext", Value::map());
    spec.default("schedulerName", "default-scheduler");
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        spec.items_mut(list).for_each(container);
    }
    spec.items_mut("volumes").for_each(volume);
}

fn container(c: &mut Map) {
    let policy = pull_policy(c.text("image"));
    c.default("imagePullPolicy", policy);
    c.default("terminationMessagePath", "/dev/termination-log");
    c.default("terminationMessagePolicy", "File");
    c.items_mut("env").for_each(env);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = c.sub_mut(name) {
            probe(p);
        }
    }
    if let Some(lifecycle) = c.sub_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(get) = lifecycle.sub_mut(hook).and_then(|h| h.sub_mut("httpGet")) {
                http_get(get);
            }
        }
    }
}

fn env(variable: &mut Map) {
    let Some(from) = variable.sub_mut("valueFrom") else { return };
    if let Some(field) = from.sub_mut("fieldRef") {
        field.default("apiVersion", "v1");
    }
    if let Some(file) = from.sub_mut("fileKeyRef") {
        file.default("optional", false);
    }
}

fn probe(p: &mut Map) {
    p.default_zero("timeoutSeconds", 1i64);
    p.default_zero("periodSeconds", 10i64);
    p.default_zero("successThreshold", 1i64);
    p.default_zero("failureThreshold", 3i64);
    if let Some(get) = p.sub_mut("httpGet") {
        http_get(get);
    }
    if let Some(grpc) = p.sub_mut("grpc")
        && !grpc.has("service")
    {
        grpc.insert("service", "");
    }
}

fn http_get(get: &mut Map) {
    get.default("path", "/");
    get.default("scheme", "HTTP");
}

/// `Always` for the tag `latest`, which is also that of an image without tag or digest.
pub fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        None => "Always",
        Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn host_ports(spec: &mut Map) {
    for list in ["containers", "initContainers"] {
        for port in spec.items_mut(list).flat_map(|c| c.items_mut("ports")) {
            if let Some(number) = port.int("containerPort") {
                port.default_zero("hostPort", number);
            }
        }
    }
}

/// A volume of a pod or the spec of a PersistentVolume: both hold sources by the same names.
pub fn sources(v: &mut Map) {
    if let Some(s) = v.sub_mut("hostPath")
        && !s.has("type")
    {
        s.insert("type", "");
    }
    if let Some(s) = v.sub_mut("azureDisk") {
        s.default("readOnly", false);
    }
}

fn volume(v: &mut Map) {
    if v.iter().all(|(k, value)| k == "name" || value.is_null()) {
        v.insert("emptyDir", Value::map());
    }
    sources(v);
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(s) = v.sub_mut(name) {
            s.default("defaultMode", 0o644i64);
            file_refs(s);
            s.items_mut("sources").for_each(projection);
        }
    }
    if let Some(image) = v.sub_mut("image") {
        let policy = pull_policy(image.text("reference"));
        image.default("pullPolicy", policy);
    }
    if let Some(spec) =
        v.sub_mut("ephemeral").and_then(|e| e.sub_mut("volumeClaimTemplate")).and_then(|t| t.sub_mut("spec"))
    {
        spec.default("volumeMode", "Filesystem");
    }
}

fn projection(source: &mut Map) {
    if let Some(token) = source.sub_mut("serviceAccountToken") {
        token.default("expirationSeconds", 3600i64);
    }
    if let Some(d) = source.sub_mut("downwardAPI") {
        file_refs(d);
    }
}

fn file_refs(downward: &mut Map) {
    for item in downward.items_mut("items") {
        if let Some(field) = item.sub_mut("fieldRef") {
            field.default("apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("localhost:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
