//! Where pods come from: the API server and a folder of manifests.

pub mod api;
pub mod manifests;
pub mod mirror;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::admission;
use crate::context::Context;
use crate::pod::worker::Worker;

/// Hands a pod's newest state to its worker, starting one for a new pod.
pub fn take(cx: &Arc<Context>, pod: Arc<Pod>) {
    let admit = |others: &[&Pod]| {
        let known = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let going = pod.metadata.deletion_timestamp.is_some();
        if known || going {
            return None;
        }
        let refused = cx.pressure.refuse(&pod);
        refused.or_else(|| admission::admit(&pod, others, &cx.node.read(), &cx.config.allowed_unsafe_sysctls))
    };
    if let Some(mailbox) = cx.pods.upsert(pod.clone(), admit) {
        tokio::spawn(Worker::new(cx.clone(), mailbox).run());
    }
}
