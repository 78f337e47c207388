//! DefaultBinder: writes the pod's `binding` subresource.

use async_trait::async_trait;
use client::resource::PODS;
use client::{Api, Error};
use serde::Serialize;
use serde::de::IgnoredAny;

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
        let binding = Binding {
            api_version: "v1",
            kind: "Binding",
            metadata: Metadata { namespace, name, uid: &pod.uid },
            target: Target { kind: "Node", name: node },
        };
        Some(
            api.create_subresource::<IgnoredAny>(&PODS, namespace, name, "binding", &binding).await.map(drop),
        )
    }
}

/// A binding as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Binding<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    target: Target<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
struct Target<'a> {
    kind: &'static str,
    name: &'a str,
}
