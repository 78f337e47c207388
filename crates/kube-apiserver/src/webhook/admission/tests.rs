//! Hooks against a real HTTPS server in this process.

use std::convert::Infallible;

use apimachinery::{GroupVersionKind, GroupVersionResource};
use apiserver::request::UserInfo;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use super::*;
use crate::testing::{Fake, context, value};
use crate::webhook::json::to_json;

type Answer = fn(&Json) -> Json;

/// A webhook: its URL, its CA, and what it was asked.
struct Server {
    url: String,
    ca: String,
    asked: Arc<Mutex<Vec<Json>>>,
}

async fn serve(answer: Answer) -> Server {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let der = key.signing_key.serialize_der();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], rustls::pki_types::PrivateKeyDer::Pkcs8(der.into()))
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/hook", listener.local_addr().unwrap().port());
    let asked: Arc<Mutex<Vec<Json>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, log) = (acceptor.clone(), log.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| {
                        let log = log.clone();
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let review: Json = serde_json::from_slice(&body).unwrap();
                            log.lock().push(review.clone());
                            let mut response = answer(&review);
                            response["uid"] = review["request"]["uid"].clone();
                            let review = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
                            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(
                                review.to_string(),
                            ))))
                        }
                    },
                );
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tls), service)
                    .await;
            });
        }
    });
    Server { url, ca: STANDARD.encode(key.cert.pem()), asked }
}

impl Server {
    fn webhook(&self, name: &str, more: Json) -> Json {
        let mut webhook = json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": self.url, "caBundle": self.ca}, "rules": [{"operations": ["*"], "apiGroups": ["*"],
            "apiVersions": ["*"], "resources": ["*/*"], "scope": "*"}]});
        for (k, v) in more.as_object().unwrap() {
            webhook[k] = v.clone();
        }
        webhook
    }
}

async fn webhooks(mutating: Vec<Json>, validating: Vec<Json>) -> Arc<Webhooks> {
    let count = (mutating.len(), validating.len());
    let configuration = |webhooks: Vec<Json>| json!({"metadata": {"name": "c"}, "webhooks": webhooks});
    let fake = Fake::with(&[
        ("namespaces", json!({"metadata": {"name": "ns", "labels": {"team": "a"}}})),
        ("mutatingwebhookconfigurations.admissionregistration.k8s.io", configuration(mutating)),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io", configuration(validating)),
    ]);
    let webhooks = Arc::new(Webhooks::new(fake));
    webhooks.start();
    while (webhooks.mutating().len(), webhooks.validating().len()) != count {
        tokio::task::yield_now().await;
    }
    webhooks
}

async fn create(plugin: &dyn Plugin, object: Json, dry_run: bool) -> Result<(Json, Vec<String>), Status> {
    let mut cx = context(UserInfo { name: "joe".into(), ..UserInfo::default() });
    cx.dry_run = dry_run;
    let mut a = Attributes {
        cx: &cx,
        operation: Operation::Create,
        kind: GroupVersionKind::new("", "v1", "ConfigMap"),
        resource: GroupVersionResource::new("", "v1", "configmaps"),
        subresource: "",
        namespace: "ns",
        name: "x",
        object: Some(value(object)),
        old_object: None,
        options: value(json!({"kind": "CreateOptions"})),
        rounds: apiserver::admission::Rounds::default(),
    };
    plugin.mutate(&mut a).await?;
    while a.rounds.another() {
        plugin.mutate(&mut a).await?;
    }
    plugin.validate(&a).await?;
    Ok((to_json(&a.object.unwrap()), cx.warnings.take()))
}

fn add_label(review: &Json) -> Json {
    // Adds how often it has seen the object.
    let seen = review["request"]["object"]["data"]["seen"].as_str().map_or(0, |s| s.parse::<i32>().unwrap());
    let patch = json!([{"op": "add", "path": "/data", "value": {"seen": (seen + 1).to_string()}}]);
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string()), "warnings": ["careful"]})
}

fn deny(_: &Json) -> Json {
    json!({"allowed": false, "status": {"message": "no such luck", "code": 403, "reason": "Forbidden"}})
}

