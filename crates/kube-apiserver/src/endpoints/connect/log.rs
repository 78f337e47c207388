//! `pods/log`: a container's output from its kubelet, as text or, for browsers, as WebSocket messages.

use std::sync::Arc;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{GroupKind, GroupResource, Status};
use apiserver::endpoint::{Answer, Body, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::Objects;
use async_trait::async_trait;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use streaming::websocket::Coding;
use streaming::{upgrade, websocket};

use super::KubeletClient;
use crate::webhook::outgoing;

pub struct Log {
    pub objects: Arc<dyn Objects>,
    pub kubelets: Arc<KubeletClient>,
}

/// PodLogOptions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    container: String,
    skip_verification: bool,
    /// What the kubelet is asked, ready for its query.
    query: Vec<(&'static str, String)>,
}

impl Options {
    fn parse(query: &str, pod: &str) -> Result<Self, Status> {
        let pairs = super::pairs(query);
        let text = |key: &str| {
            pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
        };
        let flag = |key: &str| {
            text(key).is_some_and(|v| !matches!(v, "0" | "f" | "F" | "false" | "FALSE" | "False"))
        };
        let number = |key: &str| match text(key).map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(n)) => Ok(Some(n)),
            Some(Err(_)) => {
                let value = text(key).unwrap_or_default();
                Err(Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax")))
            }
        };
        let mut out = Vec::new();
        out.extend(
            ["follow", "previous", "timestamps"]
                .into_iter()
                .filter(|k| flag(k))
                .map(|k| (k, "true".to_owned())),
        );
        let (tail, limit, since) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
        let since_time = text("sinceTime");
        let stream = text("stream").unwrap_or("All");
        let errors = validate(tail, limit, since, since_time.is_some(), stream);
        if !errors.is_empty() {
            return Err(Status::invalid(
                &GroupKind { group: "".into(), kind: "PodLogOptions".into() },
                pod,
                &errors,
            ));
        }
        for (key, value) in [("sinceSeconds", since), ("tailLines", tail), ("limitBytes", limit)] {
            out.extend(value.map(|v| (key, v.to_string())));
        }
        out.extend(since_time.map(|t| ("sinceTime", t.to_owned())));
        if stream != "All" {
            out.push(("stream", stream.to_owned()));
        }
        Ok(Self {
            container: text("container").unwrap_or_default().to_owned(),
            skip_verification: flag("insecureSkipTLSVerifyBackend"),
            query: out,
        })
    }

    fn query(&self) -> String {
        let pairs: Vec<String> =
            self.query.iter().map(|(k, v)| format!("{k}={}", super::encode(v))).collect();
        pairs.join("&")
    }
}

fn validate(
    tail: Option<i64>,
    limit: Option<i64>,
    since: Option<i64>,
    since_time: bool,
    stream: &str,
) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(n) = tail.filter(|n| *n < 0) {
        errors.push(Error::invalid(&Path::new("tailLines"), &n, "must be greater than or equal to 0"));
    }
    if let Some(n) = limit.filter(|n| *n < 1) {
        errors.push(Error::invalid(&Path::new("limitBytes"), &n, "must be greater than 0"));
    }
    if since.is_some() && since_time {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(Error::forbidden(&Path::default(), why));
    } else if let Some(n) = since.filter(|n| *n < 1) {
        errors.push(Error::invalid(&Path::new("sinceSeconds"), &n, "must be greater than 0"));
    }
    if !matches!(stream, "All" | "Stdout" | "Stderr") {
        errors.push(Error::not_supported(&Path::new("stream"), stream, &["All", "Stderr", "Stdout"]));
    }
    if stream != "All" && tail.is_some() {
        errors.push(Error::forbidden(
            &Path::default(),
            "`tailLines` and specific `stream` are mutually exclusive for now",
        ));
    }
    errors
}

