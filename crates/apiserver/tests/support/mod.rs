//! A server in memory over the embedded store, and a small client of it.
#![allow(clippy::unwrap_used, dead_code, reason = "a failed unwrap is a failed test; no test file uses all")]

use std::sync::Arc;

use apiserver::catalog::{Serve, Subresource};
use apiserver::endpoint::Body;
use apiserver::http::InMemory;
use apiserver::request::{RequestContext, UserInfo};
use apiserver::server::{Options, Server, ServerBuilder};
use apiserver::strategy::{Grace, Strategy};
use bytes::Bytes;
use etcd::Store;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value as Json;
use tower::ServiceExt;

pub struct Bench {
    pub server: Server,
    pub store: Arc<etcd::Embedded>,
    client: InMemory,
    _folder: tempfile::TempDir,
}

/// Pods with their grace period and the indexes of the real ones.
struct Pods;

impl Strategy for Pods {
    fn grace(&self, object: &api::Value, requested: Option<i64>) -> Grace {
        let own = object.int_at(&["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
        if object.str_at(&["spec", "nodeName"]).is_empty() {
            return Grace::Seconds(0);
        }
        Grace::Seconds(requested.unwrap_or(own))
    }

    fn indexed_fields(&self) -> &'static [&'static str] {
        &["spec.nodeName"]
    }

    fn prepare_for_create(&self, _: &RequestContext, object: &mut api::Map) {
        object.insert("status", api::Value::map());
    }

    fn prepare_for_update(&self, _: &RequestContext, object: &mut api::Map, old: &api::Map) {
        object.insert("status", old.get("status").cloned().unwrap_or_else(api::Value::map));
    }
}

pub fn row(group: &str, version: &str, resource: &str) -> Serve {
    Serve::builtin(api::resources::find(group, version, resource).unwrap()).unwrap()
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(|b| b).await
    }

    pub async fn with(change: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(etcd::Embedded::open(etcd::embedded::Options::new(folder.path())).unwrap());
        let builder = ServerBuilder::new(store.clone(), Options::default());
        for (group, resource) in
            [("", "configmaps"), ("", "namespaces"), ("", "events"), ("apps", "deployments")]
        {
            builder.serve(row(group, "v1", resource)).unwrap();
        }
        let mut pods = row("", "v1", "pods");
        pods.strategy = Arc::new(Pods);
        pods.subresources.insert("status".into(), Subresource::Status);
        builder.serve(pods).unwrap();
        let server = change(builder).start().await.unwrap();
        let client = server.in_memory(Some(UserInfo::loopback()));
        Self { server, store, client, _folder: folder }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(format!("http://local{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        self.client.clone().oneshot(request).await.unwrap()
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, Json) {
        let answer = self.send(method, path, headers, body).await;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Json::Null))
    }

    pub async fn get(&self, path: &str) -> (u16, Json) {
        self.call(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Json) -> (u16, Json) {
        self.call(Method::POST, path, &[], &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Json) -> (u16, Json) {
        self.call(Method::PUT, path, &[], &body.to_string()).await
    }

    pub async fn patch(&self, path: &str, media: &str, body: &str) -> (u16, Json) {
        self.call(Method::PATCH, path, &[("content-type", media)], body).await
    }

    pub async fn delete(&self, path: &str, body: &str) -> (u16, Json) {
        self.call(Method::DELETE, path, &[], body).await
    }

    pub async fn watch(&self, path: &str) -> Watch {
        let answer = self.send(Method::GET, path, &[], "").await;
        assert_eq!(answer.status().as_u16(), 200);
        Watch { body: answer.into_body(), buffer: Vec::new() }
    }

    pub async fn revision(&self) -> i64 {
        self.store.status().await.unwrap().revision
    }
}

/// A watch in JSON lines.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; None at the end.
    pub async fn next(&mut self) -> Option<Json> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// (type, name) of the next event.
    pub async fn named(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub fn config_map(name: &str, labels: Json) -> Json {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"k": "v"}})
}

pub fn pod(name: &str, node: &str) -> Json {
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}})
}
