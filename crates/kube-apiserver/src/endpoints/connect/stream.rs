//! `pods/exec`, `pods/attach` and `pods/portforward`: to the kubelet as they come, except for the WebSocket
//! protocols that become SPDY on the way.

use std::sync::Arc;

use apimachinery::Status;
use apiserver::auth::{self, Authorizer, Decision};
use apiserver::endpoint::{Answer, Body, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::Objects;
use async_trait::async_trait;
use http::header::HeaderMap;
use streaming::remote_command::Options;
use streaming::{port_forward, translate, upgrade};

use super::KubeletClient;
use super::forward::forward;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Exec,
    Attach,
    PortForward,
}

pub struct Stream {
    pub kind: Kind,
    pub objects: Arc<dyn Objects>,
    pub kubelets: Arc<KubeletClient>,
    /// A WebSocket handshake is a GET, yet what it opens counts as `create`. None: nobody is asked.
    pub authorizer: Option<Arc<dyn Authorizer>>,
}

/// What the request's query says, and in the kubelet's words; the kubelet checks it.
struct Wanted {
    container: String,
    query: String,
    options: Options,
}

impl Stream {
    async fn may_create(&self, cx: &RequestContext) -> Result<(), Status> {
        let Some(authorizer) = self.authorizer.as_ref().filter(|_| cx.info.verb != "create") else {
            return Ok(());
        };
        let attributes = auth::Attributes {
            user: &cx.user,
            verb: "create",
            is_resource: true,
            path: &cx.info.path,
            group: "",
            version: "v1",
            resource: "pods",
            subresource: &cx.info.subresource,
            namespace: &cx.info.namespace,
            name: &cx.info.name,
            label_selector: "",
            field_selector: "",
        };
        match authorizer.authorize(&attributes).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                let words = format!(
                    "User {:?} cannot create resource \"pods/{}\" in API group \"\" in the namespace {:?}",
                    cx.user.name, cx.info.subresource, cx.info.namespace
                );
                let words = if why.is_empty() { words } else { format!("{words}: {why}") };
                Err(Status::forbidden(&apimachinery::GroupResource::new("", "pods"), &cx.info.name, words))
            }
        }
    }

    fn wanted(&self, query: &str) -> Wanted {
        let pairs = super::pairs(query);
        let container =
            pairs.iter().find(|(k, _)| k == "container").map(|(_, v)| v.clone()).unwrap_or_default();
        if self.kind == Kind::PortForward {
            let ports =
                pairs.iter().filter(|(k, _)| k == "ports").map(|(_, v)| v.as_str()).collect::<Vec<_>>();
            let query = if ports.is_empty() {
                String::new()
            } else {
                format!("port={}", super::encode(&ports.join(",")))
            };
            return Wanted { container, query, options: Options::default() };
        }
        let on = |key: &str| {
            pairs.iter().any(|(k, v)| {
                k == key && !matches!(v.as_str(), "" | "0" | "f" | "F" | "false" | "FALSE" | "False")
            })
        };
        let options =
            Options { stdin: on("stdin"), stdout: on("stdout"), stderr: on("stderr"), tty: on("tty") };
        let streams = [
            ("input", options.stdin),
            ("output", options.stdout),
            ("error", options.stderr),
            ("tty", options.tty),
        ];
        let mut out: Vec<String> =
            streams.iter().filter(|(_, on)| *on).map(|(name, _)| format!("{name}=1")).collect();
        let commands = pairs.iter().filter(|(k, _)| k == "command" && self.kind == Kind::Exec);
        out.extend(commands.map(|(_, v)| format!("command={}", super::encode(v))));
        Wanted { container, query: out.join("&"), options }
    }
}

#[async_trait]
impl Endpoint for Stream {
    fn is_connect(&self) -> bool {
        true
    }

    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let (request, peer) = super::request(call)?;
        self.may_create(cx).await?;
        let wanted = self.wanted(request.uri().query().unwrap_or_default());
        let pod = super::pod(&self.objects, &cx.info.namespace, &cx.info.name).await?;
        let path = match self.kind {
            Kind::PortForward => format!("/portForward/{}/{}", pod.namespace(), pod.name()),
            Kind::Exec | Kind::Attach => {
                let container = super::container(&pod, &wanted.container)?;
                let verb = if self.kind == Kind::Exec { "exec" } else { "attach" };
                format!("/{verb}/{}/{}/{container}", pod.namespace(), pod.name())
            }
        };
        let node = pod.str_at(&["spec", "nodeName"]);
        if node.is_empty() {
            return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
        }
        let kubelet = self.kubelets.of_node(node, true).await?;
        let target = if wanted.query.is_empty() { path } else { format!("{path}?{}", wanted.query) };
        if !upgrade::is_upgrade(request.headers()) {
            return Err(Status::bad_request("Upgrade request required"));
        }
        if self.kind == Kind::PortForward && port_forward::wants_tunnel(request.headers()) {
            return tunnel(request, kubelet, &target).await;
        }
        if self.kind != Kind::PortForward && translate::wanted(request.headers()) {
            return translated(request, kubelet, target, wanted.options);
        }
        Ok(Answer::Raw(forward(&kubelet.address, request, &target, peer.address, HeaderMap::new()).await?))
    }
}

fn bad(error: streaming::Error) -> Status {
    Status::bad_request(error.to_string())
}

fn translated(
    mut request: http::Request<Body>,
    kubelet: super::kubelet::Kubelet,
    target: String,
    options: Options,
) -> Result<Answer, Status> {
    let head = translate::accept(request.headers()).map_err(bad)?;
    let on_upgrade = upgrade::on_upgrade(&mut request);
    tokio::spawn(async move {
        match upgrade::io(on_upgrade).await {
            Ok(client) => {
                let dial = async { kubelet.address.dial().await.map_err(Into::into) };
                translate::remote_command(client, dial, &kubelet.address.authority, &target, options).await;
            }
            Err(error) => tracing::debug!(%error, "the client's connection did not switch"),
        }
    });
    Ok(Answer::Raw(head.map(|()| super::body(""))))
}

/// The kubelet is reached before the client is answered, so that a refusal reaches the client as an answer.
async fn tunnel(
    mut request: http::Request<Body>,
    kubelet: super::kubelet::Kubelet,
    target: &str,
) -> Result<Answer, Status> {
    let head = port_forward::accept_tunnel(request.headers()).map_err(bad)?;
    let on_upgrade = upgrade::on_upgrade(&mut request);
    let io =
        kubelet.address.dial().await.map_err(|e| Status::internal(format!("error dialing backend: {e}")))?;
    let protocols = [port_forward::PROTOCOL];
    let dialed = translate::dial(io, &kubelet.address.authority, target, &protocols).await;
    let (_, backend) = dialed.map_err(|e| Status::internal(e.to_string()))?;
    tokio::spawn(async move {
        match upgrade::io(on_upgrade).await {
            Ok(client) => port_forward::tunnel(client, backend).await,
            Err(error) => tracing::debug!(%error, "the client's connection did not switch"),
        }
    });
    Ok(Answer::Raw(head.map(|()| super::body(""))))
}
