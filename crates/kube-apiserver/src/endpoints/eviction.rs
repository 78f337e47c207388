//! `pods/eviction`: a delete that respects disruption budgets.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::status::{Cause, Details};
use apimachinery::{Reason, Status};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::{Objects, Preconditions};
use async_trait::async_trait;

use super::kinds;
use crate::strategies::fields::{self, Fields, map, map_at};
use crate::strategies::selectors;

/// Evicted pods that a budget's controller has not seen go yet, at most.
const MAX_DISRUPTED: usize = 2000;

pub struct Eviction {
    pub objects: Arc<dyn Objects>,
}

#[async_trait]
impl Endpoint for Eviction {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let eviction = kinds::created(call, &kinds::PODS)?;
        let (namespace, name) = (cx.info.namespace.as_str(), cx.info.name.as_str());
        if eviction.str_at(&["metadata", "name"]) != name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let pod = self.objects.get_latest(&kinds::PODS, namespace, name).await?.value;
        let options = map_at(&eviction, &["deleteOptions"]);
        let dry_run = cx.dry_run || !options.list("dryRun").is_empty();
        if !ignores_budgets(&pod)
            && let Some(budget) = self.budget_of(&pod)?
            && !budget_is_met_without(&pod, &budget)
        {
            self.decrement(cx, &budget, &pod, dry_run).await?;
        }
        if !dry_run {
            self.evict(cx, &pod, options).await?;
        }
        Ok(Answer::Object(201, kinds::success(201)))
    }
}

impl Eviction {
    fn budget_of(&self, pod: &Value) -> Result<Option<Arc<Value>>, Status> {
        let labels = map_at(pod, &["metadata", "labels"]);
        let all = self.objects.list(&kinds::BUDGETS, pod.str_at(&["metadata", "namespace"]));
        let mut matching = all.into_iter().map(|o| o.value).filter(|b| {
            b.at(&["spec", "selector"]).and_then(Value::as_map).is_some_and(|s| selectors::matches(s, labels))
        });
        let first = matching.next();
        if matching.next().is_some() {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::new(500, Reason::InternalError, why));
        }
        Ok(first)
    }

    async fn decrement(
        &self,
        cx: &RequestContext,
        budget: &Value,
        pod: &Value,
        dry_run: bool,
    ) -> Result<(), Status> {
        let name = budget.str_at(&["metadata", "name"]);
        let namespace = budget.str_at(&["metadata", "namespace"]);
        let (evicted, now) = (pod.str_at(&["metadata", "name"]), cx.now);
        let change = |budget: &mut Value| decrement(budget, evicted, now);
        if dry_run {
            return change(&mut budget.clone());
        }
        let cx = crate::allocators::context::own("update", &kinds::BUDGETS, "v1", namespace, name);
        self.objects.update(&cx, &kinds::BUDGETS, "status", namespace, name, &change).await?;
        Ok(())
    }

    async fn evict(&self, cx: &RequestContext, pod: &Value, options: &Map) -> Result<(), Status> {
        let (namespace, name) = (cx.info.namespace.as_str(), cx.info.name.as_str());
        let uid = pod.str_at(&["metadata", "uid"]).to_owned();
        let now = cx.now;
        let mark = |pod: &mut Value| {
            if pod.str_at(&["metadata", "uid"]) == uid {
                disruption_target(pod, now);
            }
            Ok(())
        };
        self.objects.update(cx, &kinds::PODS, "status", namespace, name, &mark).await?;
        let wanted = options.sub("preconditions").cloned().unwrap_or_default();
        let preconditions = Preconditions {
            uid: Some(if wanted.text("uid").is_empty() {
                uid.clone()
            } else {
                wanted.text("uid").to_owned()
            }),
            resource_version: None,
        };
        self.objects
            .delete(cx, &kinds::PODS, namespace, name, options.int("gracePeriodSeconds"), preconditions)
            .await
    }
}

fn ignores_budgets(pod: &Value) -> bool {
    matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed" | "Pending")
        || map_at(pod, &["metadata"]).has("deletionTimestamp")
}

/// A pod that is not ready does not count for its budget; whether it may go then is the budget's policy.
fn budget_is_met_without(pod: &Value, budget: &Value) -> bool {
    let ready = map_at(pod, &["status"])
        .items("conditions")
        .any(|c| c.text("type") == "Ready" && c.text("status") == "True");
    if ready {
        return false;
    }
    if budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow" {
        return true;
    }
    let number = |name: &str| budget.int_at(&["status", name]).unwrap_or(0);
    number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0
}

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

