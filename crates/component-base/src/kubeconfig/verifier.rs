//! Go's rule for server certificates: a chain to a root of the pool, or the presented certificate itself is in
//! the pool. And no rule at all, for where upstream has none either.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Verifies server certificates by that rule.
#[derive(Debug)]
pub struct LeafInPool {
    webpki: Arc<WebPkiServerVerifier>,
    pool: Vec<CertificateDer<'static>>,
}

impl LeafInPool {
    /// `roots`: the DER of each certificate of the pool. Errs where none is usable.
    pub fn new(roots: &[Vec<u8>]) -> Result<Arc<Self>, rustls::client::VerifierBuilderError> {
        let pool: Vec<_> = roots.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(pool.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build()?;
        Ok(Arc::new(Self { webpki, pool }))
    }

    /// The pool's certificate is trusted as it stands: its names and its time still count.
    fn is_pinned(&self, leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        if !self.pool.iter().any(|known| known.as_ref() == leaf.as_ref()) {
            return false;
        }
        let in_time = x509_parser::parse_x509_certificate(leaf).is_ok_and(|(_, parsed)| {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            (parsed.validity.not_before.timestamp()..=parsed.validity.not_after.timestamp()).contains(&now)
        });
        let named = ParsedCertificate::try_from(leaf)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok());
        in_time && named
    }
}

impl ServerCertVerifier for LeafInPool {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            Err(_) if self.is_pinned(leaf, name, now) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Takes any certificate: where upstream sets `InsecureSkipVerify`, as in probes. What signs the handshake is not
/// looked at, since a key that anybody may have proves nothing; so certificates too odd to read do no harm.
#[derive(Debug)]
pub struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
