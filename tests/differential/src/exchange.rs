//! One request to one server, and its answer as far as it is compared.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use component_base::kubeconfig;
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Map, Value};

use crate::cases::Case;
use crate::{Error, Result};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long something may take that a server does in its own time.
const OWN_TIME: Duration = Duration::from_secs(30);

/// Headers that are compared.
const HEADERS: &[&str] =
    &["content-type", "warning", "retry-after", "www-authenticate", "location", "allow", "accept-patch"];

/// An answer, not normalised yet.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// A client of one server, with what it has kept of earlier answers.
pub struct Client {
    pub name: String,
    client: kube::Client,
}

/// Values that answers of one server have given, by name.
pub type Kept = BTreeMap<String, String>;

fn fill(text: &str, kept: &Kept) -> String {
    // Longer names first, so that $A does not take the beginning of $AB.
    kept.iter().rev().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

impl Client {
    /// Of a server at 127.0.0.1; its certificate is not looked at, since this is about answers.
    pub fn new(port: u16, name: &str) -> Result<Self> {
        let address = format!("https://127.0.0.1:{port}").parse();
        let address = address.map_err(|e| Error::Setup(format!("the server's address: {e}")))?;
        let mut config = kube::Config::new(address);
        config.accept_invalid_certs = true;
        config.read_timeout = None;
        Ok(Self { name: name.into(), client: kubeconfig::client(config)? })
    }

    /// The code of a GET as the administrator; None: no answer.
    pub async fn get_code(&self, target: &str) -> Option<u16> {
        let request =
            Request::get(target).header("authorization", "Bearer admin").body(Body::empty()).ok()?;
        let sent = tokio::time::timeout(Duration::from_secs(5), self.client.send(request)).await;
        Some(sent.ok()?.ok()?.status().as_u16())
    }

    /// A JSON document.
    pub async fn document(&self, target: &str, accept: &str) -> Result<Value> {
        let wrong = |why: String| Error::Request { what: format!("GET {target} to {}", self.name), why };
        let request = Request::get(target).header("accept", accept).header("authorization", "Bearer admin");
        let (code, body) = self.whole(request.body(Body::empty()).map_err(|e| wrong(e.to_string()))?).await?;
        if code != 200 {
            return Err(wrong(format!("{code}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|e| wrong(e.to_string()))
    }

    /// Creates or deletes; the answer's code and what it says.
    pub async fn change(&self, method: &str, target: &str, object: &Value) -> Result<(u16, Bytes)> {
        let wrong = |why: String| Error::Request { what: format!("{method} {target} to {}", self.name), why };
        let request = Request::builder().method(method).uri(target).header("authorization", "Bearer admin");
        let request = request.header("content-type", "application/json");
        let request = request.body(Body::from(object.to_string().into_bytes()));
        self.whole(request.map_err(|e| wrong(e.to_string()))?).await
    }

    async fn whole(&self, request: Request<Body>) -> Result<(u16, Bytes)> {
        let what = format!("{} {} to {}", request.method(), request.uri(), self.name);
        let wrong = |why: String| Error::Request { what: what.clone(), why };
        let sent = tokio::time::timeout(PATIENCE, self.client.send(request)).await;
        let answer =
            sent.map_err(|_| wrong("no answer in time".into()))?.map_err(|e| wrong(e.to_string()))?;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|e| wrong(e.to_string()))?;
        Ok((code, body.to_bytes()))
    }

    /// Sends a case, again and again where it says `until`.
    pub async fn send(&self, case: &Case, templates: &Map<String, Value>, kept: &mut Kept) -> Result<Answer> {
        let end = tokio::time::Instant::now() + OWN_TIME;
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            let answer = match self.once(case, templates, kept).await {
                Err(Error::Request { why, .. }) => Answer { code: 0, headers: Vec::new(), body: why.into() },
                other => other?,
            };
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let done = case.until.iter().all(|(at, wanted)| match at.as_str() {
                "code" => *wanted == answer.code,
                at => body.pointer(at) == Some(wanted),
            });
            if done || tokio::time::Instant::now() > end {
                for (name, at) in &case.keep {
                    let value = match body.pointer(at) {
                        Some(Value::String(text)) => text.clone(),
                        other => other.map(ToString::to_string).unwrap_or_default(),
                    };
                    kept.insert(name.clone(), value);
                }
                return Ok(answer);
            }
        }
    }

    async fn once(&self, case: &Case, templates: &Map<String, Value>, kept: &Kept) -> Result<Answer> {
        let (method, target) = case.line();
        let wrong = |why: String| Error::Request { what: format!("{method} {target} to {}", self.name), why };
        let payload = fill(&case.payload(templates).map_err(wrong)?, kept);
        let mut request = Request::builder().method(method).uri(fill(target, kept));
        request = request.header("accept", case.accept());
        let content_type =
            case.content_type().or_else(|| (!payload.is_empty()).then(|| "application/json".into()));
        if let Some(content_type) = content_type.filter(|t| !t.is_empty()) {
            request = request.header("content-type", content_type);
        }
        match case.r#as.as_deref() {
            Some("") => {}
            user => {
                let token = fill(user.unwrap_or("admin"), kept);
                request = request.header("authorization", format!("Bearer {token}"));
            }
        }
        for (name, value) in &case.headers {
            request = request.header(name, fill(value, kept));
        }
        let request = request.body(Body::from(payload.into_bytes())).map_err(|e| wrong(e.to_string()))?;
        let whole = async {
            let answer = self.client.send(request).await.map_err(|e| wrong(e.to_string()))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|e| wrong(e.to_string()))?.to_bytes();
            Ok(Answer { code: head.status.as_u16(), headers: headers(&head.headers), body })
        };
        tokio::time::timeout(PATIENCE, whole).await.map_err(|_| wrong("no whole answer in time".into()))?
    }
}

fn headers(all: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let of =
        |name: &&str| all.get_all(*name).iter().map(|v| ((*name).to_owned(), text(v))).collect::<Vec<_>>();
    HEADERS.iter().flat_map(of).collect()
}
