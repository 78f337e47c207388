//! RuntimeClass: a pod's runtime class gives it the overhead, node selector and tolerations (KEP-585, KEP-688).

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{RUNTIME_CLASSES, forbidden, is_pod};

pub struct RuntimeClass {
    objects: Arc<dyn Objects>,
}

impl RuntimeClass {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// The class that the pod names; None if it names none.
    async fn class(&self, a: &Attributes<'_>) -> Result<Option<Arc<Value>>, Status> {
        let Some(name) = a.object.as_ref().and_then(|pod| pod.at(&["spec", "runtimeClassName"])?.as_str())
        else {
            return Ok(None);
        };
        if let Some(found) = self.objects.get(&RUNTIME_CLASSES, "", name) {
            return Ok(Some(found.value));
        }
        match self.objects.get_latest(&RUNTIME_CLASSES, "", name).await {
            Ok(found) => Ok(Some(found.value)),
            Err(_) => Err(forbidden(a, format!("pod rejected: RuntimeClass {name:?} not found"))),
        }
    }
}

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is_pod(a) {
            return Ok(());
        }
        let Some(class) = self.class(a).await? else { return Ok(()) };
        let Some(mut pod) = a.object.take() else { return Ok(()) };
        let result = apply(&mut pod, &class);
        a.object = Some(pod);
        result.map_err(|why| forbidden(a, why))
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(pod) = a.object.as_ref().filter(|_| is_pod(a)) else { return Ok(()) };
        let overhead = pod.at(&["spec", "overhead"]).filter(|v| !v.is_null());
        let class = self.class(a).await?;
        let fixed = class.as_deref().and_then(|c| c.at(&["overhead", "podFixed"]));
        match (overhead, fixed) {
            (Some(_), None) => Err(forbidden(
                a,
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
            (Some(overhead), Some(fixed)) if overhead != fixed => Err(forbidden(a, MISMATCH)),
            _ => Ok(()),
        }
    }
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn apply(pod: &mut Value, class: &Value) -> Result<(), String> {
    if let Some(fixed) = class.at(&["overhead", "podFixed"]) {
        if pod.at(&["spec", "overhead"]).is_some_and(|own| !own.is_null() && own != fixed) {
            return Err(MISMATCH.into());
        }
        pod.set_at(&["spec", "overhead"], fixed.clone());
    }
    let selector = class.at(&["scheduling", "nodeSelector"]).and_then(Value::as_map);
    for (key, value) in selector.into_iter().flat_map(api::Map::iter) {
        let own = pod.as_map_or_make().map_mut("spec").map_mut("nodeSelector");
        if let Some(present) = own.get(key).filter(|present| *present != value) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                value.as_str().unwrap_or_default(),
                present.as_str().unwrap_or_default()
            ));
        }
        own.insert(key.clone(), value.clone());
    }
    for toleration in class.list_at(&["scheduling", "tolerations"]) {
        super::tolerations::add(pod, toleration.clone());
    }
    Ok(())
}
