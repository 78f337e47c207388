//! Signed tokens (RFC 7515): keys out of PEM files, RSA (RS256) and P-256, P-384 (ES256, ES384), and the compact form.
//!
//! Deliberately absent: what a token claims, and whether that holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

use crate::pki::{self, read, tlv};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds none, or of another kind.
    #[error("{0}")]
    Key(String),
    #[error("the token could not be signed")]
    Signing,
}

const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
    Es384,
}

impl Algorithm {
    /// As the JWT header's `alg` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }

    fn verification(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        }
    }
}

/// One public key that tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    /// base64url of the SHA-256 of the key's SubjectPublicKeyInfo.
    pub id: String,
    /// RSA: PKCS#1; EC: the uncompressed point.
    raw: Vec<u8>,
}

impl PublicKey {
    fn from_spki(spki: &[u8]) -> Result<Self, Error> {
        let (_, info) = SubjectPublicKeyInfo::from_der(spki).map_err(|e| bad(format!("public key: {e}")))?;
        let raw = info.subject_public_key.data.to_vec();
        let curve = info.algorithm.parameters.as_ref().map(|p| p.data.to_vec()).unwrap_or_default();
        let algorithm = match info.algorithm.algorithm.as_bytes() {
            RSA_OID => Algorithm::Rs256,
            EC_OID if curve == P256_OID => Algorithm::Es256,
            EC_OID if curve == P384_OID => Algorithm::Es384,
            _ => return Err(bad("unknown public key type, must be RSA or ECDSA on P-256 or P-384".into())),
        };
        Ok(Self { algorithm, id: URL_SAFE_NO_PAD.encode(Sha256::digest(spki)), raw })
    }

    fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, Error> {
        let null: &[u8] = &[0x05, 0x00];
        let parameters = match algorithm {
            Algorithm::Rs256 => null.to_vec(),
            Algorithm::Es256 => tlv(0x06, P256_OID),
            Algorithm::Es384 => tlv(0x06, P384_OID),
        };
        let oid = tlv(0x06, if algorithm == Algorithm::Rs256 { RSA_OID } else { EC_OID });
        let identifier = tlv(0x30, &[oid, parameters].concat());
        let bits = tlv(0x03, &[&[0], raw].concat());
        Self::from_spki(&tlv(0x30, &[identifier, bits].concat()))
    }

    /// True if `signature` over `message` is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm.verification(), &self.raw).verify(message, signature).is_ok()
    }

    /// This key in a JSON Web Key Set (RFC 7517).
    pub fn jwk(&self) -> serde_json::Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            Algorithm::Rs256 => {
                let (n, e) = rsa_parts(&self.raw).unwrap_or_default();
                serde_json::json!({"use": "sig", "kty": "RSA", "kid": self.id, "alg": "RS256", "n": b64(n), "e": b64(e)})
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let point = self.raw.get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                serde_json::json!({"use": "sig", "kty": "EC", "kid": self.id, "crv": curve,
                    "alg": self.algorithm.name(), "x": b64(x), "y": b64(y)})
            }
        }
    }
}

/// Modulus and exponent without leading zeros.
fn rsa_parts(pkcs1: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, body, _) = read(pkcs1)?;
    let (_, n, rest) = read(body)?;
    let (_, e, _) = read(rest)?;
    Some((n.strip_prefix(&[0]).unwrap_or(n), e.strip_prefix(&[0]).unwrap_or(e)))
}

/// The keys of all `--service-account-key-file`s, in their order.
#[derive(Clone, Debug, Default)]
pub struct Keys(pub Vec<PublicKey>);

impl Keys {
    /// Every key in a PEM text: public keys, certificates, and the public halves of private keys.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for block in pki::blocks(pem) {
            match block.label.as_str() {
                "PUBLIC KEY" => keys.push(PublicKey::from_spki(&block.der)?),
                "RSA PUBLIC KEY" => keys.push(PublicKey::from_raw(Algorithm::Rs256, &block.der)?),
                "CERTIFICATE" => {
                    let (_, certificate) = X509Certificate::from_der(&block.der)
                        .map_err(|e| bad(format!("certificate: {e}")))?;
                    keys.push(PublicKey::from_spki(certificate.public_key().raw)?);
                }
                "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" => {
                    keys.push(SigningKey::from_block(&block)?.public);
                }
                _ => {}
            }
        }
        if keys.is_empty() {
            return Err(bad("data does not contain any valid RSA or ECDSA public keys".into()));
        }
        Ok(Self(keys))
    }

    /// The keys worth trying for a token: the one it names, or all.
    pub fn candidates<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a PublicKey> {
        let known = !kid.is_empty() && self.0.iter().any(|k| k.id == kid);
        self.0.iter().filter(move |k| !known || k.id == kid)
    }
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

