//! One mutating and one validating webhook, each a real HTTPS server, on a whole API server.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::Bed;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, pki_types};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Answers `/mutate` with a patch that adds a label, `/validate` with a refusal of data that holds `forbidden`.
fn review(path: &str, review: &Value) -> Value {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if path == "/mutate" {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen-by": request["userInfo"]["username"]}}]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(BASE64.encode(patch.to_string()));
    } else if request["object"]["data"].get("forbidden").is_some() {
        // The mutation came before: a validating webhook sees what would be stored.
        assert_eq!(request["object"]["metadata"]["labels"]["seen-by"], "admin");
        response["allowed"] = json!(false);
        response["status"] =
            json!({"code": 403, "message": format!("no {}", request["operation"].as_str().unwrap())});
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = review(&path, &serde_json::from_slice(&body).unwrap()).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(Full::new(answer.into())).unwrap())
}

/// A webhook server; its port and its certificate, which is its own authority.
async fn serve() -> (u16, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let key = pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let serve = hyper::server::conn::http1::Builder::new();
                let _ = serve.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    (port, certificate.pem())
}

fn configuration(kind: &str, path: &str, port: u16, authority: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "test"},
        "webhooks": [{"name": "test.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://127.0.0.1:{port}{path}"), "caBundle": BASE64.encode(authority)},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}]}]})
}

fn map(name: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: "x"}})
}

/// Creates in dry run until the webhooks, which are followed by a watch, are in force.
async fn in_force(bed: &Bed) {
    for _ in 0..200 {
        let dry = format!("{MAPS}?dryRun=All");
        let (code, _) = bed.call("POST", &dry, Some(&map("probe", "forbidden"))).await;
        if code == 403 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the webhooks are not called");
}

#[tokio::test]
async fn one_changes_and_one_refuses() {
    let (port, authority) = serve().await;
    let bed = Bed::start(&[]).await;
    for (kind, plural, path) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "/mutate"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "/validate"),
    ] {
        let made = configuration(kind, path, port, &authority);
        let (code, answer) = bed.call("POST", &format!("{GROUP}/{plural}"), Some(&made)).await;
        assert_eq!(code, 201, "{answer}");
    }
    in_force(&bed).await;
    let (code, made) = bed.call("POST", MAPS, Some(&map("good", "allowed"))).await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({"seen-by": "admin"})), "{made}");
    let (code, refused) = bed.call("POST", MAPS, Some(&map("bad", "forbidden"))).await;
    assert_eq!(code, 403, "{refused}");
    assert_eq!(refused["message"], "admission webhook \"test.example.com\" denied the request: no CREATE");
    assert_eq!(bed.call("GET", &format!("{MAPS}/bad"), None).await.0, 404);
    // An apply is an update of what is there, and is looked at as one.
    let patch = map("good", "forbidden").to_string();
    let target = format!("{MAPS}/good?fieldManager=test");
    let (code, refused) = bed.send("PATCH", &target, "application/apply-patch+yaml", Some(patch)).await;
    assert_eq!(
        (code, &refused["message"]),
        (403, &json!("admission webhook \"test.example.com\" denied the request: no UPDATE"))
    );
    bed.server.shutdown().await;
}