#[tokio::test]
async fn mutating() {
    let server = serve(add_label).await;
    let hooks = vec![
        server.webhook("one.example.com", json!({"reinvocationPolicy": "IfNeeded"})),
        server.webhook("two.example.com", json!({})),
        server.webhook(
            "three.example.com",
            json!({"rules": [{"operations": ["DELETE"], "apiGroups": ["*"],
            "apiVersions": ["*"], "resources": ["*"]}]}),
        ),
    ];
    let plugin = Mutating::new(webhooks(hooks, vec![]).await);
    let (object, warnings) = create(&plugin, json!({"metadata": {"name": "x"}}), false).await.unwrap();
    // Twice in order, and the first once more, as the second changed what it had seen.
    assert_eq!(object["data"]["seen"], "3");
    assert_eq!(warnings, ["careful"]);
    let asked = server.asked.lock();
    assert_eq!(asked.len(), 3);
    let request = &asked[0]["request"];
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(
        (&request["operation"], &request["namespace"], &request["name"]),
        (&json!("CREATE"), &json!("ns"), &json!("x"))
    );
    assert_eq!(request["userInfo"], json!({"username": "joe"}));
    assert_eq!((&request["oldObject"], &request["dryRun"]), (&Json::Null, &json!(false)));
}

#[tokio::test]
async fn validating() {
    let server = serve(deny).await;
    let refused = async |more: Json, dry_run: bool| {
        let plugin = Validating::new(webhooks(vec![], vec![server.webhook("no.example.com", more)]).await);
        create(&plugin, json!({"metadata": {"labels": {"app": "x"}}}), dry_run).await.map(drop)
    };
    let status = refused(json!({}), false).await.unwrap_err();
    assert_eq!(status.message, "admission webhook \"no.example.com\" denied the request: no such luck");
    assert_eq!((status.code, status.reason), (403, apimachinery::Reason::Forbidden));
    assert!(refused(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), false).await.is_ok());
    assert!(refused(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), false).await.is_err());
    assert!(refused(json!({"objectSelector": {"matchLabels": {"app": "y"}}}), false).await.is_ok());
    let status = refused(json!({"sideEffects": "Some"}), true).await.unwrap_err();
    assert_eq!(status.message, "admission webhook \"no.example.com\" does not support dry run");
}

#[tokio::test]
async fn conditions() {
    let server = serve(deny).await;
    let answered = async |expressions: &[&str], policy: &str| {
        let named = expressions.iter().enumerate();
        let conditions: Vec<Json> =
            named.map(|(i, e)| json!({"name": format!("c{i}"), "expression": e})).collect();
        let more = json!({"matchConditions": conditions, "failurePolicy": policy});
        let plugin = Validating::new(webhooks(vec![], vec![server.webhook("no.example.com", more)]).await);
        let object = json!({"metadata": {"name": "x", "labels": {"app": "x"}}});
        create(&plugin, object, false).await.map(drop).map_err(|status| (status.code, status.message.clone()))
    };
    let denied =
        Err((403, "admission webhook \"no.example.com\" denied the request: no such luck".to_owned()));
    let failed = "expression 'object.spec.x == 1' resulted in error: no such key: spec";
    let refused = |why: &str| Err((403, format!("configmaps \"x\" is forbidden: {why}")));
    for (expressions, policy, expected) in [
        (&["object.metadata.labels.app == 'x'", "request.operation == 'CREATE'"][..], "Fail", denied.clone()),
        (&["true", "request.userInfo.username == 'jane'"], "Fail", Ok(())),
        // A false one decides whatever the others do.
        (&["object.spec.x == 1", "false"], "Fail", Ok(())),
        (&["object.spec.x == 1", "true"], "Fail", refused(failed)),
        (&["object.spec.x == 1", "object.spec.x == 1"], "Fail", refused(&format!("[{failed}, {failed}]"))),
        (&["object.spec.x == 1", "true"], "Ignore", Ok(())),
    ] {
        assert_eq!(answered(expressions, policy).await, expected, "{expressions:?} {policy}");
    }
}

#[tokio::test]
async fn unreachable() {
    let gone = json!({"clientConfig": {"url": "http://127.0.0.1:1/x"}});
    let server = serve(deny).await;
    let failing =
        Validating::new(webhooks(vec![], vec![server.webhook("a.example.com", gone.clone())]).await);
    let status = create(&failing, json!({}), false).await.unwrap_err();
    assert_eq!(status.code, 500);
    let start = "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: \
                 Post \"http://127.0.0.1:1/x?timeout=10s\": dial tcp 127.0.0.1:1: connect: ";
    assert!(status.message.starts_with(start), "{}", status.message);
    let mut open = gone;
    open["failurePolicy"] = "Ignore".into();
    let ignoring = Validating::new(webhooks(vec![], vec![server.webhook("a.example.com", open)]).await);
    assert!(create(&ignoring, json!({}), false).await.is_ok());
    // A certificate that the bundle does not hold.
    let other = serve(deny).await;
    let wrong = json!({"clientConfig": {"url": server.url, "caBundle": other.ca}});
    let untrusting = Validating::new(webhooks(vec![], vec![server.webhook("a.example.com", wrong)]).await);
    assert!(create(&untrusting, json!({}), false).await.unwrap_err().message.contains("certificate"));
}
