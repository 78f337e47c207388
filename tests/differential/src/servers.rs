//! The two servers: upstream's kube-apiserver over a real etcd, and ours in this process over its embedded store,
//! with the same flags, keys and users.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kube_apiserver::options::Options;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::exchange::Client;
use crate::{Error, Result, audit};

const READY: Duration = Duration::from_secs(120);

/// (token, user, groups)
const USERS: &[(&str, &str, &str)] = &[
    ("admin", "admin", "system:masters"),
    ("joe", "joe", "dev"),
    ("node", "system:node:n1", "system:nodes"),
    ("nobody", "nobody", ""),
    ("audited", "audited", "system:masters"),
];

/// A server and whoever keeps it running.
pub struct Server {
    pub client: Client,
    processes: Vec<Child>,
    stop: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        for child in &mut self.processes {
            // The process may be gone already; it is killed on drop anyway.
            let _ = child.start_kill();
        }
    }
}

fn free_port() -> Result<u16> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    Ok(bound.map_err(|e| Error::Start("a listener".into(), e))?.port())
}

/// Keys and users that both servers read.
pub fn prepare(folder: &Path) -> Result<()> {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).map_err(|e| Error::File(name.to_owned(), e))
    };
    let key = rcgen::KeyPair::generate()?;
    write("sa.key", key.serialize_pem())?;
    write("sa.pub", key.public_key_pem())?;
    let ca_key = rcgen::KeyPair::generate()?;
    let mut ca = rcgen::CertificateParams::new(Vec::new())?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "ca");
    write("ca.crt", ca.self_signed(&ca_key)?.pem())?;
    write(audit::POLICY, include_str!("../audit-policy.yaml").to_owned())?;
    let line = |(token, user, groups): &(&str, &str, &str)| format!("{token},{user},{user},\"{groups}\"\n");
    write("tokens.csv", USERS.iter().map(line).collect())
}

fn flags(folder: &Path, port: u16, server: &str) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", file(&format!("certs-{server}"))),
        format!("--audit-policy-file={}", file(audit::POLICY)),
        format!("--audit-log-path={}", file(&audit::log(server))),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged".into(),
        "--enable-bootstrap-token-auth".into(),
    ]
}

fn spawn(name: &str, program: PathBuf, arguments: &[String], folder: &Path) -> Result<Child> {
    let path = folder.join(format!("{name}.log"));
    let log = fs::File::create(&path).map_err(|e| Error::File(path.display().to_string(), e))?;
    let other = log.try_clone().map_err(|e| Error::File(path.display().to_string(), e))?;
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(other).stderr(log);
    command.kill_on_drop(true).spawn().map_err(|e| Error::Start(program.display().to_string(), e))
}

/// Upstream's, of the binaries in a folder.
pub async fn upstream(binaries: &Path, folder: &Path) -> Result<Server> {
    let (client, peer, port) = (free_port()?, free_port()?, free_port()?);
    let (store, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let arguments = [
        "--data-dir=etcd".to_owned(),
        format!("--listen-client-urls={store}"),
        format!("--advertise-client-urls={store}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".into(),
    ];
    let etcd = spawn("etcd", binaries.join("etcd"), &arguments, folder)?;
    let mut arguments = flags(folder, port, "upstream");
    arguments.push(format!("--etcd-servers={store}"));
    let api = spawn("upstream", binaries.join("kube-apiserver"), &arguments, folder)?;
    let server = Server {
        client: Client::new(port, "upstream")?,
        processes: vec![api, etcd],
        stop: CancellationToken::new(),
    };
    ready(server, &folder.join("upstream.log")).await
}

/// Ours.
pub async fn ours(folder: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut arguments = vec!["kube-apiserver".to_owned()];
    arguments.extend(flags(folder, port, "ours"));
    arguments.push(format!("--data-dir={}", folder.join("store").display()));
    let parsed = Options::parse_from_args(arguments.into_iter().map(Into::into));
    let options = parsed.map_err(|e| Error::Setup(format!("our flags: {e}")))?.options;
    let stop = CancellationToken::new();
    let ended = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = kube_apiserver::run(options, ended).await {
            eprintln!("our kube-apiserver ended: {error}");
        }
    });
    let server = Server { client: Client::new(port, "keelson")?, processes: Vec::new(), stop };
    ready(server, Path::new("/dev/null")).await
}

/// Until `/readyz` says yes; nothing tells when a port opens, so this asks again.
async fn ready(server: Server, log: &Path) -> Result<Server> {
    let end = tokio::time::Instant::now() + READY;
    let mut again = tokio::time::interval(Duration::from_millis(50));
    while tokio::time::Instant::now() < end {
        again.tick().await;
        if server.client.get_code("/readyz").await == Some(200) {
            return Ok(server);
        }
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    Err(Error::NotReady(server.client.name.clone(), lines[lines.len().saturating_sub(15)..].join("\n")))
}
