//! The plugins that need nothing but the object.

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use async_trait::async_trait;

use super::context::{forbidden, is, is_pod};

pub struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }

    fn handles(&self, _: Operation) -> bool {
        false
    }
}

pub struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn handles(&self, _: Operation) -> bool {
        true
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        Err(forbidden(a, "admission control is denying all modifications"))
    }
}

/// Every image is pulled with the pod's own credentials.
pub struct AlwaysPullImages;

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is_pod(a) {
            return Ok(());
        }
        let Some(pod) = &mut a.object else { return Ok(()) };
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let containers = pod.at_mut(&["spec", list]).and_then(Value::as_list_mut);
            for container in containers.into_iter().flatten() {
                container.set_at(&["imagePullPolicy"], "Always");
            }
        }
        Ok(())
    }
}

/// No new external IPs in Services (CVE-2020-8554).
pub struct DenyServiceExternalIps;

#[async_trait]
impl Plugin for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(service) = a.object.as_ref().filter(|_| is(a, "", "services", "")) else { return Ok(()) };
        let old = a.old_object.as_deref().map(|o| o.list_at(&["spec", "externalIPs"])).unwrap_or_default();
        if service.list_at(&["spec", "externalIPs"]).iter().all(|ip| old.contains(ip)) {
            return Ok(());
        }
        Err(forbidden(a, "Use of external IPs is denied by admission control"))
    }
}
