//! Client certificates: the chain is verified against a CA bundle for client authentication, and the subject
//! becomes the user. No revocation lists (upstream has none either).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::auth::{Authenticated, Peer};
use apiserver::request::UserInfo;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Error, pki};

/// The subject attribute that carries a user's uid.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// A bundle of CA certificates that client certificates are verified against.
pub struct CaPool {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<Vec<u8>>,
}

impl CaPool {
    /// Of all certificates in a PEM text. Errors when there is none.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let certificates = pki::certificates(pem);
        if certificates.is_empty() {
            return Err(Error::Config("data does not contain any valid RSA or ECDSA certificates".into()));
        }
        let mut anchors = Vec::with_capacity(certificates.len());
        for der in &certificates {
            let der = CertificateDer::from(der.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der)
                .map_err(|e| Error::Config(format!("a CA certificate cannot be read: {e}")))?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self { anchors, certificates })
    }

    /// Subjects (DER) for the TLS handshake's list of acceptable authorities.
    pub fn subjects(&self) -> Vec<Vec<u8>> {
        self.anchors.iter().map(|a| pki::tlv(0x30, &a.subject)).collect()
    }

    /// Verifies a chain, leaf first, for client authentication at `now`.
    pub fn verify(&self, chain: &[Vec<u8>], now: jiff::Timestamp) -> Result<(), Error> {
        let (leaf, rest) = chain.split_first().ok_or_else(|| Error::Credentials("no certificate".into()))?;
        let leaf_der = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<CertificateDer<'_>> =
            rest.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().max(0).unsigned_abs()));
        let verified = EndEntityCert::try_from(&leaf_der).and_then(|end| {
            end.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &intermediates,
                time,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map(drop)
        });
        match verified {
            Ok(()) => Ok(()),
            Err(_) if self.holds(leaf, now) => Ok(()),
            Err(e) => Err(Error::Credentials(format!("x509: {e}"))),
        }
    }

    /// Go's rule: a leaf that is itself in the pool needs no issuer, only its time and usage.
    fn holds(&self, leaf: &[u8], now: jiff::Timestamp) -> bool {
        if !self.certificates.iter().any(|c| c == leaf) {
            return false;
        }
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return false };
        let validity = certificate.validity();
        let in_time =
            (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now.as_second());
        let usage = match certificate.extended_key_usage() {
            Ok(Some(eku)) => eku.value.any || eku.value.client_auth,
            Ok(None) => true,
            Err(_) => false,
        };
        in_time && usage
    }
}

impl std::fmt::Debug for CaPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaPool").field("certificates", &self.certificates.len()).finish()
    }
}

/// The common name of a certificate; "" where it has none.
pub fn common_name(der: &[u8]) -> Result<String, Error> {
    let (_, certificate) = parse(der)?;
    Ok(first_cn(&certificate))
}

fn parse(der: &[u8]) -> Result<(&[u8], X509Certificate<'_>), Error> {
    X509Certificate::from_der(der)
        .map_err(|e| Error::Credentials(format!("x509: malformed certificate: {e}")))
}

fn first_cn(certificate: &X509Certificate<'_>) -> String {
    // Go keeps the last of several.
    certificate
        .subject()
        .iter_common_name()
        .last()
        .and_then(|a| a.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// Subject to user: CN is the name, each O a group. None without a CN.
pub fn user_of(der: &[u8]) -> Result<Option<UserInfo>, Error> {
    let (_, certificate) = parse(der)?;
    let name = first_cn(&certificate);
    if name.is_empty() {
        return Ok(None);
    }
    let groups = certificate
        .subject()
        .iter_organization()
        .filter_map(|a| a.as_str().ok().map(str::to_owned))
        .collect();
    let mut uids =
        certificate.subject().iter_attributes().filter(|a| a.attr_type().to_id_string() == UID_OID);
    let uid = match (uids.next(), uids.next()) {
        (None, _) => String::new(),
        (Some(one), None) => {
            one.as_str().map_err(|_| Error::Credentials("unable to parse UID".into()))?.to_owned()
        }
        (Some(_), Some(_)) => return Err(Error::Credentials("expected 1 UID, but found multiple".into())),
    };
    let id: String = Sha256::digest(der).iter().map(|b| format!("{b:02x}")).collect();
    let extra = BTreeMap::from([(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![format!("X509SHA256={id}")],
    )]);
    Ok(Some(UserInfo { name, uid, groups, extra }))
}

/// Authentication by client certificate. Remembers what it verified: a connection sends the same chain with each
/// request.
#[derive(Debug)]
pub struct X509 {
    pool: CaPool,
    seen: super::cache::Cache<[u8; 32], Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    user: Option<Arc<UserInfo>>,
    until: i64,
}

fn with_group(mut user: UserInfo) -> Arc<UserInfo> {
    user.groups.push(super::AUTHENTICATED.into());
    Arc::new(user)
}

/// How long a verification counts, in seconds: the chain's own expiry is looked at again after it.
const REMEMBER_SECONDS: i64 = 60;

impl X509 {
    pub fn new(pool: CaPool) -> Self {
        Self { pool, seen: super::cache::Cache::new(2048) }
    }

    pub fn authenticate(&self, peer: &Peer, now: jiff::Timestamp) -> Result<Option<Authenticated>, Error> {
        let Some(leaf) = peer.certificates.first() else { return Ok(None) };
        let mut hash = Sha256::new();
        peer.certificates.iter().for_each(|c| hash.update(c));
        let key: [u8; 32] = hash.finalize().into();
        let seen = match self.seen.get(&key) {
            Some(seen) if seen.until > now.as_second() => seen,
            _ => {
                self.pool.verify(&peer.certificates, now)?;
                let seen =
                    Seen { user: user_of(leaf)?.map(with_group), until: now.as_second() + REMEMBER_SECONDS };
                self.seen.put(key, seen.clone());
                seen
            }
        };
        Ok(seen.user.map(|user| Authenticated { user, audiences: Vec::new() }))
    }
}