fn refused(retry_after_seconds: i32, why: String) -> Status {
    let cause = Cause { reason: "DisruptionBudget".into(), message: why, field: String::new() };
    Status::too_many_requests(VIOLATES, retry_after_seconds).with_details(Details {
        causes: vec![cause],
        retry_after_seconds,
        ..Details::default()
    })
}

/// One disruption less, and the pod remembered.
fn decrement(budget: &mut Value, pod: &str, now: jiff::Timestamp) -> Result<(), Status> {
    let name = budget.str_at(&["metadata", "name"]).to_owned();
    let number = |name: &str| budget.int_at(&["status", name]).unwrap_or(0);
    let generation = budget.int_at(&["metadata", "generation"]).unwrap_or(0);
    if number("observedGeneration") < generation {
        return Err(refused(
            10,
            format!("The disruption budget {name} is still being processed by the server."),
        ));
    }
    let allowed = number("disruptionsAllowed");
    let forbidden = |why: &str| Err(Status::forbidden(&kinds::BUDGETS, &name, why));
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if map_at(budget, &["status", "disruptedPods"]).len() > MAX_DISRUPTED {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        let (needs, has) = (number("desiredHealthy"), number("currentHealthy"));
        return Err(refused(
            0,
            format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently"),
        ));
    }
    let status = budget.as_map_or_make().map_mut("status");
    status.insert("disruptionsAllowed", allowed - 1);
    status.map_mut("disruptedPods").insert(pod, fields::time(now));
    if allowed == 1 {
        insufficient(status, generation, now);
    }
    Ok(())
}

fn insufficient(status: &mut Map, generation: i64, now: jiff::Timestamp) {
    let list = status.or_insert_with("conditions", || Value::List(Vec::new()));
    let Value::List(all) = list else { return };
    let is = |c: &Value| c.str_at(&["type"]) == "DisruptionAllowed";
    if all.iter().any(|c| is(c) && c.str_at(&["status"]) == "False") {
        return;
    }
    all.retain(|c| !is(c));
    let condition = map([
        ("type", "DisruptionAllowed".into()),
        ("status", "False".into()),
        ("observedGeneration", generation.into()),
        ("lastTransitionTime", fields::time(now)),
        ("reason", "InsufficientPods".into()),
        ("message", "".into()),
    ]);
    all.push(Value::Map(condition));
}

fn disruption_target(pod: &mut Value, now: jiff::Timestamp) {
    let condition = map([
        ("type", "DisruptionTarget".into()),
        ("status", "True".into()),
        ("lastProbeTime", Value::Null),
        ("lastTransitionTime", fields::time(now)),
        ("reason", "EvictionByEvictionAPI".into()),
        ("message", "Eviction API: evicting".into()),
    ]);
    let status = pod.as_map_or_make().map_mut("status");
    if let Value::List(all) = status.or_insert_with("conditions", || Value::List(Vec::new())) {
        all.retain(|c| c.str_at(&["type"]) != "DisruptionTarget");
        all.push(Value::Map(condition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::value;
    use serde_json::json;

    #[test]
    fn a_budget_is_spent_and_then_refuses() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut budget = value(json!({"metadata": {"name": "b", "generation": 1}, "status": {
            "observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 2, "currentHealthy": 3}}));
        decrement(&mut budget, "p", now).unwrap();
        assert_eq!(budget.int_at(&["status", "disruptionsAllowed"]), Some(0));
        assert!(budget.at(&["status", "disruptedPods", "p"]).is_some());
        let refused = decrement(&mut budget, "q", now).unwrap_err();
        assert_eq!(refused.code, 429);
        assert_eq!(
            refused.details.as_ref().unwrap().causes[0].message,
            "The disruption budget b needs 2 healthy pods and has 3 currently"
        );
        budget.set_at(&["metadata", "generation"], 2i64);
        assert_eq!(
            decrement(&mut budget, "q", now).unwrap_err().details.as_ref().unwrap().retry_after_seconds,
            10
        );
    }

    #[test]
    fn unready_pods_go_by_policy() {
        let pod = value(json!({"status": {"phase": "Running"}}));
        let budget = |policy: &str, has: i64| {
            value(
                json!({"spec": {"unhealthyPodEvictionPolicy": policy}, "status": {"currentHealthy": has, "desiredHealthy": 2}}),
            )
        };
        assert!(budget_is_met_without(&pod, &budget("AlwaysAllow", 0)));
        assert!(budget_is_met_without(&pod, &budget("IfHealthyBudget", 2)));
        assert!(!budget_is_met_without(&pod, &budget("IfHealthyBudget", 1)));
        assert!(ignores_budgets(&value(json!({"status": {"phase": "Pending"}}))));
    }
}
