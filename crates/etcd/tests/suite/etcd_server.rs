//! A real etcd for one case: its own process and directory, on ports of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use etcd::{Client, ClientConfig, SharedStore};

/// A running etcd, killed when it is dropped.
pub struct Server {
    process: Child,
    url: String,
    binary: PathBuf,
    dir: tempfile::TempDir,
    ports: (u16, u16),
    tls: Vec<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The etcd to test against, or why there is none.
pub fn binary() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("TESTBED_CACHE").map_or(home.join(".cache/testbed"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = vec![cache.join("bin")];
    places.extend(std::env::split_paths(&path));
    places
        .iter()
        .map(|dir| dir.join("etcd"))
        .find(|file| file.is_file())
        .ok_or(format!("no etcd in {} or in PATH", places[0].display()))
}

/// Two free ports: for clients, for peers.
fn free_ports() -> (u16, u16) {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (one, two) = (listen(), listen());
    (one.local_addr().unwrap().port(), two.local_addr().unwrap().port())
}

/// Starts an etcd, or says why this half of a case is skipped.
pub async fn start(case: &str) -> Option<Server> {
    match binary() {
        Ok(binary) => Some(Server::start(binary, None)),
        Err(reason) => {
            println!("real etcd half of {case} skipped: {reason}");
            None
        }
    }
}

impl Server {
    /// Starts one; with a directory of `ca.pem`, `server.pem`, `server.key`, over TLS.
    pub fn start(binary: PathBuf, certificates: Option<&Path>) -> Self {
        let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports());
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}", ports.0);
        let file = |flag: &str, dir: &Path, name: &str| format!("--{flag}={}", dir.join(name).display());
        let tls = certificates.map_or(Vec::new(), |dir| {
            vec![
                file("trusted-ca-file", dir, "ca.pem"),
                file("cert-file", dir, "server.pem"),
                file("key-file", dir, "server.key"),
                "--client-cert-auth".to_owned(),
            ]
        });
        let process = Self::spawn(&binary, dir.path(), &url, ports, &tls);
        Self { process, url, binary, dir, ports, tls }
    }

    fn spawn(binary: &Path, dir: &Path, url: &str, ports: (u16, u16), tls: &[String]) -> Child {
        let peer = format!("http://127.0.0.1:{}", ports.1);
        let log = std::fs::File::create(dir.join("log")).unwrap();
        Command::new(binary)
            .arg(format!("--data-dir={}", dir.join("data").display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
            .args(["--unsafe-no-fsync", "--log-level=error"])
            .args(tls)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again on its data.
    pub fn restart(&mut self) {
        self.kill();
        self.process = Self::spawn(&self.binary, self.dir.path(), &self.url, self.ports, &self.tls);
    }

    /// A client of it, once it answers.
    pub async fn store(&self) -> SharedStore {
        connect(&ClientConfig::new([self.url.clone()])).await
    }
}

/// A client, once its server answers.
pub async fn connect(config: &ClientConfig) -> SharedStore {
    let client: SharedStore = Arc::new(Client::new(config).unwrap());
    for _ in 0..150 {
        match client.status().await {
            Ok(_) => return client,
            Err(e) if e.is_transient() => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            Err(e) => panic!("etcd does not start: {e}"),
        }
    }
    panic!("etcd does not start");
}
