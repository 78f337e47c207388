//! The kubeconfig: the files of `KUBECONFIG` or `--kubeconfig`, merged; the context; the flags that go over it.

use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::args::Flags;
use crate::error::{Error, Result};

/// What the flags and files give.
pub struct Settings {
    pub config: Config,
    /// Of the flag, the context or "default".
    pub namespace: String,
    /// The namespace was given by the flag.
    pub namespace_given: bool,
    /// How long one request may take, its answer's body included. None: for ever.
    pub timeout: Option<std::time::Duration>,
}

/// The files that count, in order. Those of a list may be absent, the one of the flag may not.
pub fn files(flags: &Flags) -> Vec<PathBuf> {
    if flags.given("kubeconfig") {
        return vec![flags.text("kubeconfig").into()];
    }
    match std::env::var_os("KUBECONFIG") {
        Some(list) if !list.is_empty() => {
            std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty() && p.exists()).collect()
        }
        _ => {
            let home = std::env::var_os("HOME").map(|h| Path::new(&h).join(".kube/config"));
            home.into_iter().filter(|p| p.exists()).collect()
        }
    }
}

/// The merged kubeconfig; None where there is no file.
pub fn kubeconfig(flags: &Flags) -> Result<Option<Kubeconfig>> {
    let mut merged: Option<Kubeconfig> = None;
    for path in files(flags) {
        if !path.exists() {
            return Err(Error::Plain(format!("stat {}: no such file or directory", path.display())));
        }
        let wrap = |e: &dyn std::fmt::Display| {
            Error::Plain(format!("error loading config file {:?}: {e}", path.display().to_string()))
        };
        let read = Kubeconfig::read_from(&path).map_err(|e| wrap(&e))?;
        merged = Some(match merged {
            Some(before) => before.merge(read).map_err(|e| wrap(&e))?,
            None => read,
        });
    }
    Ok(merged)
}

pub async fn load(flags: &Flags) -> Result<Settings> {
    let found = kubeconfig(flags)?.filter(|k| !k.clusters.is_empty() || !k.contexts.is_empty());
    let mut config = match found {
        Some(kubeconfig) => from_file(kubeconfig, flags).await?,
        None => without_file(flags)?,
    };
    over(&mut config, flags)?;
    let given = flags.given("namespace");
    let namespace = if given { flags.text("namespace").to_owned() } else { config.default_namespace.clone() };
    let timeout = flags.duration("request-timeout", std::time::Duration::ZERO)?;
    Ok(Settings {
        config,
        namespace,
        namespace_given: given,
        timeout: (!timeout.is_zero()).then_some(timeout),
    })
}

async fn from_file(kubeconfig: Kubeconfig, flags: &Flags) -> Result<Config> {
    let word = |name: &str| flags.given(name).then(|| flags.text(name).to_owned());
    let context = word("context");
    let named = context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    if context.is_some() && !kubeconfig.contexts.iter().any(|c| c.name == named) {
        return Err(Error::Bare(format!(
            "Error in configuration: context was not found for specified context: {named}"
        )));
    }
    if named.is_empty() && !flags.given("cluster") {
        return without_file(flags);
    }
    let options = KubeConfigOptions { context, cluster: word("cluster"), user: word("user") };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| Error::Plain(e.to_string()))
}

/// In a pod its service account, else the port that servers once had.
fn without_file(flags: &Flags) -> Result<Config> {
    let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && !flags.given("server");
    if in_cluster && let Ok(config) = Config::incluster_env() {
        return Ok(config);
    }
    "http://localhost:8080".parse().map(Config::new).map_err(|_| Error::plain("no address"))
}

fn over(config: &mut Config, flags: &Flags) -> Result<()> {
    let text = |name: &str| flags.given(name).then(|| flags.text(name).to_owned());
    if let Some(server) = text("server") {
        let server = if server.contains("://") { server } else { format!("http://{server}") };
        config.cluster_url =
            server.parse().map_err(|_| Error::Plain(format!("--server={server} is no address")))?;
    }
    if let Some(path) = text("certificate-authority") {
        config.root_cert = Some(pem_certificates(&path)?);
    }
    config.accept_invalid_certs |= flags.on("insecure-skip-tls-verify");
    config.tls_server_name = text("tls-server-name").or(config.tls_server_name.take());
    config.read_timeout = None;
    let user = &mut config.auth_info;
    if let Some(token) = text("token") {
        (user.token, user.token_file) = (Some(token.into()), None);
    }
    if let Some(path) = text("client-certificate") {
        (user.client_certificate, user.client_certificate_data) = (Some(path), None);
    }
    if let Some(path) = text("client-key") {
        (user.client_key, user.client_key_data) = (Some(path), None);
    }
    user.impersonate = text("as").or(user.impersonate.take());
    user.impersonate_uid = text("as-uid").or(user.impersonate_uid.take());
    if flags.given("as-group") {
        user.impersonate_groups = Some(flags.all("as-group").to_vec());
    }
    Ok(())
}

fn pem_certificates(path: &str) -> Result<Vec<Vec<u8>>> {
    use rustls_pki_types::pem::PemObject as _;
    let wrap =
        |e: &dyn std::fmt::Display| Error::Plain(format!("unable to read certificate-authority {path}: {e}"));
    let found = rustls_pki_types::CertificateDer::pem_file_iter(path).map_err(|e| wrap(&e))?;
    found.map(|c| c.map(|c| c.to_vec()).map_err(|e| wrap(&e))).collect()
}
