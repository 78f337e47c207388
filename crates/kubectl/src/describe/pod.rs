//! `describe` of pods, and of the templates of pods in workloads.

use api::Value;

use super::{annotations, labels, line, list_lines, pairs_of, time};
use crate::output::template::text;

pub fn pod(pod: &Value) -> String {
    let mut out = String::new();
    let (spec, status) = (|k: &str| pod.str_at(&["spec", k]), |k: &str| pod.str_at(&["status", k]));
    line(&mut out, 0, "Name", pod.str_at(&["metadata", "name"]));
    line(&mut out, 0, "Namespace", pod.str_at(&["metadata", "namespace"]));
    if let Some(priority) = pod.int_at(&["spec", "priority"]) {
        line(&mut out, 0, "Priority", priority);
        if !spec("priorityClassName").is_empty() {
            line(&mut out, 0, "Priority Class Name", spec("priorityClassName"));
        }
    }
    if !spec("runtimeClassName").is_empty() {
        line(&mut out, 0, "Runtime Class Name", spec("runtimeClassName"));
    }
    if !spec("serviceAccountName").is_empty() {
        line(&mut out, 0, "Service Account", spec("serviceAccountName"));
    }
    match spec("nodeName") {
        "" => line(&mut out, 0, "Node", "<none>"),
        node => line(&mut out, 0, "Node", format!("{node}/{}", status("hostIP"))),
    }
    if !status("startTime").is_empty() {
        line(&mut out, 0, "Start Time", time(status("startTime")));
    }
    labels(&mut out, pod);
    annotations(&mut out, pod);
    if pod.str_at(&["metadata", "deletionTimestamp"]).is_empty() {
        line(&mut out, 0, "Status", status("phase"));
    } else {
        let now = jiff::Timestamp::now();
        let since = text(&api::columns::age(pod.str_at(&["metadata", "deletionTimestamp"]), now));
        line(&mut out, 0, "Status", format!("Terminating (lasts {since})"));
        let grace = pod.int_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
        line(&mut out, 0, "Termination Grace Period", format!("{grace}s"));
    }
    for key in ["reason", "message"].into_iter().filter(|k| !status(k).is_empty()) {
        line(&mut out, 0, if key == "reason" { "Reason" } else { "Message" }, status(key));
    }
    if let Some(seccomp) = pod.at(&["spec", "securityContext", "seccompProfile"]) {
        line(&mut out, 0, "SeccompProfile", seccomp.str_at(&["type"]));
    }
    line(&mut out, 0, "IP", status("podIP"));
    let ips = pod.list_at(&["status", "podIPs"]);
    if ips.is_empty() {
        line(&mut out, 0, "IPs", "<none>");
    } else {
        out += "IPs:\n";
        ips.iter().for_each(|ip| line(&mut out, 1, "IP", ip.str_at(&["ip"])));
    }
    super::controlled_by(&mut out, pod);
    for (title, list, of) in [
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        containers(&mut out, 0, title, pod.list_at(&["spec", list]), Some(pod.list_at(&["status", of])));
    }
    let conditions = pod.list_at(&["status", "conditions"]);
    if !conditions.is_empty() {
        out += "Conditions:\n  Type\tStatus\n";
        for c in conditions {
            out += &format!("  {} \t{} \n", c.str_at(&["type"]), c.str_at(&["status"]));
        }
    }
    volumes(&mut out, 0, pod.list_at(&["spec", "volumes"]));
    if !status("qosClass").is_empty() {
        line(&mut out, 0, "QoS Class", status("qosClass"));
    }
    placement(&mut out, 0, pod.at(&["spec"]).unwrap_or(&Value::Null));
    out
}

/// A workload's template.
pub fn template(template: &Value) -> String {
    let mut out = "Pod Template:\n".to_owned();
    list_lines(&mut out, 1, "Labels", pairs_of(template, "labels", "="));
    if template.at(&["metadata", "annotations"]).and_then(Value::as_map).is_some_and(|m| !m.is_empty()) {
        list_lines(&mut out, 1, "Annotations", pairs_of(template, "annotations", ": "));
    }
    if !template.str_at(&["spec", "serviceAccountName"]).is_empty() {
        line(&mut out, 1, "Service Account", template.str_at(&["spec", "serviceAccountName"]));
    }
    for (title, list) in [("Init Containers", "initContainers"), ("Containers", "containers")] {
        containers(&mut out, 1, title, template.list_at(&["spec", list]), None);
    }
    volumes(&mut out, 1, template.list_at(&["spec", "volumes"]));
    placement(&mut out, 1, template.at(&["spec"]).unwrap_or(&Value::Null));
    out
}

