//! Deletes that somebody else finishes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;

use apiserver::http::InMemory;
use apiserver::request::UserInfo;
use apiserver::server::{Options, ServerBuilder};
use apiserver::strategy::{Grace, Strategy};
use bytes::Bytes;
use etcd::{
    Embedded, Lease, LeaseStatus, Op, RangeRequest, RangeResponse, Result, Status, Store, Txn, TxnResponse,
    Watch, WatchRequest,
};
use http::Request;
use http_body_util::Full;
use tower::ServiceExt;

/// A store in which every key that is to be deleted was deleted a moment before.
struct Eager(Embedded);

#[async_trait::async_trait]
impl Store for Eager {
    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        for op in &txn.success {
            if let Op::DeleteRange(request) = op {
                self.0.delete_range(request.clone()).await?;
            }
        }
        self.0.txn(txn).await
    }
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.0.range(request).await
    }
    async fn watch(&self, request: WatchRequest) -> Result<Watch> {
        self.0.watch(request).await
    }
    async fn lease_grant(&self, ttl: i64, id: i64) -> Result<Lease> {
        self.0.lease_grant(ttl, id).await
    }
    async fn lease_revoke(&self, id: i64) -> Result<()> {
        self.0.lease_revoke(id).await
    }
    async fn lease_keep_alive(&self, id: i64) -> Result<i64> {
        self.0.lease_keep_alive(id).await
    }
    async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseStatus> {
        self.0.lease_time_to_live(id, keys).await
    }
    async fn compact(&self, revision: i64) -> Result<i64> {
        self.0.compact(revision).await
    }
    async fn status(&self) -> Result<Status> {
        self.0.status().await
    }
}

/// Nothing to wait for, but marked first.
struct Ended;

impl Strategy for Ended {
    fn grace(&self, _: &api::Value, _: Option<i64>) -> Grace {
        Grace::Seconds(0)
    }
}

async fn code(client: &InMemory, method: &str, path: &str, body: &'static str) -> u16 {
    let request = Request::builder().method(method).uri(format!("http://local{path}"));
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    client.clone().oneshot(request).await.unwrap().status().as_u16()
}

/// A pod that has ended is marked, and its kubelet, who sees the mark, may be quicker than the server.
#[tokio::test]
async fn a_marked_object_that_its_owner_removed_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Eager(Embedded::open(etcd::embedded::Options::new(folder.path())).unwrap()));
    let builder = ServerBuilder::new(store, Options::default());
    let mut pods = support::row("", "v1", "pods");
    pods.strategy = Arc::new(Ended);
    builder.serve(pods).unwrap();
    builder.serve(support::row("", "v1", "configmaps")).unwrap();
    let server = builder.start().await.unwrap();
    let client = server.in_memory(Some(UserInfo::loopback()));
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    let pods = "/api/v1/namespaces/n/pods";
    assert_eq!(code(&client, "POST", pods, pod).await, 201);
    assert_eq!(code(&client, "DELETE", &format!("{pods}/p"), "").await, 200);
    assert_eq!(code(&client, "DELETE", &format!("{pods}/p"), "").await, 404);
    // what nobody marks is told as it is
    let maps = "/api/v1/namespaces/n/configmaps";
    let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"}}"#;
    assert_eq!(code(&client, "POST", maps, map).await, 201);
    assert_eq!(code(&client, "DELETE", &format!("{maps}/m"), "").await, 404);
}
