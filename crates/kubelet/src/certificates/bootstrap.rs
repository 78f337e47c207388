//! How the kubelet comes to its client: by its kubeconfig, or first by the bootstrap kubeconfig, with whose token it
//! asks for a certificate and writes the kubeconfig.

use std::path::Path;
use std::sync::Arc;

use client::Api;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use tokio_util::sync::CancellationToken;

use super::rotating::Rotating;
use super::store::{Store, Validity};
use super::{CLIENT_SIGNER, CertificateError, Wanted, issue, keep};

/// Where credentials come from and go to.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// `--kubeconfig`
    pub kubeconfig: &'a Path,
    /// `--bootstrap-kubeconfig`, empty if there is none.
    pub bootstrap: &'a Path,
    /// `--cert-dir`
    pub folder: &'a Path,
    /// Whether the certificate is renewed (`rotateCertificates`).
    pub rotate: bool,
}

/// The client of the API server. Waits for the first certificate if there is only the bootstrap kubeconfig; keeps it
/// renewed until `shutdown` if `rotate` is set.
///
/// # Errors
/// If a kubeconfig cannot be used.
pub async fn client(
    sources: Sources<'_>,
    node: &str,
    shutdown: &CancellationToken,
) -> Result<kube::Client, CertificateError> {
    let store = Store::new(sources.folder, "kubelet-client");
    let wanted =
        Wanted { node: node.to_owned(), signer: CLIENT_SIGNER, usage: "client auth", names: Vec::new() };
    if !sources.bootstrap.as_os_str().is_empty() && !usable(sources.kubeconfig) {
        let config = component_base::kubeconfig::config_from_file(sources.bootstrap).await?;
        let api = Api::new(component_base::kubeconfig::client(config)?, "kubelet");
        if store.current().is_none() {
            tracing::info!("asking for the first client certificate with the bootstrap kubeconfig");
            let first = issue(&store, &wanted, &api);
            shutdown.run_until_cancelled(first).await;
        }
        write_kubeconfig(sources.bootstrap, sources.kubeconfig, &store.path())?;
    }
    if !sources.rotate {
        let config = component_base::kubeconfig::config_from_file(sources.kubeconfig).await?;
        return Ok(component_base::kubeconfig::client(config)?);
    }
    let (first, initial) = load(sources.kubeconfig, &store).await?;
    let rotating = Rotating::new(first);
    let client = rotating.client();
    let api = Api::new(client.clone(), "kubelet");
    let (kubeconfig, renewed) = (Arc::<Path>::from(sources.kubeconfig), store.clone());
    let replace = move || {
        let (kubeconfig, store, rotating) = (kubeconfig.clone(), renewed.clone(), rotating.clone());
        tokio::spawn(async move {
            match load(&kubeconfig, &store).await {
                Ok((fresh, _)) => rotating.replace(fresh),
                Err(error) => tracing::error!(%error, "the renewed client certificate cannot be used"),
            }
        });
    };
    tokio::spawn(keep(store, wanted, api, initial, replace, shutdown.clone()));
    Ok(client)
}

/// A client of the kubeconfig with the newest certificate of the store, if there is one, and when its certificate
/// holds.
async fn load(path: &Path, store: &Store) -> Result<(kube::Client, Option<Validity>), CertificateError> {
    let mut config = component_base::kubeconfig::config_from_file(path).await?;
    let auth = &mut config.auth_info;
    let validity = match store.current() {
        Some(validity) => {
            let newest = Some(store.path().display().to_string());
            (auth.client_certificate, auth.client_key) = (newest.clone(), newest);
            (auth.client_certificate_data, auth.client_key_data) = (None, None);
            Some(validity)
        }
        None => certificate_of(auth).and_then(|pem| Validity::of_pem(&pem)),
    };
    Ok((component_base::kubeconfig::client(config)?, validity))
}

fn certificate_of(auth: &kube::config::AuthInfo) -> Option<Vec<u8>> {
    use base64::Engine;
    match &auth.client_certificate_data {
        Some(data) => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        None => std::fs::read(auth.client_certificate.as_ref()?).ok(),
    }
}

/// Whether a kubeconfig is there, with a client certificate that holds, or with credentials of another kind.
fn usable(path: &Path) -> bool {
    let Ok(kubeconfig) = Kubeconfig::read_from(path) else { return false };
    let Some(auth) = kubeconfig.auth_infos.iter().find_map(|user| user.auth_info.as_ref()) else {
        return false;
    };
    if auth.client_certificate.is_none() && auth.client_certificate_data.is_none() {
        return auth.token.is_some() || auth.token_file.is_some() || auth.exec.is_some();
    }
    let pem = certificate_of(auth).unwrap_or_default();
    Validity::of_pem(&pem).is_some_and(|validity| validity.holds(Timestamp::now()))
}

/// The kubeconfig of the node: the bootstrap kubeconfig's server, the certificate of the store.
fn write_kubeconfig(bootstrap: &Path, path: &Path, pem: &Path) -> Result<(), CertificateError> {
    let wrong = |path: &Path, error: &dyn std::fmt::Display| CertificateError::File {
        path: path.display().to_string(),
        message: error.to_string(),
    };
    let from = Kubeconfig::read_from(bootstrap).map_err(|error| wrong(bootstrap, &error))?;
    let current = from.current_context.clone().unwrap_or_default();
    let context = from.contexts.iter().find(|context| context.name == current);
    let name = context.and_then(|context| context.context.as_ref()).map(|context| context.cluster.clone());
    let cluster = name.and_then(|name| from.clusters.into_iter().find(|cluster| cluster.name == name));
    let cluster = cluster.and_then(|cluster| cluster.cluster);
    let cluster = cluster.ok_or_else(|| wrong(bootstrap, &"the current context names no cluster"))?;
    let pem = pem.display().to_string();
    // JSON is YAML
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "default-context", "preferences": {},
        "clusters": [{"name": "default-cluster", "cluster": cluster}],
        "users": [{"name": "default-auth", "user": {"client-certificate": pem, "client-key": pem}}],
        "contexts": [{"name": "default-context", "context": {
            "cluster": "default-cluster", "namespace": "default", "user": "default-auth"}}],
    });
    let text = serde_json::to_vec_pretty(&config).map_err(|error| wrong(path, &error))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
    }
    use std::os::unix::fs::OpenOptionsExt;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    open.and_then(|mut file| std::io::Write::write_all(&mut file, &text)).map_err(|error| wrong(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_has_the_bootstraps_server() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("bootstrap"), folder.path().join("etc/kubelet.conf"));
        std::fs::write(
            &from,
            "apiVersion: v1\nkind: Config\ncurrent-context: b\nclusters: [{name: c, cluster: {server: 'https://a:1'}}]\n\
             users: [{name: u, user: {token: t}}]\ncontexts: [{name: b, context: {cluster: c, user: u}}]\n",
        )
        .unwrap();
        assert!(!usable(&to));
        let store = Store::new(folder.path(), "kubelet-client");
        write_kubeconfig(&from, &to, &store.path()).unwrap();
        let written = Kubeconfig::read_from(&to).unwrap();
        assert_eq!(written.clusters[0].cluster.as_ref().unwrap().server.as_deref(), Some("https://a:1"));
        assert!(!usable(&to), "the certificate is not there yet");
        let made = rcgen::generate_simple_self_signed(["n".to_owned()]).unwrap();
        store.update(&made.cert.pem(), &made.signing_key.serialize_pem(), Timestamp::now()).unwrap();
        assert!(usable(&to));
    }
}
