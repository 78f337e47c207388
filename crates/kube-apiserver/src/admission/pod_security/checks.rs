//! The standards' checks, each giving upstream's reason and detail.

use api::{Map, Value};

use super::Level;
use crate::admission::context::containers;

type Container<'a> = &'a Value;
type Check = fn(&Pod<'_>) -> Option<String>;

/// A pod as the checks see it.
struct Pod<'a> {
    object: &'a Value,
    containers: Vec<Container<'a>>,
    windows: bool,
}

/// In the order of upstream's check identifiers.
const BASELINE: [Check; 12] = [
    app_armor,
    capabilities_baseline,
    host_namespaces,
    host_path_volumes,
    host_ports,
    host_probes,
    privileged,
    proc_mount,
    selinux,
    seccomp_baseline,
    sysctls,
    host_process,
];

const RESTRICTED: [Check; 6] = [
    allow_privilege_escalation,
    capabilities_restricted,
    restricted_volumes,
    run_as_non_root,
    run_as_user,
    seccomp_restricted,
];

/// What a pod violates at a level: `reason (detail)` each.
pub fn violations(level: Level, object: &Value) -> Vec<String> {
    let pod = Pod {
        object,
        containers: containers(object).map(|(_, c)| c).collect(),
        windows: object.str_at(&["spec", "os", "name"]) == "windows",
    };
    // A restricted check takes the place of the baseline one that it includes.
    let replaced: &[Check] = if level == Level::Restricted {
        &[capabilities_baseline, host_path_volumes, seccomp_baseline]
    } else {
        &[]
    };
    let is_replaced = |check: &Check| replaced.iter().any(|r| std::ptr::fn_addr_eq(*r, *check));
    let mut checks: Vec<Check> = Vec::new();
    if level >= Level::Baseline {
        checks.extend(BASELINE.iter().filter(|c| !is_replaced(c)));
    }
    if level == Level::Restricted {
        checks.extend(RESTRICTED);
    }
    checks.iter().filter_map(|check| check(&pod)).collect()
}

impl Pod<'_> {
    fn spec(&self, field: &str) -> Option<&Value> {
        self.object.at(&["spec", field])
    }

    fn security(&self, path: &[&str]) -> Option<&Value> {
        self.spec("securityContext")?.at(path)
    }

    /// The names of containers for which `bad` holds.
    fn bad(&self, bad: impl Fn(&Value) -> bool) -> Vec<String> {
        self.containers.iter().filter(|c| bad(c)).map(|c| c.str_at(&["name"]).to_owned()).collect()
    }
}

fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| format!("{:?}", n.as_ref())).collect::<Vec<_>>().join(", ")
}

fn plural(one: &'static str, many: &'static str, n: usize) -> &'static str {
    if n == 1 { one } else { many }
}

