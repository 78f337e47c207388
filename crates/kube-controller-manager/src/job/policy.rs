//! What the failure of a pod means by the job's `podFailurePolicy` (KEP-3329), and when its `successPolicy`
//! (KEP-3998) is met.

use super::indexes::Indexes;
use crate::views::Pod;
use crate::views::batch::{FailureRule, OnExitCodes, PodFailurePolicy, SuccessPolicy};
use crate::views::pod::ContainerStatus;

/// The meaning of one pod's failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Counts towards the limits: no rule, or `Count`.
    Count,
    Ignore,
    FailIndex,
    /// The whole job, for this reason.
    FailJob(String),
}

/// The first rule that matches decides.
pub fn verdict(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let rules = policy.map(|p| p.rules.as_slice()).unwrap_or_default();
    let matched = rules.iter().enumerate().find_map(|(at, rule)| Some((rule, why(rule, at, pod)?)));
    match matched {
        None => Verdict::Count,
        Some((rule, message)) => match &*rule.action {
            "Ignore" => Verdict::Ignore,
            "FailIndex" => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(message),
            _ => Verdict::Count,
        },
    }
}

/// Why a rule matches, if it does.
fn why(rule: &FailureRule, at: usize, pod: &Pod) -> Option<String> {
    let (meta, action) = (&pod.metadata, &rule.action);
    if let Some(codes) = &rule.on_exit_codes {
        let all = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
        let (name, code) = all.into_iter().find_map(|c| exit_code(codes, c).map(|code| (&c.name, code)))?;
        return Some(format!(
            "Container {name} for pod {}/{} failed with exit code {code} matching {action} rule at index {at}",
            meta.namespace, meta.name
        ));
    }
    let has =
        |kind: &str, status: &str| pod.status.conditions.iter().any(|c| c.kind == kind && c.status == status);
    let found = rule.on_pod_conditions.iter().find(|c| has(&c.kind, &c.status))?;
    Some(format!(
        "Pod {}/{} has condition {} matching {action} rule at index {at}",
        meta.namespace, meta.name, found.kind
    ))
}

/// The exit code of a container that the requirement matches. 0 is never one.
fn exit_code(codes: &OnExitCodes, container: &ContainerStatus) -> Option<i32> {
    let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
    let code = container.state.terminated.as_ref()?.exit_code;
    let listed = codes.values.contains(&code);
    (named && code != 0 && listed == (codes.operator == "In")).then_some(code)
}

/// The message of the first rule that the succeeded indexes meet.
pub fn success(policy: Option<&SuccessPolicy>, completions: i32, succeeded: &Indexes) -> Option<String> {
    let total = succeeded.total();
    let met = |rule: &crate::views::batch::SuccessRule| match (&rule.succeeded_indexes, rule.succeeded_count)
    {
        (Some(text), count) => {
            let wanted = Indexes::parse(text, completions);
            succeeded.common(&wanted) >= count.unwrap_or_else(|| wanted.total())
        }
        (None, Some(count)) => total >= count,
        (None, None) => false,
    };
    let at = policy.filter(|_| total > 0)?.rules.iter().position(met)?;
    Some(format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(code: i32) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Failed",
            "conditions": [{"type": "DisruptionTarget", "status": "True"}],
            "containerStatuses": [{"name": "side", "state": {"terminated": {"exitCode": 0}}},
                {"name": "main", "state": {"terminated": {"exitCode": code}}}]}}),
        )
        .unwrap()
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let exit = |action: &str, more: serde_json::Value| {
            let mut codes = json!({"operator": "In", "values": [42]});
            more.as_object().unwrap().iter().for_each(|(k, v)| codes[k] = v.clone());
            json!({"action": action, "onExitCodes": codes})
        };
        let disrupted =
            json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let no = json!({"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "False"}]});
        let message = "Container main for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        for (rules, code, expected) in [
            (json!([]), 42, Verdict::Count),
            (json!([no, exit("FailJob", json!({}))]), 42, Verdict::FailJob(message.into())),
            (json!([exit("FailIndex", json!({}))]), 42, Verdict::FailIndex),
            (json!([exit("FailIndex", json!({}))]), 1, Verdict::Count),
            (json!([exit("FailIndex", json!({"operator": "NotIn"}))]), 1, Verdict::FailIndex),
            (json!([exit("FailIndex", json!({"containerName": "side"}))]), 42, Verdict::Count),
            (
                json!([exit("Ignore", json!({"operator": "NotIn", "containerName": "side"}))]),
                1,
                Verdict::Count,
            ),
            (json!([exit("Count", json!({})), disrupted]), 42, Verdict::Count),
            (json!([disrupted, exit("FailJob", json!({}))]), 42, Verdict::Ignore),
        ] {
            let policy: PodFailurePolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            assert_eq!(verdict(Some(&policy), &pod(code)), expected, "{rules} {code}");
        }
        assert_eq!(verdict(None, &pod(42)), Verdict::Count);
    }

    #[test]
    fn success_by_indexes_and_count() {
        for (rules, succeeded, expected) in [
            (json!([{"succeededIndexes": "0,2-3"}]), "0,2,3", Some(0)),
            (json!([{"succeededIndexes": "0,2-3"}]), "0-2", None),
            (json!([{"succeededIndexes": "0,2-3", "succeededCount": 2}]), "0-2", Some(0)),
            (json!([{"succeededIndexes": "0", "succeededCount": 1}, {"succeededCount": 2}]), "3,4", Some(1)),
            (json!([{"succeededCount": 1}]), "", None),
        ] {
            let policy: SuccessPolicy = serde_json::from_value(json!({"rules": rules})).unwrap();
            let message = success(Some(&policy), 5, &Indexes::parse(succeeded, 5));
            assert_eq!(
                message,
                expected.map(|at: i32| format!("Matched rules at index {at}")),
                "{rules} {succeeded}"
            );
        }
    }
}
