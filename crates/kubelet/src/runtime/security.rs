//! Security contexts: the pod's and the container's merged, as the CRI takes them.

use cri::v1;
use cri::v1::security_profile::ProfileType;
use k8s_openapi::api::core::v1::{Container, Pod, SELinuxOptions, SeccompProfile};

use crate::pod::{PodExt, Role};

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image runs as if nobody says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// Numeric user.
    pub uid: Option<i64>,
    /// Named user.
    pub name: String,
}

/// Checks `runAsNonRoot`.
///
/// # Errors
/// Upstream's sentence, shown as `CreateContainerConfigError`.
pub fn verify_non_root(pod: &Pod, container: &Container, image: &ImageUser) -> Result<(), String> {
    let of_pod = pod.spec().security_context.as_ref();
    let own = container.security_context.as_ref();
    let non_root = own.and_then(|sc| sc.run_as_non_root).or(of_pod.and_then(|sc| sc.run_as_non_root));
    if non_root != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", pod.shown(), container.name);
    let user = own.and_then(|sc| sc.run_as_user).or(of_pod.and_then(|sc| sc.run_as_user));
    match user {
        Some(0) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        Some(_) => Ok(()),
        None if image.uid == Some(0) => {
            Err(format!("container has runAsNonRoot and image will run as root {place}"))
        }
        None if image.uid.is_none() && !image.name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {place}",
            image.name
        )),
        None if image.uid.is_none() => {
            Err(format!("container has runAsNonRoot and image will run as root {place}"))
        }
        None => Ok(()),
    }
}

/// Namespaces of a pod's sandbox.
#[must_use]
pub fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod.spec();
    let node =
        |on: Option<bool>| if on == Some(true) { v1::NamespaceMode::Node } else { v1::NamespaceMode::Pod };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => v1::NamespaceMode::Node,
        (_, Some(true)) => v1::NamespaceMode::Pod,
        _ => v1::NamespaceMode::Container,
    };
    v1::NamespaceOption {
        network: node(spec.host_network) as i32,
        ipc: node(spec.host_ipc) as i32,
        pid: pid as i32,
        ..Default::default()
    }
}

fn selinux(options: Option<&SELinuxOptions>) -> Option<v1::SeLinuxOption> {
    options.map(|options| v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    })
}

fn seccomp(profile: Option<&SeccompProfile>, root: &str, by_default: bool) -> v1::SecurityProfile {
    let of = |kind: ProfileType, localhost_ref: String| v1::SecurityProfile {
        profile_type: kind as i32,
        localhost_ref,
    };
    match profile {
        Some(profile) if profile.type_ == "Localhost" => {
            let file = profile.localhost_profile.as_deref().unwrap_or_default();
            of(ProfileType::Localhost, format!("{root}/seccomp/{file}"))
        }
        Some(profile) if profile.type_ == "RuntimeDefault" => of(ProfileType::RuntimeDefault, String::new()),
        None if by_default => of(ProfileType::RuntimeDefault, String::new()),
        _ => of(ProfileType::Unconfined, String::new()),
    }
}

/// Groups beside the main one: those of the pod and the one that owns its volumes.
fn groups(pod: &Pod) -> Vec<i64> {
    let Some(context) = pod.spec().security_context.as_ref() else { return Vec::new() };
    context.fs_group.into_iter().chain(context.supplemental_groups.clone().unwrap_or_default()).collect()
}

fn groups_policy(pod: &Pod) -> i32 {
    let policy = pod.spec().security_context.as_ref().and_then(|sc| sc.supplemental_groups_policy.as_deref());
    let policy = match policy {
        Some("Strict") => v1::SupplementalGroupsPolicy::Strict,
        _ => v1::SupplementalGroupsPolicy::Merge,
    };
    policy as i32
}

fn number(value: Option<i64>) -> Option<v1::Int64Value> {
    value.map(|value| v1::Int64Value { value })
}

/// The security context of a sandbox.
#[must_use]
pub fn of_sandbox(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let context = pod.spec().security_context.clone().unwrap_or_default();
    let privileged = |container: &Container| {
        container.security_context.as_ref().and_then(|sc| sc.privileged).unwrap_or(false)
    };
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        selinux_options: selinux(context.se_linux_options.as_ref()),
        run_as_user: number(context.run_as_user),
        run_as_group: number(context.run_as_group),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        privileged: pod.containers().iter().chain(pod.init_containers()).any(privileged),
        seccomp: Some(v1::SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        ..Default::default()
    }
}

