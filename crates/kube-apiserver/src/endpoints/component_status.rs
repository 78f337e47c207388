//! `componentstatuses`: whether store, scheduler and controller manager answer. The latter two are asked by a
//! connection to their usual ports on this machine, as upstream does, but without a request.

use std::time::Duration;

use api::Value;
use apimachinery::{GroupResource, Status};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use async_trait::async_trait;
use etcd::SharedStore;

use crate::strategies::fields::map;

const TIMEOUT: Duration = Duration::from_secs(2);
const COMPONENTS: [(&str, u16); 2] = [("controller-manager", 10257), ("scheduler", 10259)];

pub struct ComponentStatuses {
    pub store: SharedStore,
}

#[async_trait]
impl Endpoint for ComponentStatuses {
    async fn call(&self, cx: &RequestContext, _call: Call) -> Result<Answer, Status> {
        cx.warnings.add("v1 ComponentStatus is deprecated in v1.19+");
        let name = cx.info.name.as_str();
        if name.is_empty() {
            let mut items = Vec::new();
            for (name, port) in COMPONENTS {
                items.push(status_of(name, reach(port).await));
            }
            items.push(status_of("etcd-0", self.etcd().await));
            return Ok(Answer::Object(200, list(items)));
        }
        if name == "etcd-0" {
            return Ok(Answer::Object(200, status_of(name, self.etcd().await)));
        }
        match COMPONENTS.iter().find(|(n, _)| *n == name) {
            Some((_, port)) => Ok(Answer::Object(200, status_of(name, reach(*port).await))),
            None => Err(Status::not_found(&GroupResource::new("", "componentstatuses"), name)),
        }
    }
}

impl ComponentStatuses {
    async fn etcd(&self) -> Result<(), String> {
        match tokio::time::timeout(TIMEOUT, self.store.status()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("context deadline exceeded".into()),
        }
    }
}

async fn reach(port: u16) -> Result<(), String> {
    let at = format!("127.0.0.1:{port}");
    let why = |what: &str| format!("Get \"https://{at}/healthz\": dial tcp {at}: {what}");
    match tokio::time::timeout(TIMEOUT, tokio::net::TcpStream::connect(&at)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(why("connect: connection refused")),
        Err(_) => Err(why("i/o timeout")),
    }
}

fn status_of(name: &str, health: Result<(), String>) -> Value {
    let (status, message) = match health {
        Ok(()) => ("True", "ok".to_owned()),
        Err(why) => ("False", why),
    };
    let condition = map([("type", "Healthy".into()), ("status", status.into()), ("message", message.into())]);
    Value::Map(map([
        ("apiVersion", "v1".into()),
        ("kind", "ComponentStatus".into()),
        ("metadata", map([("name", name.into())]).into()),
        ("conditions", vec![Value::Map(condition)].into()),
    ]))
}

fn list(items: Vec<Value>) -> Value {
    Value::Map(map([
        ("apiVersion", "v1".into()),
        ("kind", "ComponentStatusList".into()),
        ("metadata", Value::map()),
        ("items", items.into()),
    ]))
}
