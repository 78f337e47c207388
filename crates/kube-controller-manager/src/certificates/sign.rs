//! Signs requests with the cluster's authority.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateSigningRequestParams, ExtendedKeyUsagePurpose as Extended, IsCa, Issuer, KeyPair,
    KeyUsagePurpose as Usage,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("reading {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("the authority's key: {0}")]
    Key(String),
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
}

/// The authority of `--cluster-signing-cert-file` and `--cluster-signing-key-file`.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    longest: Duration,
}

/// Clocks may differ by so much.
const BACKDATE: Duration = Duration::from_secs(300);

impl Authority {
    pub fn load(certificate: &Path, key: &Path, longest: Duration) -> Result<Self, SignError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|source| SignError::Read { path: path.display().to_string(), source })
        };
        let issuer = Issuer::from_ca_cert_pem(&read(certificate)?, key_pair(&read(key)?)?)?;
        Ok(Self { issuer, longest })
    }

    /// A certificate in PEM for what is asked, for these usages, for at most `wish`.
    pub fn sign(
        &self,
        request: &CertificateSigningRequestDer<'_>,
        usages: &[impl AsRef<str>],
        wish: Option<Duration>,
    ) -> Result<String, SignError> {
        let mut request = CertificateSigningRequestParams::from_der(request)?;
        let now = SystemTime::now();
        let params = &mut request.params;
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + wish.unwrap_or(self.longest).min(self.longest)).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        (params.key_usages, params.extended_key_usages) = purposes(usages);
        Ok(request.signed_by(&self.issuer)?.pem())
    }
}

fn purposes(usages: &[impl AsRef<str>]) -> (Vec<Usage>, Vec<Extended>) {
    let (mut plain, mut extended) = (Vec::new(), Vec::new());
    for usage in usages {
        match usage.as_ref() {
            "signing" | "digital signature" => plain.push(Usage::DigitalSignature),
            "content commitment" => plain.push(Usage::ContentCommitment),
            "key encipherment" => plain.push(Usage::KeyEncipherment),
            "key agreement" => plain.push(Usage::KeyAgreement),
            "data encipherment" => plain.push(Usage::DataEncipherment),
            "cert sign" => plain.push(Usage::KeyCertSign),
            "crl sign" => plain.push(Usage::CrlSign),
            "encipher only" => plain.push(Usage::EncipherOnly),
            "decipher only" => plain.push(Usage::DecipherOnly),
            "any" => extended.push(Extended::Any),
            "server auth" => extended.push(Extended::ServerAuth),
            "client auth" => extended.push(Extended::ClientAuth),
            "code signing" => extended.push(Extended::CodeSigning),
            "email protection" | "s/mime" => extended.push(Extended::EmailProtection),
            "timestamping" => extended.push(Extended::TimeStamping),
            "ocsp signing" => extended.push(Extended::OcspSigning),
            _ => {}
        }
    }
    plain.dedup();
    (plain, extended)
}

/// Keys as PKCS #8, and RSA keys also in their older form (PKCS #1).
fn key_pair(pem: &str) -> Result<KeyPair, SignError> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| SignError::Key(e.to_string()))?;
    let pkcs8 = match key {
        PrivateKeyDer::Pkcs8(key) => key,
        PrivateKeyDer::Pkcs1(key) => PrivatePkcs8KeyDer::from(wrap_rsa(key.secret_pkcs1_der())),
        _ => return Err(SignError::Key("an EC key must be in PKCS #8 form".into())),
    };
    KeyPair::try_from(&pkcs8).map_err(SignError::Certificate)
}

/// PKCS #8 around PKCS #1: version 0, algorithm rsaEncryption, the key as an octet string.
fn wrap_rsa(key: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = &[
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
        0x00,
    ];
    let mut inner = HEAD.to_vec();
    inner.push(0x04);
    inner.extend(length(key.len()));
    inner.extend_from_slice(key);
    let mut outer = vec![0x30];
    outer.extend(length(inner.len()));
    outer.extend(inner);
    outer
}

/// DER's length octets.
fn length(n: usize) -> Vec<u8> {
    if n < 0x80 {
        return vec![n as u8];
    }
    let bytes: Vec<u8> = n.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
    let mut out = vec![0x80 | bytes.len() as u8];
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_certificate_has_the_usages_and_the_issuer() {
        let dir = std::env::temp_dir().join(format!("sign-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "the ca");
        std::fs::write(dir.join("ca.crt"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        std::fs::write(dir.join("ca.key"), ca_key.serialize_pem()).unwrap();
        let authority =
            Authority::load(&dir.join("ca.crt"), &dir.join("ca.key"), Duration::from_secs(3600)).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        let key = KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let pem = authority.sign(request.der(), &["client auth", "digital signature"], None).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let cert = pem.parse_x509().unwrap();
        assert!(cert.issuer().to_string().contains("the ca"));
        assert!(cert.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert!(!cert.is_ca());
        assert!(cert.validity().not_after.timestamp() - cert.validity().not_before.timestamp() <= 3900);
    }

    #[test]
    fn lengths() {
        assert_eq!(
            (length(5), length(200), length(0x1234)),
            (vec![5], vec![0x81, 200], vec![0x82, 0x12, 0x34])
        );
    }
}
