//! Requests to a server that may be killed meanwhile: an answer, or not.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::{Method, Request};
use bytes::{Bytes, BytesMut};
use component_base::kubeconfig;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use crate::ledger::{Key, Kind, Object};
use crate::{Error, Result};

pub const NAMESPACE: &str = "kill-loop";
pub const GROUP: &str = "robustness.keelson.dev";
pub const TOKEN: &str = "kill-loop-token";

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// No answer of a server that lives takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::ConfigMap, Kind::Custom];

    pub fn collection(self) -> String {
        match self {
            Self::ConfigMap => format!("/api/v1/namespaces/{NAMESPACE}/configmaps"),
            Self::Custom => format!("/apis/{GROUP}/v1/namespaces/{NAMESPACE}/things"),
        }
    }

    /// An object that carries a value; the padding makes writes of several sizes.
    pub fn object(self, name: &str, value: u64) -> Value {
        let text = value.to_string();
        let padding = "x".repeat((value % 7 * 300) as usize);
        match self {
            Self::ConfigMap => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"value": text, "padding": padding}}),
            Self::Custom => {
                json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Thing", "metadata": {"name": name},
                "spec": {"value": text, "padding": padding}})
            }
        }
    }

    /// None where it is not as [`Kind::object`] makes it.
    pub fn read(self, object: &Value) -> Option<(String, Object)> {
        let part = if self == Self::ConfigMap { "data" } else { "spec" };
        let value: u64 = object[part]["value"].as_str()?.parse().ok()?;
        let whole = object[part]["padding"].as_str()?.len() as u64 == value % 7 * 300;
        let meta = &object["metadata"];
        let read = Object {
            value,
            version: meta["resourceVersion"].as_str()?.parse().ok()?,
            uid: meta["uid"].as_str()?.to_owned(),
        };
        whole.then(|| (meta["name"].as_str().unwrap_or_default().to_owned(), read))
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    /// Nothing was done, for certain.
    pub fn is_refusal(&self) -> bool {
        (400..500).contains(&self.code) && self.code != 408
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client(kube::Client);

impl Client {
    /// Of a server at 127.0.0.1 by token; its certificate is not looked at, since this is about writes.
    pub fn new(port: u16) -> Result<Self> {
        let address = format!("https://127.0.0.1:{port}").parse();
        let mut config =
            kube::Config::new(address.map_err(|e| Error::Setup(format!("the server's address: {e}")))?);
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(TOKEN.to_owned().into());
        Ok(Self(kubeconfig::client(config)?))
    }

    pub async fn of_kubeconfig(path: &std::path::Path) -> Result<Self> {
        Ok(Self(kubeconfig::client(kubeconfig::config_from_file(path).await?)?))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Option<::http::Response<Body>> {
        let request = Request::builder().method(method).uri(target).header("accept", JSON);
        let request = request.header("content-type", content).body(Body::from(body)).ok()?;
        self.0.send(request).await.ok()
    }

    /// None where no whole answer came.
    pub async fn call(
        &self,
        method: Method,
        target: &str,
        content: &str,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let whole = async {
            let answer = self.send(method, target, content, body).await?;
            let code = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            Some(Answer { code, body: serde_json::from_slice(&body).unwrap_or_default() })
        };
        tokio::time::timeout(PATIENCE, whole).await.ok().flatten()
    }

    pub async fn get(&self, target: &str) -> Option<Answer> {
        self.call(Method::GET, target, JSON, None).await
    }

    pub async fn create(&self, key: &Key, value: u64) -> Option<Answer> {
        self.call(Method::POST, &key.0.collection(), JSON, Some(&key.0.object(&key.1, value))).await
    }

    pub async fn apply(&self, key: &Key, value: u64) -> Option<Answer> {
        let target = format!("{}/{}?fieldManager=kill-loop&force=true", key.0.collection(), key.1);
        self.call(Method::PATCH, &target, APPLY, Some(&key.0.object(&key.1, value))).await
    }

    pub async fn delete(&self, key: &Key) -> Option<Answer> {
        self.call(Method::DELETE, &format!("{}/{}", key.0.collection(), key.1), JSON, None).await
    }

    pub async fn read(&self, key: &Key) -> Option<Answer> {
        self.get(&format!("{}/{}", key.0.collection(), key.1)).await
    }

    /// A read at rest: a store that has just come back may refuse for a moment, so a failure is tried again.
    pub async fn settled(&self, target: &str) -> Result<Answer> {
        let mut again = tokio::time::interval(Duration::from_millis(100));
        let mut last = None;
        for _ in 0..300 {
            again.tick().await;
            last = self.get(target).await;
            if let Some(answer) = last.take_if(|a| a.code == 200) {
                return Ok(answer);
            }
        }
        Err(Error::Request { what: format!("GET {target} for 30 s"), answer: format!("{last:?}") })
    }

    /// Every object of a kind, and the list's version. What is not as it was written stands with its name.
    pub async fn list(&self, kind: Kind) -> Result<(BTreeMap<String, Object>, u64)> {
        let answer = self.settled(&kind.collection()).await?;
        let mut found = BTreeMap::new();
        for item in answer.body["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            if name == "kube-root-ca.crt" {
                continue;
            }
            let broken = || (name.to_owned(), Object { value: u64::MAX, version: 0, uid: "broken".into() });
            found.extend([kind.read(item).unwrap_or_else(broken)]);
        }
        let version = answer.body["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
        Ok((found, version.unwrap_or(0)))
    }

    /// A watch, or the code of the refusal; None where no answer came.
    pub async fn watch(&self, kind: Kind, from: u64) -> Option<std::result::Result<Lines, u16>> {
        let target =
            format!("{}?watch=true&allowWatchBookmarks=true&resourceVersion={from}", kind.collection());
        let answer = tokio::time::timeout(PATIENCE, self.send(Method::GET, &target, JSON, Vec::new()))
            .await
            .ok()??;
        let code = answer.status().as_u16();
        Some(if code == 200 {
            Ok(Lines { body: answer.into_body(), rest: BytesMut::new() })
        } else {
            Err(code)
        })
    }
}

/// The lines of a watch.
pub struct Lines {
    body: Body,
    rest: BytesMut,
}

impl Lines {
    /// None once the watch has ended, in whatever way; a line cut off is none.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(at) = self.rest.iter().position(|b| *b == b'\n') {
                return Some(self.rest.split_to(at + 1).freeze());
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