fn containers(out: &mut String, depth: usize, title: &str, list: &[Value], statuses: Option<&[Value]>) {
    if list.is_empty() {
        return;
    }
    let pad = "  ".repeat(depth);
    *out += &format!("{pad}{title}:\n");
    for c in list {
        // In templates names stand one blank to the right of their title.
        let name = c.str_at(&["name"]);
        *out += &format!("{}{name}:\n", if depth == 0 { "  " } else { "   " });
        let status = statuses.map(|s| s.iter().find(|s| s.str_at(&["name"]) == name).unwrap_or(&Value::Null));
        container(out, c, status);
        if let Some(status) = status.filter(|s| !s.is_null()) {
            state(out, "State", status.get("state"));
            if status.get("lastState").and_then(Value::as_map).is_some_and(|m| !m.is_empty()) {
                state(out, "Last State", status.get("lastState"));
            }
            let ready = status.at(&["ready"]).and_then(Value::as_bool).unwrap_or(false);
            line(out, 2, "Ready", if ready { "True" } else { "False" });
            line(out, 2, "Restart Count", status.int_at(&["restartCount"]).unwrap_or(0));
        }
        rest(out, c);
    }
}

/// `status`: None in a template.
fn container(out: &mut String, c: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        line(out, 2, "Container ID", status.str_at(&["containerID"]));
    }
    line(out, 2, "Image", c.str_at(&["image"]));
    if let Some(status) = status {
        line(out, 2, "Image ID", status.str_at(&["imageID"]));
    }
    let ports = |host: bool| -> Vec<String> {
        let one = |p: &Value| {
            let number = p.int_at(&[if host { "hostPort" } else { "containerPort" }]).unwrap_or(0);
            let protocol = p.str_at(&["protocol"]);
            let protocol = if protocol.is_empty() { "TCP" } else { protocol };
            match p.str_at(&["name"]) {
                "" => format!("{number}/{protocol}"),
                name => format!("{number}/{protocol} ({name})"),
            }
        };
        c.list_at(&["ports"]).iter().map(one).collect()
    };
    let many = c.list_at(&["ports"]).len() > 1;
    for (host, title) in [(false, "Port"), (true, "Host Port")] {
        let ports = ports(host);
        let title = if many { format!("{title}s") } else { title.to_owned() };
        line(out, 2, &title, if ports.is_empty() { "<none>".to_owned() } else { ports.join(", ") });
    }
    for (title, key) in [("Command", "command"), ("Args", "args")] {
        let words = c.list_at(&[key]);
        if !words.is_empty() {
            *out += &format!("    {title}:\n");
            for word in words.iter().filter_map(Value::as_str).flat_map(|w| w.split('\n')) {
                *out += &format!("      {word}\n");
            }
        }
    }
}

fn rest(out: &mut String, c: &Value) {
    for (title, key) in [("Limits", "limits"), ("Requests", "requests")] {
        let map = c.at(&["resources", key]).and_then(Value::as_map);
        let mut entries: Vec<String> = map
            .into_iter()
            .flat_map(|m| m.iter())
            .map(|(k, v)| format!("      {k}:\t{}\n", text(v)))
            .collect();
        entries.sort();
        if !entries.is_empty() {
            *out += &format!("    {title}:\n{}", entries.concat());
        }
    }
    for (title, key) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if let Some(p) = c.get(key) {
            line(out, 2, title, probe(p));
        }
    }
    let env = c.list_at(&["env"]);
    let from = c.list_at(&["envFrom"]);
    if !from.is_empty() {
        *out += "    Environment Variables from:\n";
        for f in from {
            let (kind, of) = if f.get("configMapRef").is_some() {
                ("ConfigMap", "configMapRef")
            } else {
                ("Secret", "secretRef")
            };
            let optional = f.at(&[of, "optional"]).and_then(Value::as_bool).unwrap_or(false);
            *out += &format!("      {}\t{kind}\tOptional: {optional}\n", f.str_at(&[of, "name"]));
        }
    }
    if env.is_empty() {
        line(out, 2, "Environment", "<none>");
    } else {
        *out += "    Environment:\n";
        env.iter().for_each(|e| *out += &format!("      {}:\t{}\n", e.str_at(&["name"]), env_value(e)));
    }
    let mounts = c.list_at(&["volumeMounts"]);
    if mounts.is_empty() {
        line(out, 2, "Mounts", "<none>");
        return;
    }
    *out += "    Mounts:\n";
    let mut lines: Vec<String> = mounts.iter().map(mount).collect();
    lines.sort();
    *out += &lines.concat();
}

