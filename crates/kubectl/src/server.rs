//! Requests to the API server: one answer, lines as they come, and the connection of an upgrade. Refusals become
//! [`Error::Server`], warnings go to stderr.

use api::Value;
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;

use crate::config::Settings;
use crate::error::{Error, Refusal, Result};

pub const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A request without its server.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub method: Method,
    pub path: String,
    query: Vec<(String, String)>,
    accept: Option<&'static str>,
    content: Option<&'static str>,
    body: Vec<u8>,
}

impl Ask {
    pub fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), ..Self::default() }
    }

    /// Adds a parameter; an empty value is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if !value.as_ref().is_empty() {
            self.query.push((name.into(), value.as_ref().into()));
        }
        self
    }

    /// Adds a parameter that may be empty.
    #[must_use]
    pub fn with_empty(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn with_table(mut self) -> Self {
        self.accept = Some(TABLE);
        self
    }

    #[must_use]
    pub fn accepting(mut self, media: &'static str) -> Self {
        self.accept = Some(media);
        self
    }

    #[must_use]
    pub fn sending(mut self, body: Vec<u8>, content: &'static str) -> Self {
        (self.body, self.content) = (body, Some(content));
        self
    }

    pub fn target(&self) -> String {
        let mut target = self.path.clone();
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            escape(&mut target, value);
        }
        target
    }

    fn request(&self) -> Result<Request<Body>> {
        let mut builder = Request::builder()
            .method(self.method.clone())
            .uri(self.target())
            .header("accept", self.accept.unwrap_or(JSON))
            .header(
                "user-agent",
                concat!("kubectl/v1.37.0 (linux/amd64) keelson/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(content) = self.content {
            builder = builder.header("content-type", content);
        }
        let body = if self.body.is_empty() { Body::empty() } else { Body::from(self.body.clone()) };
        builder.body(body).map_err(|e| Error::Plain(e.to_string()))
    }
}

/// Percent-encodes a query's value or a path's segment.
pub fn escape(out: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The server, as the settings name it.
pub struct Server {
    client: kube::Client,
    pub settings: Settings,
}

impl Server {
    pub fn new(settings: Settings) -> Result<Self> {
        let client = component_base::kubeconfig::client(settings.config.clone())
            .map_err(|e| Error::Plain(e.to_string()))?;
        Ok(Self { client, settings })
    }

    /// The answer's head; refusals are errors.
    async fn send(&self, ask: &Ask) -> Result<Response<Body>> {
        tracing::debug!(method = %ask.method, target = ask.target(), "request");
        let answer =
            self.in_time(self.client.send(ask.request()?)).await?.map_err(|e| self.unreachable(&e))?;
        warn(answer.headers());
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status();
        let body = answer.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Err(refusal(code, &body))
    }

    pub async fn bytes(&self, ask: &Ask) -> Result<Bytes> {
        let answer = self.send(ask).await?;
        let body = self.in_time(answer.into_body().collect()).await?.map_err(|e| self.unreachable(&e))?;
        Ok(body.to_bytes())
    }

    pub async fn value(&self, ask: &Ask) -> Result<Value> {
        let body = self.bytes(ask).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        api::json::parse(&body).map_err(|e| Error::Plain(format!("the server's answer: {e}")))
    }

    /// The answer in pieces as they come.
    pub async fn stream(&self, ask: &Ask) -> Result<Pieces> {
        let end = self.settings.timeout.map(|t| tokio::time::Instant::now() + t);
        Ok(Pieces { body: self.send(ask).await?.into_body(), rest: BytesMut::new(), end })
    }

    async fn in_time<T>(&self, request: impl Future<Output = T>) -> Result<T> {
        match self.settings.timeout {
            None => Ok(request.await),
            Some(time) => tokio::time::timeout(time, request).await.map_err(|_| {
                Error::Bare("Unable to connect to the server: net/http: request canceled (Client.Timeout exceeded while awaiting headers)".into())
            }),
        }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(below) = source {
            texts.push(below.to_string());
            source = below.source();
        }
        let host = self.settings.config.cluster_url.authority().map_or("", |a| a.as_str());
        if texts.iter().any(|t| t.contains("Connection refused")) {
            return Error::Bare(format!(
                "The connection to the server {host} was refused - did you specify the right host or port?"
            ));
        }
        Error::Bare(format!("Unable to connect to the server: {}", texts.last().map_or("", String::as_str)))
    }
}

fn refusal(code: StatusCode, body: &[u8]) -> Error {
    let status = api::json::parse(body).ok().and_then(|v| Refusal::of(&v));
    Error::Server(Box::new(status.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        let message = match code {
            StatusCode::NOT_FOUND => "the server could not find the requested resource".to_owned(),
            _ if !text.trim().is_empty() => text.trim().to_owned(),
            _ => format!("the server answered {code}"),
        };
        let reason = match code.as_u16() {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            _ => "",
        };
        Refusal { code: code.as_u16(), reason: reason.into(), message, ..Refusal::default() }
    })))
}

/// `299 - "text"` headers (RFC 9111) as lines on stderr.
fn warn(headers: &http::HeaderMap) {
    for value in headers.get_all("warning").iter().filter_map(|v| v.to_str().ok()) {
        if let Some(text) = value.strip_prefix("299 ").and_then(|v| v.split_once('"')).map(|(_, t)| t) {
            let text = text.strip_suffix('"').unwrap_or(text).replace("\\\"", "\"").replace("\\\\", "\\");
            eprintln!("Warning: {text}");
        }
    }
}

/// A body that is read while it grows.
pub struct Pieces {
    body: Body,
    rest: BytesMut,
    /// When the request's time is over, which ends the body.
    end: Option<tokio::time::Instant>,
}

impl Pieces {
    /// The next piece, of whatever length. None at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let end = self.end;
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            data = self.data() => data,
            () = over => Ok(None),
        }
    }

    async fn data(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| Error::Plain(e.to_string()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next line without its end, the last one also where no line end follows.
    pub async fn line(&mut self) -> Result<Option<Bytes>> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.rest[seen..].iter().position(|b| *b == b'\n') {
                let mut line = self.rest.split_to(seen + at + 1);
                line.truncate(seen + at);
                return Ok(Some(line.freeze()));
            }
            seen = self.rest.len();
            match self.next().await? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(self.rest.split().freeze())),
            }
        }
    }

    /// The next event of a watch: its type and object. A failed watch is an error.
    pub async fn event(&mut self) -> Result<Option<(String, Value)>> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let mut event =
            api::json::parse(&line).map_err(|e| Error::Plain(format!("unable to decode an event: {e}")))?;
        let object = event.remove_at(&["object"]).unwrap_or_default();
        let kind = event.str_at(&["type"]).to_owned();
        match Refusal::of(&object) {
            Some(refusal) if kind == "ERROR" => Err(Error::Server(Box::new(refusal))),
            _ => Ok(Some((kind, object))),
        }
    }
}
