//! The processes under test: a kube-apiserver over its embedded store or over a real etcd, in a folder of its own,
//! killed with SIGKILL and started again with the same arguments.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::http::{Client, TOKEN};
use crate::{Error, Result};

const READY: Duration = Duration::from_secs(120);

/// A command line, and the process of it if it runs.
pub struct Server {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    running: Option<Child>,
}

impl Server {
    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    pub fn start(&mut self) -> Result<()> {
        let wrap = |e| Error::Start(self.program.display().to_string(), e);
        let log = fs::File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(wrap)?;
        self.running = Some(child);
        Ok(())
    }

    /// SIGKILL, and the wait until the process is gone.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.running.take() {
            child.kill().await?;
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Errs where the process has ended.
    fn check(&mut self) -> Result<()> {
        let ended = self.running.as_mut().and_then(|c| c.try_wait().ok().flatten());
        match ended {
            Some(status) => Err(Error::Ended(self.name.clone(), status, self.tail())),
            None => Ok(()),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Program and first arguments of the server.
    pub command: Vec<String>,
    /// The etcd binary; None for the embedded store.
    pub etcd: Option<PathBuf>,
    pub folder: PathBuf,
}

/// A server with its store.
pub struct Servers {
    pub api: Server,
    pub etcd: Option<Server>,
    pub client: Client,
}

impl Servers {
    pub fn new(plan: &Plan) -> Result<Self> {
        let folder = plan.folder.as_path();
        let port = free_port()?;
        write_keys(folder)?;
        let (etcd, store) = match &plan.etcd {
            Some(binary) => {
                let (client, peer) = (free_port()?, free_port()?);
                let store = format!("--etcd-servers=http://127.0.0.1:{client}");
                (Some(etcd(binary, folder, client, peer)), store)
            }
            None => (None, format!("--data-dir={}", folder.join("store").display())),
        };
        let [program, first @ ..] = plan.command.as_slice() else {
            return Err(Error::Setup("--server is empty".into()));
        };
        let mut arguments = first.to_vec();
        arguments.extend(flags(folder, port));
        arguments.push(store);
        let api = Server {
            name: "kube-apiserver".into(),
            program: program.into(),
            arguments,
            folder: folder.to_owned(),
            running: None,
        };
        Ok(Self { api, etcd, client: Client::new(port)? })
    }

    pub fn start(&mut self) -> Result<()> {
        if let Some(etcd) = &mut self.etcd {
            etcd.start()?;
        }
        self.api.start()
    }

    /// Until `/readyz` says yes. There is nothing to be awaited before the port is open, so this asks again.
    pub async fn ready(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + READY;
        let mut again = tokio::time::interval(Duration::from_millis(30));
        loop {
            again.tick().await;
            self.api.check()?;
            if let Some(etcd) = &mut self.etcd {
                etcd.check()?;
            }
            let asked = tokio::time::timeout(Duration::from_secs(5), self.client.get("/readyz")).await;
            if asked.ok().flatten().is_some_and(|a| a.code == 200) {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                return Err(Error::NotReady(self.api.name.clone(), READY.as_secs(), self.api.tail()));
            }
        }
    }
}

fn etcd(binary: &Path, folder: &Path, client: u16, peer: u16) -> Server {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    Server {
        name: "etcd".into(),
        program: binary.to_owned(),
        arguments: vec![
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ],
        folder: folder.to_owned(),
        running: None,
    }
}

fn flags(folder: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    vec![
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", file("certs")),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--authorization-mode=Node,RBAC".into(),
    ]
}

fn write_keys(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let key = rcgen::KeyPair::generate()?;
    fs::write(folder.join("sa.key"), key.serialize_pem())?;
    fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    fs::write(folder.join("tokens.csv"), format!("{TOKEN},kill-loop,kill-loop,system:masters\n"))?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
