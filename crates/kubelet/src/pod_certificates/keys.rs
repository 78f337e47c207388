//! The keys of pods' certificates, and the stub certificate request that proves their possession: PKCS#8 (RFC 5958)
//! and PKCS#10 (RFC 2986), the latter without subject and attributes.

use p521::ecdsa::signature::Signer;
use p521::elliptic_curve::Generate;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

use super::{der, rsa};
use crate::pem;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b];
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 4, 0, 0x23];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const NULL: &[u8] = &[5, 0];

/// Why there is no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No kind of key that is known.
    #[error("unknown key type {0:?}")]
    Unknown(String),
    /// It could not be made.
    #[error("while generating {0} key")]
    Generate(&'static str),
}

/// A key and its request.
pub struct Made {
    /// The private key, PKCS#8 in PEM.
    pub key: String,
    /// The request, DER.
    pub request: Vec<u8>,
}

/// Signs a text, once.
type Sign = Box<dyn FnOnce(&[u8]) -> Option<Vec<u8>>>;

/// What a request is made of.
struct Parts {
    /// PKCS#8.
    private: Vec<u8>,
    /// SubjectPublicKeyInfo.
    public: Vec<u8>,
    /// AlgorithmIdentifier of the signature.
    algorithm: Vec<u8>,
    sign: Sign,
}

/// A key of a `keyType`, and its request. RSA keys take long: not for a thread that others wait for.
///
/// # Errors
/// [`KeyError`]
pub fn make(kind: &str) -> Result<Made, KeyError> {
    let (what, parts) = match kind {
        "RSA3072" => ("RSA 3072", rsa_key(3072)),
        "RSA4096" => ("RSA 4096", rsa_key(4096)),
        "ECDSAP256" => ("ECDSA P256", ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, P256, ECDSA_SHA256)),
        "ECDSAP384" => ("ECDSA P384", ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, P384, ECDSA_SHA384)),
        "ECDSAP521" => ("ECDSA P521", p521()),
        "ED25519" => ("Ed25519", ed25519()),
        other => return Err(KeyError::Unknown(other.to_owned())),
    };
    parts.and_then(request).ok_or(KeyError::Generate(what))
}

fn request(parts: Parts) -> Option<Made> {
    // version 0, an empty subject, the key, no attributes
    let info = der::sequence(&[&der::unsigned(&[0]), &der::sequence(&[]), &parts.public, &[0xa0, 0]]);
    let signature = (parts.sign)(&info)?;
    let request = der::sequence(&[&info, &parts.algorithm, &der::bits(&signature)]);
    let mut key = String::new();
    pem::push(&mut key, "PRIVATE KEY", &parts.private);
    Some(Made { key, request })
}

/// An AlgorithmIdentifier.
fn algorithm(name: &[u8], parameters: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::value(der::OID, &[name]), parameters])
}

fn public(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der::sequence(&[algorithm, &der::bits(key)])
}

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::unsigned(&[0]), algorithm, &der::value(der::OCTETS, &[key])])
}

fn rsa_key(bits: u32) -> Option<Parts> {
    let private = rsa::generate(bits)?;
    let pair = RsaKeyPair::from_der(&private).ok()?;
    let kind = algorithm(RSA, NULL);
    Some(Parts {
        private: pkcs8(&kind, &private),
        public: public(&kind, pair.public_key().as_ref()),
        algorithm: algorithm(RSA_SHA256, NULL),
        sign: Box::new(move |text| {
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
            Some(signature)
        }),
    })
}

fn elliptic(curve: &[u8]) -> Vec<u8> {
    algorithm(ELLIPTIC, &der::value(der::OID, &[curve]))
}

