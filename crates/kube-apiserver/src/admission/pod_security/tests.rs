//! Pods against the levels.

use serde_json::json;

use super::*;
use crate::testing::value;

fn check(level: Level, spec: serde_json::Value) -> String {
    violations(level, &value(json!({"spec": spec}))).join(", ")
}

#[test]
fn a_plain_pod() {
    let plain = json!({"containers": [{"name": "nginx"}]});
    assert_eq!(check(Level::Privileged, plain.clone()), "");
    assert_eq!(check(Level::Baseline, plain.clone()), "");
    assert_eq!(
        check(Level::Restricted, plain),
        "allowPrivilegeEscalation != false (container \"nginx\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"nginx\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"nginx\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"nginx\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

#[test]
fn what_the_suite_runs_as_restricted() {
    let container = json!({"name": "c", "securityContext": {"allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}}});
    let spec = json!({"securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container.clone(), container], "volumes": [{"name": "v", "projected": {}}, {"name": "e", "emptyDir": {}}]});
    assert_eq!(check(Level::Restricted, spec), "");
}

#[test]
fn each_check() {
    let one =
        |security: serde_json::Value| json!({"containers": [{"name": "c", "securityContext": security}]});
    for (spec, expected) in [
        (json!({"hostNetwork": true, "hostPID": true}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            one(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            one(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (json!({"volumes": [{"name": "h", "hostPath": {}}]}), "hostPath volumes (volume \"h\")"),
        (
            json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}),
            "hostPort (container \"c\" uses hostPort 80)",
        ),
        (
            one(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.sem"}, {"name": "net.ipv4.tcp_syncookies"}]}}),
            "forbidden sysctls (kernel.sem)",
        ),
        (json!({"securityContext": {"runAsUser": 0}}), ""),
        (
            json!({"hostUsers": false, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]}),
            "",
        ),
    ] {
        assert_eq!(check(Level::Baseline, spec), expected);
    }
    assert!(
        check(Level::Restricted, json!({"volumes": [{"name": "h", "hostPath": {}}]}))
            .contains("restricted volume types (volume \"h\" uses restricted volume type \"hostPath\")")
    );
    assert!(
        check(Level::Restricted, json!({"securityContext": {"runAsUser": 0}}))
            .contains("runAsUser=0 (pod must not set runAsUser=0)")
    );
}

#[test]
fn root_of_its_own_users_is_nobody() {
    let spec = |own: bool| {
        let container = json!({"name": "c", "securityContext": {"allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}}});
        json!({"hostUsers": !own, "securityContext": {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container]})
    };
    assert_eq!(check(Level::Restricted, spec(true)), "");
    assert!(check(Level::Restricted, spec(false)).contains("runAsUser=0"));
}