fn mount(m: &Value) -> String {
    let mut flags =
        vec![if m.at(&["readOnly"]).and_then(Value::as_bool) == Some(true) { "ro" } else { "rw" }.to_owned()];
    if !m.str_at(&["subPath"]).is_empty() {
        flags.push(format!("path={:?}", m.str_at(&["subPath"])));
    }
    format!("      {} from {} ({})\n", m.str_at(&["mountPath"]), m.str_at(&["name"]), flags.join(","))
}

fn env_value(e: &Value) -> String {
    let from = |kind: &str, key: &str| e.str_at(&["valueFrom", kind, key]).to_owned();
    let of = |kind: &str, title: &str| {
        let optional = e.at(&["valueFrom", kind, "optional"]).and_then(Value::as_bool).unwrap_or(false);
        format!(
            "<set to the key '{}' {title} '{}'>\tOptional: {optional}",
            from(kind, "key"),
            from(kind, "name")
        )
    };
    let Some(source) = e.get("valueFrom").filter(|v| !v.is_null()) else {
        return e.str_at(&["value"]).replace('\n', "\n\t");
    };
    if source.get("fieldRef").is_some() {
        let version = from("fieldRef", "apiVersion");
        format!(
            " ({}:{})",
            if version.is_empty() { "v1".into() } else { version },
            from("fieldRef", "fieldPath")
        )
    } else if source.get("secretKeyRef").is_some() {
        of("secretKeyRef", "in secret")
    } else if source.get("configMapKeyRef").is_some() {
        of("configMapKeyRef", "of config map")
    } else {
        from("resourceFieldRef", "resource")
    }
}

fn probe(p: &Value) -> String {
    let number = |key: &str, default: i64| p.int_at(&[key]).unwrap_or(default);
    let tail = format!(
        "delay={}s timeout={}s period={}s successThreshold={} failureThreshold={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    let get = |path: &[&str]| p.at(path).map(text).unwrap_or_default();
    let words =
        |path: &[&str]| p.list_at(path).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    let head = if p.get("exec").is_some() {
        format!("exec [{}]", words(&["exec", "command"]))
    } else if p.get("httpGet").is_some() {
        let scheme = get(&["httpGet", "scheme"]).to_lowercase();
        let scheme = if scheme.is_empty() { "http".into() } else { scheme };
        format!(
            "http-get {scheme}://{}:{}{}",
            get(&["httpGet", "host"]),
            get(&["httpGet", "port"]),
            get(&["httpGet", "path"])
        )
    } else if p.get("tcpSocket").is_some() {
        format!("tcp-socket {}:{}", get(&["tcpSocket", "host"]), get(&["tcpSocket", "port"]))
    } else {
        format!("grpc <pod>:{} {}", get(&["grpc", "port"]), get(&["grpc", "service"]))
    };
    format!("{head} {tail}")
}

fn state(out: &mut String, title: &str, state: Option<&Value>) {
    let part = |key: &str| state.and_then(|s| s.get(key)).filter(|v| !v.is_null());
    if let Some(running) = part("running") {
        line(out, 2, title, "Running");
        line(out, 3, "Started", time(running.str_at(&["startedAt"])));
    } else if let Some(ended) = part("terminated") {
        line(out, 2, title, "Terminated");
        for (name, key) in [("Reason", "reason"), ("Message", "message")] {
            if !ended.str_at(&[key]).is_empty() {
                line(out, 3, name, ended.str_at(&[key]));
            }
        }
        line(out, 3, "Exit Code", ended.int_at(&["exitCode"]).unwrap_or(0));
        if let Some(signal) = ended.int_at(&["signal"]).filter(|s| *s > 0) {
            line(out, 3, "Signal", signal);
        }
        line(out, 3, "Started", time(ended.str_at(&["startedAt"])));
        line(out, 3, "Finished", time(ended.str_at(&["finishedAt"])));
    } else {
        line(out, 2, title, "Waiting");
        if let Some(reason) = part("waiting").map(|w| w.str_at(&["reason"])).filter(|r| !r.is_empty()) {
            line(out, 3, "Reason", reason);
        }
    }
}

fn volumes(out: &mut String, depth: usize, volumes: &[Value]) {
    let pad = "  ".repeat(depth);
    if volumes.is_empty() {
        *out += &format!("{pad}Volumes:\t<none>\n");
        return;
    }
    *out += &format!("{pad}Volumes:\n");
    for v in volumes {
        *out += &format!("{}{}:\n", if depth == 0 { "  " } else { "   " }, v.str_at(&["name"]));
        volume(out, v);
    }
}

fn volume(out: &mut String, v: &Value) {
    let optional = |path: &[&str]| v.at(path).and_then(Value::as_bool).unwrap_or(false);
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |title: &str, value: String| rows.push((title.to_owned(), value));
    let get = |path: &[&str]| v.at(path).map(text).unwrap_or_default();
    if v.get("configMap").is_some() {
        row("Type", "ConfigMap (a volume populated by a ConfigMap)".into());
        row("Name", get(&["configMap", "name"]));
        row("Optional", optional(&["configMap", "optional"]).to_string());
    } else if v.get("secret").is_some() {
        row("Type", "Secret (a volume populated by a Secret)".into());
        row("SecretName", get(&["secret", "secretName"]));
        row("Optional", optional(&["secret", "optional"]).to_string());
    } else if v.get("emptyDir").is_some() {
        row("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".into());
        row("Medium", get(&["emptyDir", "medium"]));
        let limit = get(&["emptyDir", "sizeLimit"]);
        row("SizeLimit", if limit.is_empty() { "<unset>".into() } else { limit });
    } else if v.get("hostPath").is_some() {
        row("Type", "HostPath (bare host directory volume)".into());
        row("Path", get(&["hostPath", "path"]));
        row("HostPathType", get(&["hostPath", "type"]));
    } else if v.get("persistentVolumeClaim").is_some() {
        row(
            "Type",
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)".into(),
        );
        row("ClaimName", get(&["persistentVolumeClaim", "claimName"]));
        row("ReadOnly", optional(&["persistentVolumeClaim", "readOnly"]).to_string());
    } else if v.get("downwardAPI").is_some() {
        row("Type", "DownwardAPI (a volume populated by information about the pod)".into());
    } else if v.get("projected").is_some() {
        row("Type", "Projected (a volume that contains injected data from multiple sources)".into());
        for s in v.list_at(&["projected", "sources"]) {
            projected(&mut row, s);
        }
    } else {
        row("Type", "<unknown>".into());
    }
    for (title, value) in rows {
        line(out, 2, &title, value);
    }
}