fn ecdsa(signing: &'static EcdsaSigningAlgorithm, curve: &[u8], signature: &[u8]) -> Option<Parts> {
    let rng = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(signing, &rng).ok()?;
    let pair = EcdsaKeyPair::from_pkcs8(signing, private.as_ref(), &rng).ok()?;
    Some(Parts {
        private: private.as_ref().to_vec(),
        public: public(&elliptic(curve), pair.public_key().as_ref()),
        algorithm: algorithm(signature, &[]),
        sign: Box::new(move |text| Some(pair.sign(&SystemRandom::new(), text).ok()?.as_ref().to_vec())),
    })
}

/// ECPrivateKey (RFC 5915) with the public key, as others write it.
fn p521() -> Option<Parts> {
    let key = p521::ecdsa::SigningKey::try_generate_from_rng(&mut rand::rng()).ok()?;
    let point = key.verifying_key().to_sec1_point(false);
    let secret = der::value(der::OCTETS, &[&key.to_bytes()]);
    let private =
        der::sequence(&[&der::unsigned(&[1]), &secret, &der::value(0xa1, &[&der::bits(point.as_bytes())])]);
    let kind = elliptic(P521);
    Some(Parts {
        private: pkcs8(&kind, &private),
        public: public(&kind, point.as_bytes()),
        algorithm: algorithm(ECDSA_SHA512, &[]),
        sign: Box::new(move |text| {
            let signature: p521::ecdsa::DerSignature = key.try_sign(text).ok()?;
            Some(signature.as_bytes().to_vec())
        }),
    })
}

/// RFC 8410, without the public key, which some readers refuse.
fn ed25519() -> Option<Parts> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).ok()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
    let kind = algorithm(ED25519, &[]);
    Some(Parts {
        private: pkcs8(&kind, &der::value(der::OCTETS, &[&seed])),
        public: public(&kind, pair.public_key().as_ref()),
        algorithm: kind,
        sign: Box::new(move |text| Some(pair.sign(text).as_ref().to_vec())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    /// Key and request of a kind, checked: the request is empty, and holds the PEM key's public one.
    fn made(kind: &str) -> (Vec<u8>, Vec<u8>) {
        let made = make(kind).unwrap();
        let private = pem::blocks(&made.key).remove(0);
        let (rest, request) = X509CertificationRequest::from_der(&made.request).unwrap();
        assert!(rest.is_empty());
        assert_eq!(request.certification_request_info.subject.to_string(), "");
        assert_eq!(request.certification_request_info.iter_attributes().count(), 0);
        if kind != "ECDSAP521" {
            request.verify_signature().unwrap();
        }
        let public = request.certification_request_info.subject_pki.subject_public_key.data.to_vec();
        (private, public)
    }

    #[test]
    fn requests_are_signed_with_the_key() {
        let rng = SystemRandom::new();
        for (kind, signing) in
            [("ECDSAP256", &ECDSA_P256_SHA256_ASN1_SIGNING), ("ECDSAP384", &ECDSA_P384_SHA384_ASN1_SIGNING)]
        {
            let (private, public) = made(kind);
            let pair = EcdsaKeyPair::from_pkcs8(signing, &private, &rng).unwrap();
            assert_eq!(pair.public_key().as_ref(), public, "{kind}");
        }
        let (private, public) = made("ED25519");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).unwrap();
        assert_eq!(pair.public_key().as_ref(), public);
    }

    #[test]
    fn p521_signs_what_its_public_key_verifies() {
        use p521::ecdsa::signature::Verifier;
        let (private, public) = made("ECDSAP521");
        assert!(private.windows(public.len()).any(|part| part == public));
        let request = make("ECDSAP521").unwrap().request;
        let (_, request) = X509CertificationRequest::from_der(&request).unwrap();
        let info = &request.certification_request_info;
        let key =
            p521::ecdsa::VerifyingKey::from_sec1_bytes(&info.subject_pki.subject_public_key.data).unwrap();
        let signature = p521::ecdsa::DerSignature::try_from(&*request.signature_value.data).unwrap();
        key.verify(info.raw, &signature).unwrap();
    }

    #[test]
    fn unknown_kinds_are_named() {
        assert_eq!(make("DSA").err(), Some(KeyError::Unknown("DSA".into())));
    }
}
