//! DefaultBinder: writes the pod's `binding` subresource.

use async_trait::async_trait;
use client::resource::PODS;
use client::{Api, Error};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::framework::{Binder, Plugin, Point};
use crate::pod::Pod;

pub struct DefaultBinder {
    /// None in tests of what comes before binding.
    pub api: Option<Api>,
}

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::Bind]
    }

    fn binder(&self) -> Option<&dyn Binder> {
        Some(self)
    }
}

#[async_trait]
impl Binder for DefaultBinder {
    async fn bind(&self, pod: &Pod, node: &str) -> Option<Result<(), Error>> {
        let api = self.api.as_ref()?;
        let (namespace, name) = (pod.key.namespace(), pod.key.name());
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"namespace": namespace, "name": name, "uid": pod.uid},
            "target": {"kind": "Node", "name": node},
        });
        Some(
            api.create_subresource::<IgnoredAny>(&PODS, namespace, name, "binding", &binding).await.map(drop),
        )
    }
}