fn named(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

fn security<'a>(container: Container<'a>, path: &[&str]) -> Option<&'a Value> {
    container.get("securityContext")?.at(path).filter(|v| !v.is_null())
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// Sorted, each once.
fn unique(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

/// `pod and container "x"`: whoever set it.
fn setters(pod: bool, names: &[String]) -> String {
    match (pod, names.is_empty()) {
        (true, true) => "pod".into(),
        (true, false) => format!("pod and {}", named(names)),
        (false, _) => named(names),
    }
}

fn host_namespaces(pod: &Pod<'_>) -> Option<String> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let set: Vec<String> =
        fields.iter().filter(|f| is_true(pod.spec(f))).map(|f| format!("{f}=true")).collect();
    (!set.is_empty()).then(|| format!("host namespaces ({})", set.join(", ")))
}

fn privileged(pod: &Pod<'_>) -> Option<String> {
    let names = pod.bad(|c| is_true(security(c, &["privileged"])));
    (!names.is_empty())
        .then(|| format!("privileged ({} must not set securityContext.privileged=true)", named(&names)))
}

fn host_process(pod: &Pod<'_>) -> Option<String> {
    let path = ["windowsOptions", "hostProcess"];
    let names = pod.bad(|c| is_true(security(c, &path)));
    let own = is_true(pod.security(&path));
    if !own && names.is_empty() {
        return None;
    }
    Some(format!(
        "hostProcess ({} must not set securityContext.windowsOptions.hostProcess=true)",
        setters(own, &names)
    ))
}

const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers that add what is not allowed, and what that is.
fn added(pod: &Pod<'_>, allowed: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut all = Vec::new();
    let mut names = Vec::new();
    for container in &pod.containers {
        let list = security(container, &["capabilities", "add"]).and_then(Value::as_list).unwrap_or_default();
        let bad: Vec<&str> = list.iter().filter_map(Value::as_str).filter(|c| !allowed.contains(c)).collect();
        if !bad.is_empty() {
            names.push(container.str_at(&["name"]).to_owned());
            all.extend(bad.into_iter().map(str::to_owned));
        }
    }
    (names, unique(all))
}

fn capabilities_baseline(pod: &Pod<'_>) -> Option<String> {
    let (names, capabilities) = added(pod, &BASELINE_CAPABILITIES);
    (!names.is_empty()).then(|| {
        format!(
            "non-default capabilities ({} must not include {} in securityContext.capabilities.add)",
            named(&names),
            quoted(&capabilities)
        )
    })
}

fn capabilities_restricted(pod: &Pod<'_>) -> Option<String> {
    if pod.windows {
        return None;
    }
    let drops_all = |c: &Value| {
        let list = security(c, &["capabilities", "drop"]).and_then(Value::as_list).unwrap_or_default();
        list.iter().any(|v| v.as_str() == Some("ALL"))
    };
    let missing = pod.bad(|c| !drops_all(c));
    let (adding, capabilities) = added(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !missing.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&missing)));
    }
    if !adding.is_empty() {
        let list = quoted(&capabilities);
        details
            .push(format!("{} must not include {list} in securityContext.capabilities.add", named(&adding)));
    }
    (!details.is_empty()).then(|| format!("unrestricted capabilities ({})", details.join("; ")))
}

fn volumes<'a>(pod: &Pod<'a>) -> &'a [Value] {
    pod.object.list_at(&["spec", "volumes"])
}

fn host_path_volumes(pod: &Pod<'_>) -> Option<String> {
    let names: Vec<&str> =
        volumes(pod).iter().filter(|v| v.get("hostPath").is_some()).map(|v| v.str_at(&["name"])).collect();
    let word = plural("volume", "volumes", names.len());
    (!names.is_empty()).then(|| format!("hostPath volumes ({word} {})", quoted(&names)))
}

const VOLUME_TYPES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];

fn restricted_volumes(pod: &Pod<'_>) -> Option<String> {
    let kind = |v: &Value| {
        let mut keys = v.as_map().into_iter().flat_map(Map::keys);
        keys.find(|k| *k != "name").map_or("unknown".to_owned(), ToString::to_string)
    };
    let bad: Vec<(&str, String)> = volumes(pod)
        .iter()
        .map(|v| (v.str_at(&["name"]), kind(v)))
        .filter(|(_, kind)| !VOLUME_TYPES.contains(&kind.as_str()))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let types = unique(bad.iter().map(|(_, kind)| kind.clone()).collect());
    Some(format!(
        "restricted volume types ({} {} {} restricted volume {} {})",
        plural("volume", "volumes", names.len()),
        quoted(&names),
        plural("uses", "use", names.len()),
        plural("type", "types", types.len()),
        quoted(&types)
    ))
}

fn host_ports(pod: &Pod<'_>) -> Option<String> {
    let used = |c: &Value| -> Vec<i64> {
        c.list_at(&["ports"]).iter().filter_map(|p| p.int_at(&["hostPort"])).filter(|p| *p != 0).collect()
    };
    let names = pod.bad(|c| !used(c).is_empty());
    let mut ports: Vec<i64> = pod.containers.iter().flat_map(|c| used(c)).collect();
    ports.sort_unstable();
    ports.dedup();
    let list: Vec<String> = ports.iter().map(i64::to_string).collect();
    (!names.is_empty()).then(|| {
        format!(
            "hostPort ({} {} {} {})",
            named(&names),
            plural("uses", "use", names.len()),
            plural("hostPort", "hostPorts", list.len()),
            list.join(", ")
        )
    })
}