/// The security context of a container.
#[must_use]
pub fn of_container(
    pod: &Pod,
    container: &Container,
    role: Role,
    image: &ImageUser,
    root: &str,
    seccomp_default: bool,
    target: Option<&str>,
) -> v1::LinuxContainerSecurityContext {
    let context = pod.spec().security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(context.run_as_user);
    let mut namespace_options = namespaces(pod);
    if let Some(target) = target.filter(|_| role == Role::Ephemeral) {
        namespace_options.pid = v1::NamespaceMode::Target as i32;
        target.clone_into(&mut namespace_options.target_id);
    }
    let capabilities = own.capabilities.as_ref().map(|caps| v1::Capability {
        add_capabilities: caps.add.clone().unwrap_or_default(),
        drop_capabilities: caps.drop.clone().unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    });
    let privileged = own.privileged.unwrap_or(false);
    let paths = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    v1::LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespace_options),
        selinux_options: selinux(own.se_linux_options.as_ref().or(context.se_linux_options.as_ref())),
        run_as_user: number(user.or(image.uid)),
        run_as_group: number(own.run_as_group.or(context.run_as_group)),
        run_as_username: if user.is_none() && image.uid.is_none() {
            image.name.clone()
        } else {
            String::new()
        },
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(pod),
        supplemental_groups_policy: groups_policy(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked { Vec::new() } else { paths(&MASKED) },
        readonly_paths: if unmasked { Vec::new() } else { paths(&READ_ONLY) },
        seccomp: Some(seccomp(
            own.seccomp_profile.as_ref().or(context.seccomp_profile.as_ref()),
            root,
            seccomp_default,
        )),
        apparmor: apparmor(pod, container),
        ..Default::default()
    }
}

fn apparmor(pod: &Pod, container: &Container) -> Option<v1::SecurityProfile> {
    let own = container.security_context.as_ref().and_then(|sc| sc.app_armor_profile.as_ref());
    let profile = own.or_else(|| pod.spec().security_context.as_ref()?.app_armor_profile.as_ref())?;
    let (kind, name) = match profile.type_.as_str() {
        "Localhost" => (ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default()),
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        _ => (ProfileType::Unconfined, String::new()),
    };
    Some(v1::SecurityProfile { profile_type: kind as i32, localhost_ref: name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(security: serde_json::Value, own: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"securityContext": security, "containers": [{"name": "c", "securityContext": own}]}}))
        .unwrap()
    }

    #[test]
    fn checks_non_root() {
        let root = ImageUser { uid: Some(0), name: String::new() };
        let named = ImageUser { uid: None, name: "www".into() };
        let nobody = ImageUser { uid: Some(65534), name: String::new() };
        let check = |pod: &Pod, image: &ImageUser| verify_non_root(pod, &pod.containers()[0], image).err();
        let strict = pod(json!({"runAsNonRoot": true}), json!({}));
        assert_eq!(
            check(&strict, &root).unwrap(),
            "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"
        );
        assert!(check(&strict, &named).unwrap().contains("non-numeric user (www)"));
        assert_eq!(check(&strict, &nobody), None);
        let explicit = pod(json!({"runAsNonRoot": true}), json!({"runAsUser": 0}));
        assert!(check(&explicit, &nobody).unwrap().contains("breaks non-root policy"));
        assert_eq!(check(&pod(json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false})), &root), None);
    }

    #[test]
    fn merges_contexts() {
        let pod = pod(
            json!({"runAsUser": 1, "fsGroup": 5, "supplementalGroups": [7], "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"runAsUser": 2, "allowPrivilegeEscalation": false, "seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}}),
        );
        let got = of_container(
            &pod,
            &pod.containers()[0],
            Role::Regular,
            &ImageUser::default(),
            "/var/lib/kubelet",
            false,
            None,
        );
        assert_eq!(got.run_as_user.unwrap().value, 2);
        assert_eq!(got.supplemental_groups, [5, 7]);
        assert!(got.no_new_privs);
        assert_eq!(got.seccomp.unwrap().localhost_ref, "/var/lib/kubelet/seccomp/x.json");
        assert_eq!(of_sandbox(&pod).run_as_user.unwrap().value, 1);
    }
}
