//! The informer against a server that answers from a script.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kube::client::Body;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::meta::Partial;
use crate::resource::PODS;

/// A server that gives one answer after the other: (code, body). The last one is given again and again.
type Script = Arc<Mutex<(VecDeque<(u16, String)>, Vec<String>)>>;

fn scripted(answers: &[(u16, String)]) -> (Api, Script) {
    let script: Script = Arc::new(Mutex::new((answers.iter().cloned().collect(), Vec::new())));
    let shared = script.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = {
            let mut script = shared.lock();
            script.1.push(request.uri().query().unwrap_or_default().to_owned());
            if script.0.len() > 1 { script.0.pop_front() } else { script.0.front().cloned() }
        };
        async move {
            match answer {
                Some((0, _)) | None => std::future::pending().await,
                Some((code, body)) => Ok::<_, std::convert::Infallible>(
                    Response::builder().status(code).body(Full::new(Bytes::from(body))).unwrap(),
                ),
            }
        }
    });
    (Api::new(kube::Client::new(service, "default"), "test"), script)
}

fn pod(name: &str, uid: &str, version: u32) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","uid":"{uid}","resourceVersion":"{version}"}}}}"#
    )
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn initial_end(version: u32) -> String {
    event(
        "BOOKMARK",
        &format!(
            r#"{{"metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}"#
        ),
    )
}

/// `count` events in short: `+name@version`, `~name@version`, `-name`.
async fn told(api: Api, count: usize) -> Vec<String> {
    let informer: Informer<Partial> = Informer::new(api, PODS, InformerOptions::default());
    let mut events = informer.subscribe();
    let stop = CancellationToken::new();
    informer.start(stop.clone());
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(match events.recv().await.unwrap() {
            Event::Added(v) => format!("+{}@{}", v.name(), v.resource_version()),
            Event::Modified { new, .. } => format!("~{}@{}", new.name(), new.resource_version()),
            Event::Deleted(v) => format!("-{}", v.name()),
        });
    }
    assert!(informer.has_synced());
    stop.cancel();
    told
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_and_what_follows() {
    let first = [
        event("ADDED", &pod("a", "1", 1)),
        initial_end(5),
        event("MODIFIED", &pod("a", "1", 6)),
        event("ADDED", &pod("b", "2", 7)),
    ];
    let second = event("DELETED", &pod("a", "1", 9));
    let (api, script) = scripted(&[(200, first.concat()), (200, second), (0, String::new())]);
    assert_eq!(told(api, 4).await, ["+a@1", "~a@6", "+b@7", "-a"]);
    let queries = script.lock().1.clone();
    assert!(
        queries[0].contains("sendInitialEvents=true")
            && queries[0].contains("resourceVersionMatch=NotOlderThan")
    );
    assert!(queries[1].contains("resourceVersion=7"), "it goes on where it was: {queries:?}");
}

#[tokio::test(start_paused = true)]
async fn too_old_means_another_list_and_only_the_difference() {
    let list = |pods: &[String], version| {
        [pods.iter().map(|p| event("ADDED", p)).collect(), initial_end(version)].concat()
    };
    let first = list(&[pod("a", "1", 1), pod("b", "2", 2), pod("c", "3", 3)], 5);
    let gone = event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#);
    let second = list(&[pod("a", "1", 1), pod("c", "4", 12)], 15);
    let (api, script) = scripted(&[(200, first), (200, gone), (200, second), (0, String::new())]);
    let mut told = told(api, 6).await;
    told[..3].sort();
    told[3..].sort();
    assert_eq!(told, ["+a@1", "+b@2", "+c@3", "+c@12", "-b", "-c"]);
    assert!(script.lock().1[2].contains("sendInitialEvents"));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streamed_lists_is_listed() {
    let refused =
        r#"{"kind":"Status","code":422,"reason":"Invalid","message":"sendInitialEvents is forbidden"}"#
            .to_owned();
    let list = format!(r#"{{"metadata":{{"resourceVersion":"8"}},"items":[{}]}}"#, pod("a", "1", 4));
    let watched = event("MODIFIED", &pod("a", "1", 9));
    let (api, script) = scripted(&[(422, refused), (200, list), (200, watched), (0, String::new())]);
    assert_eq!(told(api, 2).await, ["+a@4", "~a@9"]);
    let queries = script.lock().1.clone();
    assert_eq!(queries[1], "resourceVersion=0");
    assert!(queries[2].contains("resourceVersion=8"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_asked_again() {
    let list = [event("ADDED", &pod("a", "1", 1)), initial_end(5)].concat();
    let (api, _) = scripted(&[(503, "down".into()), (500, "down".into()), (200, list), (0, String::new())]);
    assert_eq!(told(api, 1).await, ["+a@1"]);
}