fn host_probes(pod: &Pod<'_>) -> Option<String> {
    let handlers: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let hosts = |c: &Value| -> Vec<String> {
        let handlers = handlers.iter().filter_map(|path| c.at(path));
        let hosts = handlers.flat_map(|h| [h.str_at(&["httpGet", "host"]), h.str_at(&["tcpSocket", "host"])]);
        hosts.filter(|h| !h.is_empty()).map(str::to_owned).collect()
    };
    let names = pod.bad(|c| !hosts(c).is_empty());
    let all = unique(pod.containers.iter().flat_map(|c| hosts(c)).collect());
    (!names.is_empty()).then(|| {
        format!(
            "probe or lifecycle host ({} {} probe or lifecycle {} {})",
            named(&names),
            plural("uses", "use", names.len()),
            plural("host", "hosts", all.len()),
            quoted(&all)
        )
    })
}

fn app_armor(pod: &Pod<'_>) -> Option<String> {
    let forbidden = |profile: &str| !matches!(profile, "" | "RuntimeDefault" | "Localhost");
    let path = ["appArmorProfile", "type"];
    let names = pod.bad(|c| forbidden(text(security(c, &path))));
    let own = forbidden(text(pod.security(&path)));
    let annotations = pod.object.meta().annotations();
    let by_annotation: Vec<String> = annotations
        .into_iter()
        .flat_map(Map::iter)
        .filter(|(k, _)| k.starts_with("container.apparmor.security.beta.kubernetes.io/"))
        .filter_map(|(k, v)| v.as_str().map(|v| (k, v)))
        .filter(|(_, v)| !v.is_empty() && *v != "runtime/default" && !v.starts_with("localhost/"))
        .map(|(k, v)| format!("annotation {:?}", format!("{k}={v}")))
        .collect();
    let mut details = Vec::new();
    if own || !names.is_empty() {
        details
            .push(format!("{} must not set AppArmor profile type to \"Unconfined\"", setters(own, &names)));
    }
    details.extend(by_annotation);
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", details.len());
    (!details.is_empty()).then(|| format!("{reason} ({})", details.join(", ")))
}

/// In a user namespace of its own a pod's root is nobody to the node.
fn own_users(pod: &Pod<'_>) -> bool {
    pod.object.bool_at(&["spec", "hostUsers"]) == Some(false)
}

fn proc_mount(pod: &Pod<'_>) -> Option<String> {
    if own_users(pod) {
        return None;
    }
    let mount = |c: &Value| text(security(c, &["procMount"])).to_owned();
    let bad = |value: &str| !matches!(value, "" | "Default");
    let names = pod.bad(|c| bad(&mount(c)));
    let values = unique(pod.containers.iter().map(|c| mount(c)).filter(|v| bad(v)).collect());
    (!names.is_empty()).then(|| {
        format!("procMount ({} must not set securityContext.procMount to {})", named(&names), quoted(&values))
    })
}

fn selinux(pod: &Pod<'_>) -> Option<String> {
    const TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    let options = |value: Option<&Value>, out: &mut [Vec<String>; 3]| -> bool {
        let Some(value) = value else { return false };
        let (kind, user, role) = (value.str_at(&["type"]), value.str_at(&["user"]), value.str_at(&["role"]));
        let bad = [!TYPES.contains(&kind), !user.is_empty(), !role.is_empty()];
        for ((bad, value), list) in bad.iter().zip([kind, user, role]).zip(out.iter_mut()) {
            if *bad {
                list.push(value.to_owned());
            }
        }
        bad.contains(&true)
    };
    let mut found: [Vec<String>; 3] = Default::default();
    let own = options(pod.security(&["seLinuxOptions"]), &mut found);
    let mut names = Vec::new();
    for container in &pod.containers {
        if options(security(container, &["seLinuxOptions"]), &mut found) {
            names.push(container.str_at(&["name"]).to_owned());
        }
    }
    if !own && names.is_empty() {
        return None;
    }
    let [types, users, roles] = found.map(unique);
    let mut details = Vec::new();
    if !types.is_empty() {
        let word = plural("type", "types", types.len());
        details.push(format!("{word} {}", quoted(&types)));
    }
    if !users.is_empty() {
        details.push("user may not be set".to_owned());
    }
    if !roles.is_empty() {
        details.push("role may not be set".to_owned());
    }
    Some(format!(
        "seLinuxOptions ({} set forbidden securityContext.seLinuxOptions: {})",
        setters(own, &names),
        details.join("; ")
    ))
}

