//! Audit along the chain: stages of short, long and failing requests, and bodies that still arrive.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::{Arc, Mutex};

use apimachinery::Status;
use apiserver::audit::{Auditor, Policy, Sink};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use async_trait::async_trait;
use serde_json::{Value as Json, json};
use support::{Bench, config_map};

#[derive(Default)]
struct Log(Mutex<Vec<Json>>);

impl Sink for Log {
    fn write(&self, event: &[u8]) {
        self.0.lock().unwrap().push(serde_json::from_slice(event).unwrap());
    }
}

impl Log {
    /// What came since the last call: stage, code.
    fn stages(&self) -> Vec<(String, i64)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        let of = |e: &Json| {
            let code = e["responseStatus"]["code"].as_i64().unwrap_or(0);
            (e["stage"].as_str().unwrap_or_default().to_owned(), code)
        };
        events.iter().map(of).collect()
    }
}

struct Panics;

#[async_trait]
impl Endpoint for Panics {
    async fn call(&self, _: &RequestContext, _: Call) -> Result<Answer, Status> {
        panic!("as asked");
    }
}

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, verbs: ["list"]}
- {level: RequestResponse}
"#;

async fn bench() -> (Bench, Arc<Log>) {
    let log = Arc::new(Log::default());
    let auditor = Auditor::new(Policy::parse(POLICY).unwrap(), log.clone());
    (Bench::with(|b| b.audit(Some(auditor)).path("/panics", Arc::new(Panics))).await, log)
}

fn stages(of: &[(&str, i64)]) -> Vec<(String, i64)> {
    of.iter().map(|(stage, code)| ((*stage).to_owned(), *code)).collect()
}

#[tokio::test]
async fn short_requests_have_two_stages() {
    let (bench, log) = bench().await;
    let path = "/api/v1/namespaces/a/configmaps";
    let (code, made) = bench.post(path, config_map("x", json!({}))).await;
    assert_eq!(code, 201);
    let events = std::mem::take(&mut *log.0.lock().unwrap());
    assert_eq!(events[0]["stage"], "RequestReceived");
    assert!(events[0].get("requestObject").is_none() && events[0]["objectRef"].get("name").is_none());
    let last = &events[1];
    assert_eq!((&last["requestObject"]["data"]["k"], &last["objectRef"]["name"]), (&json!("v"), &json!("x")));
    assert_eq!(last["responseObject"], made);
    assert_eq!(bench.get(&format!("{path}/nope")).await.0, 404);
    assert_eq!(log.stages(), stages(&[("RequestReceived", 0), ("ResponseComplete", 404)]));
    // The policy wants nothing of these.
    assert_eq!(bench.get(path).await.0, 200);
    assert!(log.stages().is_empty());
}

#[tokio::test]
async fn a_watch_starts_and_ends() {
    let (bench, log) = bench().await;
    let watch = bench.watch("/api/v1/namespaces/a/configmaps?watch=1").await;
    assert_eq!(log.stages(), stages(&[("RequestReceived", 0), ("ResponseStarted", 200)]));
    drop(watch);
    assert_eq!(log.stages(), stages(&[("ResponseComplete", 200)]));
}

#[tokio::test]
async fn a_panic_is_the_last_stage() {
    let (bench, log) = bench().await;
    assert_eq!(bench.get("/panics").await.0, 500);
    assert_eq!(log.stages(), stages(&[("RequestReceived", 0), ("Panic", 500)]));
}
