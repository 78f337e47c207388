//! A whole server in this process for tests, with a certificate authority, a token file and an embedded store in a
//! folder that goes with it.

#![allow(clippy::unwrap_used, dead_code, reason = "a failed unwrap is a failed test; no test file uses all")]

use std::ffi::OsString;
use std::path::Path;

use apiserver::http::InMemory;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use kube_apiserver::InProcess;
use kube_apiserver::options::Options;
use serde_json::Value;
use tower::ServiceExt as _;

pub const TOKEN: &str = "admintoken";

pub struct Bed {
    pub server: InProcess,
    pub folder: tempfile::TempDir,
    service: InMemory,
}

/// A key for service account tokens and an authority, as PEM files.
fn files(folder: &Path) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    std::fs::write(folder.join("sa.key"), key.serialize_pem()).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.crt"), params.self_signed(&ca_key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Bed {
    /// Starts it and waits until it is ready.
    pub async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path());
        let bed = Self::launch(folder, flags).await;
        bed.ready().await;
        bed
    }

    /// The server and its folder, without the client.
    pub fn into_parts(self) -> (InProcess, tempfile::TempDir) {
        (self.server, self.folder)
    }

    /// The same server again on what it has stored, not yet ready. On a copy: within one process the store is
    /// locked for as long as any task of the server before holds it.
    pub async fn restart(self) -> Self {
        let (server, folder) = self.into_parts();
        server.shutdown().await;
        copy(&folder.path().join("store"), &folder.path().join("again"));
        let store = format!("--data-dir={}", folder.path().join("again").display());
        Self::launch(folder, &[&store]).await
    }

    async fn launch(folder: tempfile::TempDir, flags: &[&str]) -> Self {
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut args: Vec<String> = vec![
            "kube-apiserver".into(),
            format!("--service-account-key-file={}", at("sa.key")),
            format!("--service-account-signing-key-file={}", at("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--token-auth-file={}", at("tokens.csv")),
            format!("--client-ca-file={}", at("ca.crt")),
            format!("--requestheader-client-ca-file={}", at("ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--allow-privileged".into(),
            "--enable-bootstrap-token-auth".into(),
            "--bind-address=127.0.0.1".into(),
            "--secure-port=0".into(),
        ];
        args.extend(flags.iter().map(|f| (*f).to_owned()));
        if !flags.iter().any(|f| f.starts_with("--data-dir=")) {
            args.push(format!("--data-dir={}", at("store")));
        }
        let parsed = Options::parse_from_args(args.into_iter().map(OsString::from)).unwrap();
        let server = InProcess::start(parsed.options).await.unwrap();
        let service = server.server().in_memory(None);
        Self { server, folder, service }
    }

    async fn ready(&self) {
        let mut last = (0, Value::Null);
        for _ in 0..300 {
            last = self.call("GET", "/readyz?verbose", None).await;
            if last.0 == 200 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("not ready: {last:?}");
    }

    /// Code and answer, as the administrator.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(method, path, "application/json", body.map(Value::to_string)).await
    }

    /// As `call`, with another content type.
    pub async fn send(&self, method: &str, path: &str, content: &str, body: Option<String>) -> (u16, Value) {
        self.send_bytes(method, path, content, body.unwrap_or_default().into_bytes()).await
    }

    /// As `send`, with a body that is no text.
    pub async fn send_bytes(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", "application/json")
            .header("content-type", content)
            .body(Full::new(bytes::Bytes::from(body)))
            .unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}