#[async_trait]
impl Endpoint for Log {
    fn is_connect(&self) -> bool {
        true
    }

    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let (mut request, _) = super::request(call)?;
        let options = Options::parse(request.uri().query().unwrap_or_default(), &cx.info.name)?;
        let pod = super::pod(&self.objects, &cx.info.namespace, &cx.info.name).await?;
        let container = super::container(&pod, &options.container)?;
        let node = pod.str_at(&["spec", "nodeName"]);
        if node.is_empty() {
            let mut nothing = Response::new(super::body(""));
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(Answer::Raw(nothing));
        }
        let kubelet = self.kubelets.of_node(node, !options.skip_verification).await?;
        let path =
            format!("/containerLogs/{}/{}/{container}?{}", pod.namespace(), pod.name(), options.query());
        let url = format!("https://{}{path}", kubelet.address.authority);
        let outgoing_request = Request::builder().uri(path.trim_end_matches('?')).body(super::body(""));
        let outgoing_request = outgoing_request.map_err(Status::internal)?;
        let response = outgoing::send(&kubelet.address, outgoing_request).await;
        let response = response.map_err(|e| Status::internal(format!("Get {url:?}: {e}")))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response, &cx.info.name).await);
        }
        if upgrade::is_websocket(request.headers()) {
            return websocket_answer(&mut request, response);
        }
        Ok(Answer::Raw(text(response.into_body().map_err(Into::into).boxed())))
    }
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

/// What a kubelet answers instead of a log, as a Status.
async fn refusal(response: Response<Incoming>, pod: &str) -> Status {
    const LIMIT: usize = 50_000;
    let code = response.status().as_u16();
    let body = http_body_util::Limited::new(response.into_body(), LIMIT).collect().await;
    let said = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
    match code {
        500 => Status::internal(said),
        400 => Status::bad_request(said),
        404 => Status::not_found(&GroupResource::new("", "pods/log"), pod),
        _ => {
            let why = format!(
                "an error on the server ({said:?}) has prevented the request from succeeding (get pods/log {pod})"
            );
            Status::new(code, apimachinery::Reason::InternalError, why)
        }
    }
}

const PROTOCOLS: [&str; 3] = ["binary.k8s.io", "base64.binary.k8s.io", ""];

/// The text in messages without channels; an empty message says that the way is open.
fn websocket_answer(
    request: &mut http::Request<Body>,
    response: Response<Incoming>,
) -> Result<Answer, Status> {
    let offered = websocket::offered(request.headers());
    let protocol = upgrade::negotiate(&offered, &PROTOCOLS).ok_or_else(|| {
        Status::bad_request(format!("requested protocol(s) are not supported: {offered:?}"))
    })?;
    let head =
        websocket::accept(request.headers(), protocol).map_err(|e| Status::bad_request(e.to_string()))?;
    let on_upgrade = upgrade::on_upgrade(request);
    let coding = if protocol.starts_with("base64") { Coding::Base64 } else { Coding::Binary };
    tokio::spawn(async move {
        match upgrade::io(on_upgrade).await {
            Ok(io) => websocket::send_body(io, response.into_body(), coding).await,
            Err(error) => tracing::debug!(%error, "the client's connection did not switch"),
        }
    });
    Ok(Answer::Raw(head.map(|()| super::body(""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parsed =
            Options::parse("follow=true&container=c&tailLines=5&sinceTime=2026-01-01T00%3A00%3A00Z", "p")
                .unwrap();
        assert_eq!(parsed.container, "c");
        assert_eq!(parsed.query(), "follow=true&tailLines=5&sinceTime=2026-01-01T00%3A00%3A00Z");
        assert_eq!(Options::parse("follow=0", "p").unwrap(), Options::default());
        for (query, why) in [
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=1&sinceTime=x", "at most one of `sinceTime` or `sinceSeconds` may be specified"),
            ("stream=Both", "stream: Unsupported value: \"Both\""),
        ] {
            let error = Options::parse(query, "p").unwrap_err();
            assert_eq!(error.code, 422);
            assert!(error.message.contains(why), "{}", error.message);
        }
        assert_eq!(Options::parse("tailLines=x", "p").unwrap_err().code, 400);
    }
}
