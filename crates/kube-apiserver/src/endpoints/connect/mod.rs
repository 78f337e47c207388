//! What is passed on to a node, a pod or a service: logs, exec, attach, port-forward and the three proxies.

pub mod forward;
mod html;
pub mod kubelet;
pub mod log;
pub mod proxy;
pub mod stream;

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::auth::Peer;
use apiserver::endpoint::{Body, Call};
use apiserver::resource::Objects;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

pub use kubelet::KubeletClient;

/// The request of a connect call.
fn request(call: Call) -> Result<(http::Request<Body>, Peer), Status> {
    match call {
        Call::Connect(request, peer) => Ok((*request, peer)),
        _ => Err(Status::internal("this endpoint takes requests as they are")),
    }
}

fn body(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// Decoded pairs of a query.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| crate::authn::request_header::unescape(&text.replace('+', " "));
    let pair = |p: &str| {
        let (k, v) = p.split_once('=').unwrap_or((p, ""));
        (decode(k), decode(v))
    };
    query.split('&').filter(|p| !p.is_empty()).map(pair).collect()
}

/// A text as it stands in a query.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

async fn pod(objects: &Arc<dyn Objects>, namespace: &str, name: &str) -> Result<Arc<Value>, Status> {
    Ok(objects.get_latest(&GroupResource::new("", "pods"), namespace, name).await?.value)
}

/// The named container, or the pod's only one.
fn container(pod: &Value, name: &str) -> Result<String, Status> {
    let all = || crate::admission::context::containers(pod).map(|(_, c)| c.str_at(&["name"]));
    if !name.is_empty() {
        if all().any(|n| n == name) {
            return Ok(name.to_owned());
        }
        return Err(Status::bad_request(format!("container {name} is not valid for pod {}", pod.name())));
    }
    match pod.list_at(&["spec", "containers"]) {
        [one] => Ok(one.str_at(&["name"]).to_owned()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {}", pod.name()))),
        _ => Err(Status::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name(),
            all().collect::<Vec<_>>().join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests;
