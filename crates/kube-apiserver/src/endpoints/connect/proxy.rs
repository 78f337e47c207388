//! `pods/proxy`, `services/proxy` and `nodes/proxy`: any request to any port of them, by `scheme:name:port`.
//! Redirects and links lead through the proxy again.
//!
//! Left out: rewriting of links inside compressed HTML.

use std::net::IpAddr;
use std::sync::Arc;

use apimachinery::{GroupResource, Status};
use apiserver::endpoint::{Answer, Body, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::Objects;
use async_trait::async_trait;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use rand::seq::IndexedRandom as _;
use rustls::ClientConfig;

use super::forward::forward;
use super::{KubeletClient, html};
use crate::aggregator::resolve::ready_endpoints;
use crate::authn::Error;
use crate::webhook::outgoing::{self, Address, Trust};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pod,
    Service,
    Node,
}

pub struct Proxy {
    kind: Kind,
    objects: Arc<dyn Objects>,
    kubelets: Arc<KubeletClient>,
    /// Backends are not verified, as upstream has it: their certificates name nobody that we know.
    tls: Arc<ClientConfig>,
}

/// `name`, `name:port`, `scheme:name:port`.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    secure: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let valid = matches!(scheme, "" | "http" | "https") && !name.is_empty();
        valid.then_some(Self { secure: scheme == "https", name, port })
    }
}

impl Proxy {
    pub fn new(kind: Kind, objects: Arc<dyn Objects>, kubelets: Arc<KubeletClient>) -> Result<Self, Error> {
        Ok(Self { kind, objects, kubelets, tls: outgoing::tls(&Trust::Anybody, None)? })
    }

    async fn address(&self, cx: &RequestContext) -> Result<Address, Status> {
        let word = match self.kind {
            Kind::Pod => "pod",
            Kind::Service => "service",
            Kind::Node => "node",
        };
        let name = cx.info.name.as_str();
        let target = Target::parse(name)
            .ok_or_else(|| Status::bad_request(format!("invalid {word} request {name:?}")))?;
        match self.kind {
            Kind::Pod => self.pod(&cx.info.namespace, &target).await,
            Kind::Service => self.service(&cx.info.namespace, &target).await,
            Kind::Node => self.node(&target).await,
        }
    }

    fn to(&self, host: &str, port: u16, secure: bool) -> Result<Address, Status> {
        if secure {
            Address::secure(host, port, self.tls.clone(), None).map_err(Status::internal)
        } else {
            Ok(Address::plain(host, port))
        }
    }

    async fn pod(&self, namespace: &str, target: &Target<'_>) -> Result<Address, Status> {
        let pod = super::pod(&self.objects, namespace, target.name).await?;
        let first = || {
            let mut ports = pod.list_at(&["spec", "containers"]).iter().flat_map(|c| c.list_at(&["ports"]));
            ports.find_map(|p| p.int_at(&["containerPort"]))
        };
        let default = if target.secure { 443 } else { 80 };
        let port = match target.port {
            "" => first().and_then(|p| u16::try_from(p).ok()).unwrap_or(default),
            text => port_number(text)?,
        };
        let ip = pod.str_at(&["status", "podIP"]);
        check_address(ip)?;
        self.to(ip, port, target.secure)
    }

    async fn node(&self, target: &Target<'_>) -> Result<Address, Status> {
        let kubelet = self.kubelets.of_node(target.name, true).await?;
        if target.port.is_empty() {
            return Ok(kubelet.address);
        }
        match port_number(target.port)? {
            port if port == kubelet.port => Ok(kubelet.address),
            port => self.to(&kubelet.host, port, target.secure),
        }
    }

    async fn service(&self, namespace: &str, target: &Target<'_>) -> Result<Address, Status> {
        let mut name = target.port.to_owned();
        if let Ok(number) = target.port.parse::<i64>() {
            let resource = GroupResource::new("", "services");
            let service = self.objects.get_latest(&resource, namespace, target.name).await?.value;
            let ports = service.list_at(&["spec", "ports"]);
            let Some(port) = ports.iter().find(|p| p.int_at(&["port"]) == Some(number)) else {
                let why = format!("no service port {number} found for service {:?}", target.name);
                return Err(Status::unavailable(why));
            };
            name = port.str_at(&["name"]).to_owned();
        }
        let mut found = ready_endpoints(&*self.objects, namespace, target.name, &name);
        found.retain(|(ip, _)| check_address(ip).is_ok());
        let Some((ip, port)) = found.choose(&mut rand::rng()) else {
            return Err(Status::unavailable(format!("no endpoints available for service {:?}", target.name)));
        };
        self.to(ip, *port, target.secure)
    }
}

fn port_number(text: &str) -> Result<u16, Status> {
    text.parse().map_err(|_| Status::bad_request(format!("invalid port {text:?}")))
}

/// Pods have global unicast addresses; others would let callers reach the server's own machine.
fn check_address(ip: &str) -> Result<(), Status> {
    let allowed = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            !ip.is_loopback()
                && !ip.is_link_local()
                && !ip.is_multicast()
                && !ip.is_unspecified()
                && !ip.is_broadcast()
        }
        Ok(IpAddr::V6(ip)) => {
            !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified() && !ip.is_unicast_link_local()
        }
        Err(_) => false,
    };
    if allowed { Ok(()) } else { Err(Status::bad_request("address not allowed")) }
}

