//! DefaultTolerationSeconds: a pod stays five minutes on a node that is lost. ExtendedResourceToleration: a pod
//! that asks for a device tolerates the taint of its nodes.

use std::collections::BTreeSet;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use async_trait::async_trait;

use super::context::is_pod;

const SECONDS: i64 = 300;
const LOST: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is_pod(a) {
            return Ok(());
        }
        let Some(pod) = &mut a.object else { return Ok(()) };
        for key in LOST {
            let tolerations = pod.list_at(&["spec", "tolerations"]);
            if !tolerations.iter().any(|t| tolerates(t, key)) {
                let seconds = SECONDS;
                add(
                    pod,
                    api::value!({"effect": "NoExecute", "key": key, "operator": "Exists",
                    "tolerationSeconds": seconds}),
                );
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let field = |name| toleration.str_at(&[name]);
    (field("key").is_empty() || field("key") == key) && matches!(field("effect"), "" | "NoExecute")
}

/// Adds a toleration unless the same one is there.
pub fn add(pod: &mut Value, toleration: Value) {
    let spec = pod.as_map_or_make().map_mut("spec");
    let list = spec.or_insert_with("tolerations", || Value::List(Vec::new()));
    match list.as_list_mut() {
        Some(list) if list.contains(&toleration) => {}
        Some(list) => list.push(toleration),
        None => *list = Value::List(vec![toleration]),
    }
}

pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is_pod(a) {
            return Ok(());
        }
        let Some(pod) = &mut a.object else { return Ok(()) };
        let requests = super::context::containers(pod)
            .filter(|(list, _)| *list != "ephemeralContainers")
            .filter_map(|(_, c)| c.at(&["resources", "requests"])?.as_map());
        let names: BTreeSet<String> = requests
            .flat_map(api::Map::keys)
            .filter(|name| is_extended(name))
            .map(ToString::to_string)
            .collect();
        for name in names {
            add(pod, api::value!({"key": name, "operator": "Exists"}));
        }
        Ok(())
    }
}

/// A resource of somebody else's domain.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
        && !name.starts_with("requests.")
}
