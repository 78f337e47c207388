//! The serving certificate: the files that flags name, or one that is made once and kept in `--cert-dir`.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use apiserver::server::Tls;
use arc_swap::ArcSwap;
use component_base::serving::tls::{CertificateSource, ServerCertificate};

use super::Error;
use crate::options::Serving;

/// The TLS configuration to listen with. A changed file is noticed at new connections.
pub fn tls(options: &Serving, names: &[String]) -> Result<Tls, Error> {
    if !matches!(options.tls_min_version.as_str(), "" | "VersionTLS12" | "VersionTLS13") {
        return Err(Error::Option(format!(
            "--tls-min-version={} is not supported: VersionTLS12 or VersionTLS13",
            options.tls_min_version
        )));
    }
    let source = match (options.tls_cert_file.as_str(), options.tls_private_key_file.as_str()) {
        ("", "") => generated(&options.cert_dir, names)?,
        ("", _) | (_, "") => {
            return Err(Error::Option("--tls-cert-file and --tls-private-key-file go together".into()));
        }
        (certificate, key) => CertificateSource::Files { certificate: certificate.into(), key: key.into() },
    };
    let certificate = ServerCertificate::new(&source)?;
    Ok(Tls(Arc::new(ArcSwap::from(certificate.server_config(true)?))))
}

/// `apiserver.crt` and `apiserver.key` of the folder, made if they are not there.
fn generated(folder: &str, names: &[String]) -> Result<CertificateSource, Error> {
    let folder = Path::new(folder);
    let (certificate, key) = (folder.join("apiserver.crt"), folder.join("apiserver.key"));
    if !certificate.exists() || !key.exists() {
        let made = rcgen::generate_simple_self_signed(names.to_vec())?;
        let failed = |source| Error::File { path: folder.display().to_string(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        write_private(&key, &made.signing_key.serialize_pem()).map_err(failed)?;
        std::fs::write(&certificate, made.cert.pem()).map_err(failed)?;
    }
    Ok(CertificateSource::Files { certificate, key })
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Names under which clients reach the server.
pub fn names(advertise: IpAddr, service: Option<IpAddr>) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .iter()
    .map(|n| (*n).to_owned())
    .collect();
    names.push("127.0.0.1".into());
    names.push(component_base::hostname());
    names.push(advertise.to_string());
    names.extend(service.map(|ip| ip.to_string()));
    names.dedup();
    names
}
