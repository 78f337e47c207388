//! From what a user names to pods and containers: `pod/x`, `deploy/x`, a selector; the default container.

use api::Value;

use crate::error::{Error, Result};
use crate::mapper::Mapper;
use crate::server::{Ask, Server};
use crate::targets::{self, Target};

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The pod of a word, `NAME` or `TYPE/NAME`. Of several the most active one; `tell`: say on stderr which it is.
pub async fn of_word(server: &Server, mapper: &Mapper, word: &str, tell: bool) -> Result<Value> {
    let mut pods = all_of_word(server, mapper, word).await?;
    let found = pods.len();
    pods.sort_by_cached_key(rank);
    let pod = pods.into_iter().next().ok_or_else(|| Error::Plain(format!("no pods found for {word}")))?;
    if tell && found > 1 {
        eprintln!("Found {found} pods, using pod/{}", pod.str_at(&["metadata", "name"]));
    }
    Ok(pod)
}

/// Ready ones first, then running ones, the oldest first.
fn rank(pod: &Value) -> (bool, bool, String) {
    let ready = pod
        .list_at(&["status", "conditions"])
        .iter()
        .any(|c| c.str_at(&["type"]) == "Ready" && c.str_at(&["status"]) == "True");
    let started = pod.str_at(&["metadata", "creationTimestamp"]).to_owned();
    (!ready, pod.str_at(&["status", "phase"]) != "Running", started)
}

/// Every pod of a word.
pub async fn all_of_word(server: &Server, mapper: &Mapper, word: &str) -> Result<Vec<Value>> {
    let namespace = &server.settings.namespace;
    let words =
        if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    let target = targets::of_words(mapper, &words, namespace, false)?.remove(0);
    let object = server.value(&Ask::get(target.path())).await?;
    if target.resource.kind == "Pod" {
        return Ok(vec![object]);
    }
    let selector = selector(&target, &object)?;
    let pods =
        Target { resource: mapper.resource("pods")?, namespace: namespace.clone(), name: String::new() };
    let list = server.value(&Ask::get(pods.path()).with("labelSelector", selector)).await?;
    Ok(list.list_at(&["items"]).to_vec())
}

/// The label selector of a workload or a Service, as text.
fn selector(target: &Target, object: &Value) -> Result<String> {
    let none = || Error::Plain(format!("selector for {} not implemented", target.resource.plural));
    let spec = object.at(&["spec", "selector"]).ok_or_else(none)?;
    let labelled = spec.get("matchLabels").is_some() || spec.get("matchExpressions").is_some();
    let pairs = if labelled { spec.get("matchLabels") } else { Some(spec) };
    let mut parts: Vec<String> = pairs
        .and_then(Value::as_map)
        .map(|m| m.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect())
        .unwrap_or_default();
    parts.extend(spec.list_at(&["matchExpressions"]).iter().map(expression));
    if parts.is_empty() { Err(none()) } else { Ok(parts.join(",")) }
}

fn expression(e: &Value) -> String {
    let key = e.str_at(&["key"]);
    let values: Vec<&str> = e.list_at(&["values"]).iter().filter_map(Value::as_str).collect();
    match e.str_at(&["operator"]) {
        "In" => format!("{key} in ({})", values.join(",")),
        "NotIn" => format!("{key} notin ({})", values.join(",")),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}

/// The names of a pod's containers; with `all` the init and ephemeral ones too.
pub fn containers(pod: &Value, all: bool) -> Vec<String> {
    let lists: &[&str] =
        if all { &["initContainers", "containers", "ephemeralContainers"] } else { &["containers"] };
    lists.iter().flat_map(|l| pod.list_at(&["spec", l])).map(|c| c.str_at(&["name"]).to_owned()).collect()
}

/// The container that is meant where none is named; says so on stderr if it had to choose.
pub fn default_container(pod: &Value) -> Result<String> {
    let annotated = pod.str_at(&["metadata", "annotations", DEFAULT_CONTAINER]);
    let names = containers(pod, true);
    if names.iter().any(|n| n == annotated) {
        return Ok(annotated.to_owned());
    }
    let first = containers(pod, false).into_iter().next();
    let first = first.ok_or_else(|| Error::plain("the pod has no containers"))?;
    if names.len() > 1 {
        let said: Vec<String> = containers(pod, false)
            .into_iter()
            .chain(
                pod.list_at(&["spec", "ephemeralContainers"])
                    .iter()
                    .map(|c| format!("{} (ephem)", c.str_at(&["name"]))),
            )
            .chain(
                pod.list_at(&["spec", "initContainers"])
                    .iter()
                    .map(|c| format!("{} (init)", c.str_at(&["name"]))),
            )
            .collect();
        eprintln!("Defaulted container {first:?} out of: {}", said.join(", "));
    }
    Ok(first)
}

/// Errs where the pod has no such container.
pub fn check_container(pod: &Value, name: &str) -> Result<()> {
    if containers(pod, true).iter().any(|n| n == name) {
        return Ok(());
    }
    let pod_name = pod.str_at(&["metadata", "name"]);
    let known = containers(pod, true).join(", ");
    Err(Error::Plain(format!("container {name} is not valid for pod {pod_name} out of: {known}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn selectors_of_workloads_and_services() {
        let target = Target { resource: Default::default(), namespace: String::new(), name: String::new() };
        let text = |object: Value| selector(&target, &object).unwrap();
        assert_eq!(text(value!({"spec": {"selector": {"app": "x", "b": "y"}}})), "app=x,b=y");
        let labelled = value!({"spec": {"selector": {"matchLabels": {"app": "x"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["a", "b"]}, {"key": "u", "operator": "DoesNotExist"}]}}});
        assert_eq!(text(labelled), "app=x,t in (a,b),!u");
        assert!(selector(&target, &value!({"spec": {}})).is_err());
    }

    #[test]
    fn default_containers() {
        let pod = |annotation: &str| {
            value!({"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": (annotation)}},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}})
        };
        assert_eq!(default_container(&pod("b")).unwrap(), "b");
        assert_eq!(default_container(&pod("nope")).unwrap(), "a");
        assert!(check_container(&pod(""), "i").is_ok() && check_container(&pod(""), "z").is_err());
    }
}