/// The key of `--service-account-signing-key-file`.
pub struct SigningKey {
    pair: Pair,
    pub public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The first private key in a PEM text.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let blocks = pki::blocks(pem);
        let block = blocks.iter().find(|b| b.label.ends_with("PRIVATE KEY"));
        Self::from_block(
            block.ok_or_else(|| bad("data does not contain a valid RSA or ECDSA private key".into()))?,
        )
    }

    fn from_block(block: &pki::Block) -> Result<Self, Error> {
        match block.label.as_str() {
            "RSA PRIVATE KEY" => Self::rsa(RsaKeyPair::from_der(&block.der)),
            "EC PRIVATE KEY" => Self::ec(&sec1_to_pkcs8(&block.der)?),
            _ => RsaKeyPair::from_pkcs8(&block.der)
                .map_or_else(|_| Self::ec(&block.der), |pair| Self::rsa(Ok(pair))),
        }
    }

    fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Self, Error> {
        let pair = pair.map_err(|e| bad(format!("private key: {e}")))?;
        let public = PublicKey::from_raw(Algorithm::Rs256, pair.public_key().as_ref())?;
        Ok(Self { pair: Pair::Rsa(Box::new(pair)), public })
    }

    fn ec(pkcs8: &[u8]) -> Result<Self, Error> {
        let choices = [
            (Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ];
        for (algorithm, signing) in choices {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, pkcs8, &SystemRandom::new()) {
                let public = PublicKey::from_raw(algorithm, pair.public_key().as_ref())?;
                return Ok(Self { pair: Pair::Ec(Box::new(pair)), public });
            }
        }
        Err(bad("private key: neither RSA nor ECDSA on P-256 or P-384".into()))
    }

    /// The token that claims `payload`, a JSON object.
    pub fn token(&self, payload: &str) -> Result<String, Error> {
        let header = format!(r#"{{"alg":"{}","kid":"{}"}}"#, self.public.algorithm.name(), self.public.id);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The signature in the form that JWS has.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let rng = SystemRandom::new();
        let failed = |_| Error::Signing;
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &rng, message, &mut out).map_err(failed)?;
                Ok(out)
            }
            Pair::Ec(pair) => Ok(pair.sign(&rng, message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

/// Wraps SEC 1's ECPrivateKey, which ring does not read, as PKCS#8 (RFC 5958).
fn sec1_to_pkcs8(sec1: &[u8]) -> Result<Vec<u8>, Error> {
    let curve = if sec1.windows(P256_OID.len()).any(|w| w == P256_OID) {
        P256_OID
    } else if sec1.windows(P384_OID.len()).any(|w| w == P384_OID) {
        P384_OID
    } else {
        return Err(bad("private key: only the curves P-256 and P-384 are supported".into()));
    };
    let identifier = tlv(0x30, &[tlv(0x06, EC_OID), tlv(0x06, curve)].concat());
    Ok(tlv(0x30, &[tlv(0x02, &[0]), identifier, tlv(0x04, &without_parameters(sec1)?)].concat()))
}

/// ECPrivateKey without its optional parameters, which ring refuses inside PKCS#8.
fn without_parameters(sec1: &[u8]) -> Result<Vec<u8>, Error> {
    let malformed = || bad("private key: malformed EC key".into());
    let (_, mut rest, _) = read(sec1).ok_or_else(malformed)?;
    let mut body = Vec::new();
    while !rest.is_empty() {
        let (tag, content, after) = read(rest).ok_or_else(malformed)?;
        if tag != 0xa0 {
            body.extend(tlv(tag, content));
        }
        rest = after;
    }
    Ok(tlv(0x30, &body))
}

fn bad(text: String) -> Error {
    Error::Key(text)
}