const SECCOMP: [&str; 2] = ["seccompProfile", "type"];

fn seccomp_baseline(pod: &Pod<'_>) -> Option<String> {
    let bad = |value: &str| value == "Unconfined";
    let own = bad(text(pod.security(&SECCOMP)));
    let names = pod.bad(|c| bad(text(security(c, &SECCOMP))));
    (own || !names.is_empty()).then(|| {
        format!(
            "seccompProfile ({} must not set securityContext.seccompProfile.type to \"Unconfined\")",
            setters(own, &names)
        )
    })
}

fn seccomp_restricted(pod: &Pod<'_>) -> Option<String> {
    if pod.windows {
        return None;
    }
    let good = |value: &str| matches!(value, "RuntimeDefault" | "Localhost");
    let own = text(pod.security(&SECCOMP));
    let explicit = pod.bad(|c| {
        let value = text(security(c, &SECCOMP));
        !value.is_empty() && !good(value)
    });
    let pod_bad = !own.is_empty() && !good(own);
    if pod_bad || !explicit.is_empty() {
        return Some(format!(
            "seccompProfile ({} must not set securityContext.seccompProfile.type to \"Unconfined\")",
            setters(pod_bad, &explicit)
        ));
    }
    let unset = pod.bad(|c| text(security(c, &SECCOMP)).is_empty());
    (own.is_empty() && !unset.is_empty()).then(|| {
        format!(
            "seccompProfile (pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            named(&unset)
        )
    })
}

const SYSCTLS: [&str; 11] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
];

fn sysctls(pod: &Pod<'_>) -> Option<String> {
    let list = pod.security(&["sysctls"]).and_then(Value::as_list).unwrap_or_default();
    let allowed = |name: &str| SYSCTLS.contains(&name) || name == "net.ipv4.tcp_wmem";
    let bad: Vec<&str> = list.iter().map(|s| s.str_at(&["name"])).filter(|n| !allowed(n)).collect();
    (!bad.is_empty()).then(|| format!("forbidden sysctls ({})", bad.join(", ")))
}

fn allow_privilege_escalation(pod: &Pod<'_>) -> Option<String> {
    if pod.windows {
        return None;
    }
    let names =
        pod.bad(|c| security(c, &["allowPrivilegeEscalation"]).and_then(Value::as_bool) != Some(false));
    (!names.is_empty()).then(|| {
        format!(
            "allowPrivilegeEscalation != false ({} must set securityContext.allowPrivilegeEscalation=false)",
            named(&names)
        )
    })
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<String> {
    if own_users(pod) {
        return None;
    }
    let own = pod.security(&["runAsNonRoot"]).and_then(Value::as_bool);
    let of = |c: &Value| security(c, &["runAsNonRoot"]).and_then(Value::as_bool);
    let explicit = pod.bad(|c| of(c) == Some(false));
    if own == Some(false) && pod.containers.iter().any(|c| of(c) != Some(true)) || !explicit.is_empty() {
        let who = setters(own == Some(false), &explicit);
        return Some(format!("runAsNonRoot != true ({who} must not set securityContext.runAsNonRoot=false)"));
    }
    let unset = pod.bad(|c| of(c).is_none());
    (own.is_none() && !unset.is_empty()).then(|| {
        format!("runAsNonRoot != true (pod or {} must set securityContext.runAsNonRoot=true)", named(&unset))
    })
}

fn run_as_user(pod: &Pod<'_>) -> Option<String> {
    if own_users(pod) {
        return None;
    }
    let zero = |value: Option<&Value>| value.and_then(Value::as_int) == Some(0);
    let own = zero(pod.security(&["runAsUser"]));
    let names = pod.bad(|c| zero(security(c, &["runAsUser"])));
    (own || !names.is_empty())
        .then(|| format!("runAsUser=0 ({} must not set runAsUser=0)", setters(own, &names)))
}
