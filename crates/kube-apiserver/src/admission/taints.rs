//! TaintNodesByCondition: a new node is not ready. PodTopologyLabels: a pod learns the zone and region of its node
//! when it is bound.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{NODES, is};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is(a, "", "nodes", "") {
            return Ok(());
        }
        let Some(node) = &mut a.object else { return Ok(()) };
        let same = |t: &Value| t.str_at(&["key"]) == NOT_READY && t.str_at(&["effect"]) == "NoSchedule";
        if node.list_at(&["spec", "taints"]).iter().any(same) {
            return Ok(());
        }
        let taint = api::value!({"effect": "NoSchedule", "key": NOT_READY});
        let taints =
            node.as_map_or_make().map_mut("spec").or_insert_with("taints", || Value::List(Vec::new()));
        match taints.as_list_mut() {
            Some(list) => list.push(taint),
            None => *taints = Value::List(vec![taint]),
        }
        Ok(())
    }
}

/// Node labels that are copied (KEP-4742).
const TOPOLOGY: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub struct PodTopologyLabels {
    objects: Arc<dyn Objects>,
}

impl PodTopologyLabels {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }
}

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is(a, "", "pods", "binding") && !is(a, "", "pods", "") {
            return Ok(());
        }
        let path: &[&str] =
            if a.subresource.is_empty() { &["spec", "nodeName"] } else { &["target", "name"] };
        let Some(object) = &mut a.object else { return Ok(()) };
        let Some(node) = self.objects.get(&NODES, "", object.str_at(path)) else { return Ok(()) };
        for label in TOPOLOGY {
            // An own label of the pod stays on creation; a binding's is overwritten.
            let own = a.subresource.is_empty() && object.meta().label(label).is_some();
            if let Some(value) = node.value.meta().label(label).filter(|_| !own) {
                object.meta_mut().map_mut("labels").insert(label, value);
            }
        }
        Ok(())
    }
}
