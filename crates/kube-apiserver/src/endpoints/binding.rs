//! `pods/binding` and `bindings`: the scheduler's decision, written into the pod.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::field::{Error, Path};
use apimachinery::{GroupResource, Reason, Status};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::kinds;
use crate::strategies::fields::{self, Fields, map, map_at};

pub struct Binding {
    pub objects: Arc<dyn Objects>,
}

#[async_trait]
impl Endpoint for Binding {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let resource = GroupResource::new("", "pods/binding");
        let binding = kinds::created(call, &resource)?;
        validate(&binding)?;
        let own = binding.str_at(&["metadata", "name"]);
        let name = if cx.info.name.is_empty() { own } else { cx.info.name.as_str() };
        if !own.is_empty() && own != name {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let now = cx.now;
        let change =
            |pod: &mut Value| bind(pod, &binding, now).map_err(|why| Status::conflict(&resource, name, why));
        if cx.dry_run {
            let mut pod =
                Value::clone(&self.objects.get_latest(&kinds::PODS, &cx.info.namespace, name).await?.value);
            change(&mut pod)?;
        } else {
            self.objects.update(cx, &kinds::PODS, "", &cx.info.namespace, name, &change).await?;
        }
        Ok(Answer::Object(201, kinds::success(201)))
    }
}

fn validate(binding: &Value) -> Result<(), Status> {
    let target = map_at(binding, &["target"]);
    let at = Path::new("target");
    let mut errors = Vec::new();
    if !matches!(target.text("kind"), "" | "Node") {
        errors.push(Error::not_supported(&at.child("kind"), target.text("kind"), &["Node", "<empty>"]));
    }
    if target.text("name").is_empty() {
        errors.push(Error::required(&at.child("name"), ""));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let message = if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) };
    Err(Status::new(500, Reason::Unknown, message))
}

/// The pod on its node, or why not.
fn bind(pod: &mut Value, binding: &Value, now: jiff::Timestamp) -> Result<(), String> {
    let meta = map_at(pod, &["metadata"]);
    let name = meta.text("name");
    let uid = binding.str_at(&["metadata", "uid"]);
    if !uid.is_empty() && uid != meta.text("uid") {
        return Err(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta.text("uid")
        ));
    }
    if meta.has("deletionTimestamp") {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let there = pod.str_at(&["spec", "nodeName"]);
    if !there.is_empty() {
        return Err(format!("pod {name} is already assigned to node {there:?}"));
    }
    if !map_at(pod, &["spec"]).list("schedulingGates").is_empty() {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let node = binding.str_at(&["target", "name"]).to_owned();
    pod.set_at(&["spec", "nodeName"], node);
    for part in ["annotations", "labels"] {
        let more = map_at(binding, &["metadata", part]);
        if !more.is_empty() {
            let to = pod.as_map_or_make().map_mut("metadata").map_mut(part);
            more.iter().for_each(|(k, v)| drop(to.insert(k.clone(), v.clone())));
        }
    }
    let status = pod.as_map_or_make().map_mut("status");
    status.remove("nominatedNodeName");
    set_condition(status, "PodScheduled", "True", now);
    Ok(())
}

fn set_condition(status: &mut Map, kind: &str, value: &str, now: jiff::Timestamp) {
    let condition = map([
        ("type", kind.into()),
        ("status", value.into()),
        ("lastProbeTime", Value::Null),
        ("lastTransitionTime", fields::time(now)),
    ]);
    let list = status.or_insert_with("conditions", || Value::List(Vec::new()));
    let Value::List(all) = list else { return };
    all.retain(|c| c.str_at(&["type"]) != kind);
    all.push(Value::Map(condition));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    #[test]
    fn a_pod_is_bound_once() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let binding =
            value(json!({"metadata": {"annotations": {"a": "b"}}, "target": {"kind": "Node", "name": "n"}}));
        let mut pod =
            value(json!({"metadata": {"name": "p"}, "spec": {}, "status": {"nominatedNodeName": "m"}}));
        bind(&mut pod, &binding, now).unwrap();
        assert_eq!(pod.str_at(&["spec", "nodeName"]), "n");
        assert_eq!(pod.str_at(&["metadata", "annotations", "a"]), "b");
        assert_eq!(pod.list_at(&["status", "conditions"]).len(), 1);
        assert_eq!(bind(&mut pod, &binding, now).unwrap_err(), "pod p is already assigned to node \"n\"");
        assert!(validate(&value(json!({"target": {"kind": "Pod"}}))).is_err());
    }
}
