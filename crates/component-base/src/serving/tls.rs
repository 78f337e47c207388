//! The server's certificate, and how client certificates are asked for: any is taken in the handshake, whether
//! it is trusted is authentication's business (as in Go's RequestClientCert).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("reading {path}: {message}")]
    File { path: PathBuf, message: String },
    #[error("making a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    #[error("the certificate or its key: {0}")]
    Certificate(#[from] rustls::Error),
}

/// Where a server's certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Made in memory for these DNS names and addresses.
    SelfSigned {
        names: Vec<String>,
    },
    /// PEM text, such as of a certificate that the kubelet was issued.
    Pem {
        certificate: Vec<u8>,
        key: Vec<u8>,
    },
}

/// The certificate that a server shows; may be replaced while it serves. Clones share it.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    inner: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    files: Option<(PathBuf, PathBuf)>,
    changed: Option<SystemTime>,
    looked: Instant,
}

/// How often the files are looked at, at most, and only when a client connects.
const LOOK: Duration = Duration::from_secs(10);

impl ServerCertificate {
    pub fn new(source: &CertificateSource) -> Result<Self, TlsError> {
        let (key, files) = match source {
            CertificateSource::Files { certificate, key } => {
                (from_files(certificate, key)?, Some((certificate.clone(), key.clone())))
            }
            CertificateSource::SelfSigned { names } => (self_signed(names.clone())?, None),
            CertificateSource::Pem { certificate, key } => {
                (from_pem(certificate, key, Path::new("PEM"))?, None)
            }
        };
        let changed = files.as_ref().and_then(|(certificate, _)| modified(certificate));
        let shown = Shown { key: Arc::new(key), files, changed, looked: Instant::now() };
        Ok(Self { inner: Arc::new(Mutex::new(shown)) })
    }

    /// Shows another certificate from now on.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let key = from_pem(certificate, key, Path::new("PEM"))?;
        self.inner.lock().key = Arc::new(key);
        Ok(())
    }

    /// The configuration of a server that shows it; with `client_certificates` it asks for one.
    pub fn server_config(&self, client_certificates: bool) -> Result<Arc<ServerConfig>, TlsError> {
        crate::kubeconfig::install_crypto();
        let builder = ServerConfig::builder();
        let builder = if client_certificates {
            builder.with_client_cert_verifier(Arc::new(AnyClient::new()))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut shown = self.inner.lock();
        if let Some((certificate, key)) = shown.files.clone()
            && shown.looked.elapsed() >= LOOK
        {
            shown.looked = Instant::now();
            let changed = modified(&certificate);
            if changed != shown.changed {
                match from_files(&certificate, &key) {
                    Ok(fresh) => (shown.key, shown.changed) = (Arc::new(fresh), changed),
                    Err(e) => tracing::warn!("the serving certificate could not be read again: {e}"),
                }
            }
        }
        Some(shown.key.clone())
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn from_files(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| file_error(path, e));
    from_pem(&read(certificate)?, &read(key)?, certificate)
}

fn file_error(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File { path: path.into(), message: error.to_string() }
}

fn from_pem(certificate: &[u8], key: &[u8], path: &Path) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|e| file_error(path, e))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| file_error(path, e))?;
    certified(chain, &key)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<CertifiedKey, TlsError> {
    let key = rustls::crypto::ring::sign::any_supported_type(key)?;
    Ok(CertifiedKey::new(chain, key))
}

fn self_signed(names: Vec<String>) -> Result<CertifiedKey, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    certified(vec![made.cert.der().clone()], &key)
}

/// Every certificate of a PEM text.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| file_error(Path::new("PEM"), e))
}

/// Takes any client certificate whose key the client has.
#[derive(Debug)]
struct AnyClient {
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
}

impl AnyClient {
    fn new() -> Self {
        Self { algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