fn projected(row: &mut impl FnMut(&str, String), source: &Value) {
    let optional =
        |key: &str| source.at(&[key, "optional"]).and_then(Value::as_bool).unwrap_or(false).to_string();
    if source.get("secret").is_some() {
        row("SecretName", source.str_at(&["secret", "name"]).to_owned());
        row("Optional", optional("secret"));
    } else if source.get("configMap").is_some() {
        row("ConfigMapName", source.str_at(&["configMap", "name"]).to_owned());
        row("Optional", optional("configMap"));
    } else if source.get("downwardAPI").is_some() {
        row("DownwardAPI", "true".into());
    } else if source.get("serviceAccountToken").is_some() {
        let seconds = source.int_at(&["serviceAccountToken", "expirationSeconds"]).unwrap_or(0);
        row("TokenExpirationSeconds", seconds.to_string());
    }
}

fn placement(out: &mut String, depth: usize, spec: &Value) {
    let map = spec.get("nodeSelector").and_then(Value::as_map);
    let mut selectors: Vec<String> =
        map.into_iter().flat_map(|m| m.iter()).map(|(k, v)| format!("{k}={}", text(v))).collect();
    selectors.sort();
    list_lines(out, depth, "Node-Selectors", selectors);
    let tolerations = spec.list_at(&["tolerations"]).iter().map(toleration).collect();
    list_lines(out, depth, "Tolerations", tolerations);
}

fn toleration(t: &Value) -> String {
    let mut word = t.str_at(&["key"]).to_owned();
    if !t.str_at(&["value"]).is_empty() {
        word += &format!("={}", t.str_at(&["value"]));
    }
    if !t.str_at(&["effect"]).is_empty() {
        word += &format!(":{}", t.str_at(&["effect"]));
    }
    if t.str_at(&["operator"]) == "Exists" && t.str_at(&["value"]).is_empty() {
        word += if word.is_empty() { "op=Exists" } else { " op=Exists" };
    }
    if let Some(seconds) = t.int_at(&["tolerationSeconds"]) {
        word += &format!(" for {seconds}s");
    }
    word
}