/// The path up to and with `proxy`, and what follows it.
fn split(path: &str, namespaced: bool) -> (&str, &str) {
    // /api/v1/namespaces/NS/pods/NAME/proxy or /api/v1/nodes/NAME/proxy
    let count = if namespaced { 7 } else { 5 };
    let end = path.match_indices('/').nth(count).map_or(path.len(), |(at, _)| at);
    path.split_at(end)
}

#[async_trait]
impl Endpoint for Proxy {
    fn is_connect(&self) -> bool {
        true
    }

    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let (request, peer) = super::request(call)?;
        let path = request.uri().path().to_owned();
        let (prefix, rest) = split(&path, self.kind != Kind::Node);
        let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
        let address = self.address(cx).await?;
        if rest.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
            return Ok(Answer::Raw(moved(&format!("{prefix}/{query}"))));
        }
        let rest = if rest.is_empty() { "/" } else { rest };
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        add("x-forwarded-uri", &path);
        add("x-forwarded-proto", "https");
        let host = request.headers().get("host").and_then(|v| v.to_str().ok()).unwrap_or_default();
        add("x-forwarded-host", host);
        let target = format!("{rest}{query}");
        let mut response = forward(&address, request, &target, peer.address, headers).await?;
        rewrite_location(response.headers_mut(), prefix, &address);
        Ok(Answer::Raw(rewrite_links(response, prefix, &address).await?))
    }
}

fn moved(location: &str) -> Response<Body> {
    let mut response = Response::new(super::body(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(value) = location.parse() {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

fn own(address: &Address) -> String {
    format!("{}://{}", address.scheme(), address.authority)
}

/// A redirect of the backend to itself goes through the proxy again.
fn rewrite_location(headers: &mut HeaderMap, prefix: &str, address: &Address) {
    let Some(location) = headers.get(LOCATION).and_then(|v| v.to_str().ok()) else { return };
    let rewritten = html::rewrite_address(location, &own(address), prefix);
    if let Some(Ok(value)) = rewritten.map(|r| r.parse()) {
        headers.insert(LOCATION, value);
    }
}

/// The most of a document that is held to be rewritten.
const MAX_HTML: usize = 32 << 20;

/// An HTML document that is not compressed.
fn is_plain_html(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html") && matches!(text(CONTENT_ENCODING), "" | "identity")
}

async fn rewrite_links(
    response: Response<Body>,
    prefix: &str,
    address: &Address,
) -> Result<Response<Body>, Status> {
    if !is_plain_html(response.headers()) {
        return Ok(response);
    }
    let (mut parts, mut body) = response.into_parts();
    let mut bytes = bytes::BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Status::unavailable(format!("error trying to reach service: {e}")))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_HTML {
            return Err(Status::too_large(format!(
                "a document of more than {MAX_HTML} bytes is not rewritten"
            )));
        }
    }
    parts.headers.remove(CONTENT_LENGTH);
    let body = match std::str::from_utf8(&bytes) {
        Ok(text) => super::body(html::rewrite(text, &own(address), prefix)),
        Err(_) => super::body(bytes.freeze()),
    };
    Ok(Response::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let target = |text| Target::parse(text).map(|t| (t.secure, t.name, t.port));
        assert_eq!(target("p"), Some((false, "p", "")));
        assert_eq!(target("p:80"), Some((false, "p", "80")));
        assert_eq!(target("https:p:web"), Some((true, "p", "web")));
        assert_eq!(target("http:p:"), Some((false, "p", "")));
        assert_eq!(target("ftp:p:1"), None);
        assert_eq!(target(":80"), None);
    }

    #[test]
    fn paths() {
        let pod = "/api/v1/namespaces/ns/pods/x:80/proxy";
        assert_eq!(split(pod, true), (pod, ""));
        assert_eq!(split(&format!("{pod}/"), true), (pod, "/"));
        assert_eq!(split(&format!("{pod}/a/b"), true), (pod, "/a/b"));
        assert_eq!(split("/api/v1/nodes/n/proxy/metrics", false), ("/api/v1/nodes/n/proxy", "/metrics"));
    }

    #[test]
    fn locations() {
        let address = Address::plain("10.0.0.1", 80);
        let rewritten = |location: &str| {
            let mut headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            rewrite_location(&mut headers, "/p/proxy", &address);
            headers[LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(rewritten("/login"), "/p/proxy/login");
        assert_eq!(rewritten("http://10.0.0.1:80/a"), "/p/proxy/a");
        assert_eq!(rewritten("https://example.com/a"), "https://example.com/a");
        assert_eq!(rewritten("relative"), "relative");
    }

    #[test]
    fn addresses() {
        for (ip, allowed) in [
            ("10.1.2.3", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("::1", false),
            ("", false),
        ] {
            assert_eq!(check_address(ip).is_ok(), allowed, "{ip}");
        }
    }
}
