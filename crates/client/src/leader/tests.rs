//! Two candidates for one lease, on a server that keeps it in memory.

use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;

/// The one lease of a server, and whether it answers at all.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    version: u64,
    down: bool,
}

impl Server {
    fn answer(&mut self, method: &Method, body: Option<Value>) -> (u16, Value) {
        if self.down {
            return (
                503,
                json!({"kind": "Status", "reason": "ServiceUnavailable", "message": "down", "code": 503}),
            );
        }
        match (method, &self.lease, body) {
            (&Method::GET, Some(lease), _) => (200, lease.clone()),
            (&Method::GET, None, _) => {
                (404, json!({"kind": "Status", "reason": "NotFound", "message": "not found", "code": 404}))
            }
            (&Method::PUT, Some(lease), Some(new))
                if lease["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"] =>
            {
                (409, json!({"kind": "Status", "reason": "Conflict", "message": "modified", "code": 409}))
            }
            (_, _, Some(mut new)) => {
                self.version += 1;
                new["metadata"]["resourceVersion"] = self.version.to_string().into();
                self.lease = Some(new.clone());
                (200, new)
            }
            _ => (400, Value::Null),
        }
    }

    fn holder(&self) -> String {
        self.lease.as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    }
}

fn served() -> (Api, Arc<Mutex<Server>>) {
    let server: Arc<Mutex<Server>> = Arc::default();
    let shared = server.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let shared = shared.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let (code, answer) = shared.lock().answer(&parts.method, serde_json::from_slice(&bytes).ok());
            Ok::<_, std::convert::Infallible>(
                Response::builder()
                    .status(code)
                    .body(Full::new(bytes::Bytes::from(answer.to_string())))
                    .unwrap(),
            )
        }
    });
    (Api::new(kube::Client::new(service, "default"), "test"), server)
}

fn candidate(identity: &str) -> LeaderElection {
    LeaderElection {
        namespace: "kube-system".into(),
        name: "l".into(),
        identity: identity.into(),
        lease_duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
    }
}

/// Leads until the token ends; a receiver that hears when it begins.
fn run(
    api: &Api,
    identity: &str,
    shutdown: &CancellationToken,
) -> (tokio::sync::oneshot::Receiver<()>, tokio::task::JoinHandle<bool>) {
    let (began, begins) = tokio::sync::oneshot::channel();
    let (api, stop, election) = (api.clone(), shutdown.clone(), candidate(identity));
    let task = tokio::spawn(async move {
        election
            .run(&api, stop, |leading| async move {
                let _ = began.send(());
                leading.cancelled().await;
            })
            .await
    });
    (begins, task)
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_goes_to_the_next() {
    let (api, server) = served();
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let (begins, task) = run(&api, "a", &first);
    begins.await.unwrap();
    let (mut next, _) = run(&api, "b", &second);
    assert!(tokio::time::timeout(Duration::from_secs(120), &mut next).await.is_err(), "a renews it");
    assert_eq!(server.lock().holder(), "a");
    first.cancel();
    assert!(task.await.unwrap());
    assert_eq!(server.lock().holder(), "");
    next.await.unwrap();
    assert_eq!(server.lock().holder(), "b");
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_lost() {
    let (api, server) = served();
    let (begins, task) = run(&api, "a", &CancellationToken::new());
    begins.await.unwrap();
    server.lock().down = true;
    assert!(!task.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_lease_is_taken_after_its_duration() {
    let (api, server) = served();
    let spec = json!({"holderIdentity": "gone", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z", "leaseTransitions": 4});
    server.lock().lease = Some(json!({"metadata": {"name": "l", "resourceVersion": "1"}, "spec": spec}));
    let begun = Instant::now();
    let (begins, _) = run(&api, "b", &CancellationToken::new());
    begins.await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(15), "its clock is not trusted");
    assert_eq!(server.lock().lease.as_ref().unwrap()["spec"]["leaseTransitions"], 5);
}
