//! Pods that the API server binds to this node.

use std::sync::Arc;

use client::{Event, Informer, InformerOptions, View};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::pod::PodExt;
use crate::status::manager::PODS;

/// A whole pod, as an informer holds it.
#[derive(Debug)]
pub struct PodView(pub Arc<Pod>);

impl<'de> Deserialize<'de> for PodView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Pod::deserialize(deserializer).map(|pod| Self(Arc::new(pod)))
    }
}

impl View for PodView {
    fn namespace(&self) -> &str {
        self.0.namespace()
    }
    fn name(&self) -> &str {
        self.0.name()
    }
    fn uid(&self) -> &str {
        self.0.uid()
    }
    fn resource_version(&self) -> &str {
        self.0.metadata.resource_version.as_deref().unwrap_or_default()
    }
}

/// The informer of the node's pods; it does nothing until [`start`].
#[must_use]
pub fn informer(api: &client::Api, node: &str) -> Informer<PodView> {
    let options =
        InformerOptions { field_selector: format!("spec.nodeName={node}"), ..InformerOptions::default() };
    Informer::new(api.clone(), PODS, options)
}

/// Begins to hand out pods.
pub fn start(cx: &Arc<Context>, informer: &Informer<PodView>, shutdown: CancellationToken) {
    let cx = cx.clone();
    informer.add_handler(move |event| handle(&cx, event));
    drop(informer.start(shutdown));
}

fn handle(cx: &Arc<Context>, event: &Event<PodView>) {
    match event {
        Event::Added(pod) => added(cx, &pod.0),
        Event::Modified { old, new } if old.0.uid() != new.0.uid() => {
            deleted(cx, &old.0);
            added(cx, &new.0);
        }
        Event::Modified { new, .. } => added(cx, &new.0),
        Event::Deleted(pod) => deleted(cx, &pod.0),
    }
}

fn added(cx: &Arc<Context>, pod: &Arc<Pod>) {
    if pod.is_mirror() {
        cx.pods.set_mirror(pod, true);
        return;
    }
    cx.statuses.observe(pod.uid(), pod);
    super::take(cx, pod.clone());
}

fn deleted(cx: &Arc<Context>, pod: &Arc<Pod>) {
    if pod.is_mirror() {
        cx.pods.set_mirror(pod, false);
    } else {
        cx.pods.remove(pod.uid());
    }
}
