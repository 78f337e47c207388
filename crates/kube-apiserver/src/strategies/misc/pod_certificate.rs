//! PodCertificateRequest (KEP-4317): who asks for which pod, with a stub request that proves the key; and its one
//! answer, a chain to that key, a denial or a failure.
//!
//! Deliberately absent: the public key and proof in fields of their own, which only v1beta1 has.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, ErrorType, Path};
use apimachinery::names;
use base64::Engine as _;
use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::super::cells;
use super::super::fields::{Fields, map_at, of};
use super::super::kind::{Kind, PLAIN, StatusField};
use super::super::validation;
use super::signers;
use crate::authn::pki;

/// Bytes of the stub request, of a UID, of a chain.
const LONGEST_STUB: usize = 10 * 1024;
const LONGEST_UID: usize = 128;
const LONGEST_CHAIN: usize = 100 * 1024;
/// Seconds: an hour, a day, 91 days.
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const LONGEST_LIFE: i64 = 91 * DAY;
/// Seconds between the server's clock and a certificate's beginning; and around the time to renew it.
const SKEW: i64 = 300;
const MARGIN: i64 = 600;
const OVER: [&str; 3] = ["Issued", "Denied", "Failed"];

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

pub const POD_CERTIFICATE_REQUEST: Kind = Kind {
    status: StatusField::Own,
    validate_create: |object, errors| create(map_at(object, &["spec"]), errors),
    validate_update: |object, old, errors| errors.extend(validation::immutable(object, old, &["spec"])),
    validate_status: |object, old, errors| status(object, old, Timestamp::now(), errors),
    cells: Some(|o, _| {
        let spec = |name: &str| Value::from(o.str_at(&["spec", name]));
        let annotations = map_at(o, &["spec", "unverifiedUserAnnotations"]);
        vec![
            cells::name(o),
            spec("podName"),
            spec("serviceAccountName"),
            spec("nodeName"),
            spec("signerName"),
            state(o).unwrap_or("Pending").into(),
            cells::or_none(&pairs(annotations)),
        ]
    }),
    unconditional_update: false,
    ..PLAIN
};

fn pairs(map: &Map) -> String {
    let mut pairs: Vec<_> =
        map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort();
    pairs.join(",")
}

/// What became of a request.
fn state(object: &Value) -> Option<&'static str> {
    let conditions = object.list_at(&["status", "conditions"]);
    let of = |kind: &'static str| {
        let is = |c: &Value| c.str_at(&["type"]) == kind && c.str_at(&["status"]) == "True";
        conditions.iter().any(is).then_some(kind)
    };
    OVER.into_iter().find_map(of)
}

/// Invalid, without showing the value.
fn bare(path: &Path, why: impl Into<String>) -> Error {
    Error { kind: ErrorType::Invalid, field: path.clone(), value: None, detail: why.into() }
}

fn shown(path: &Path, value: String, why: impl Into<String>) -> Error {
    Error { value: Some(value), ..bare(path, why) }
}

fn create(spec: &Map, errors: &mut ErrorList) {
    let path = Path::new("spec");
    let signer = spec.text("signerName");
    signers::signer_name(signer, &path.child("signerName"), errors);
    if let Some(annotations) = spec.sub("unverifiedUserAnnotations") {
        signers::user_annotations(annotations, &path.child("unverifiedUserAnnotations"), errors);
    }
    for (name, uid) in
        [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")]
    {
        let text = spec.text(name);
        let wrong = names::dns1123_subdomain(text).into_iter();
        errors.extend(wrong.map(|why| Error::invalid(&path.child(name), text, why)));
        match spec.text(uid).len() {
            0 => errors.push(Error::invalid(&path.child(uid), "", "must not be empty")),
            1..=LONGEST_UID => {}
            _ => errors.push(Error::too_long(&path.child(uid), LONGEST_UID)),
        }
    }
    let at = path.child("maxExpirationSeconds");
    let Some(seconds) = spec.int("maxExpirationSeconds") else {
        errors.push(Error::required(&at, "must be set"));
        return;
    };
    let longest = if signer.starts_with("kubernetes.io/") { DAY } else { LONGEST_LIFE };
    if !(HOUR..=longest).contains(&seconds) {
        errors.push(Error::invalid(&at, &seconds, format!("must be in the range [{HOUR}, {longest}]")));
    }
    if spec.text("stubPKCS10Request").is_empty() {
        let why = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set";
        errors.push(bare(&path, why));
    } else {
        errors.extend(stub(spec).err());
    }
}

/// The stub request's DER.
fn stub_der(spec: &Map) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(spec.text("stubPKCS10Request")).unwrap_or_default()
}

/// A stub request is one for a key of a known kind, and signed with it. Nothing else in it counts.
fn stub(spec: &Map) -> Result<(), Error> {
    let at = Path::new("spec").child("stubPKCS10Request");
    let der = stub_der(spec);
    if der.len() > LONGEST_STUB {
        return Err(Error::too_long(&at, LONGEST_STUB));
    }
    let invalid = || bare(&at, "must be a valid PKCS#10 CSR");
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| invalid())?;
    if !rest.is_empty() {
        return Err(invalid());
    }
    let public = &request.certification_request_info.subject_pki;
    known_key(public, &at)?;
    if signed(&request) { Ok(()) } else { Err(bare(&at, "invalid signature")) }
}

fn curve(public: &SubjectPublicKeyInfo<'_>) -> String {
    let oid = public.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    oid.map(|oid| oid.to_id_string()).unwrap_or_default()
}

fn known_key(public: &SubjectPublicKeyInfo<'_>, at: &Path) -> Result<(), Error> {
    const ED25519: &str = "1.3.101.112";
    match public.parsed() {
        Ok(PublicKey::RSA(key)) => match key.key_size() {
            3072 | 4096 => Ok(()),
            bits => {
                let why = "RSA keys must have modulus size 3072 or 4096";
                Err(shown(at, format!("{:?}", format!("{bits}-bit modulus")), why))
            }
        },
        Ok(PublicKey::EC(_)) => match curve(public).as_str() {
            P256 | P384 | P521 => Ok(()),
            _ => Err(shown(
                at,
                "\"curve P-224\"".to_owned(),
                "elliptic public keys must use curve P256, P384, or P521",
            )),
        },
        _ if public.algorithm.algorithm.to_id_string() == ED25519 => Ok(()),
        _ => Err(bare(at, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")),
    }
}

/// Whether a request is signed with its own key. P-521 is what the general code does not know.
fn signed(request: &X509CertificationRequest<'_>) -> bool {
    let info = &request.certification_request_info;
    if curve(&info.subject_pki) != P521 {
        return request.verify_signature().is_ok();
    }
    use p521::ecdsa::signature::hazmat::PrehashVerifier;
    let digest = match request.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.3" => &ring::digest::SHA384,
        "1.2.840.10045.4.3.4" => &ring::digest::SHA512,
        _ => return false,
    };
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&info.subject_pki.subject_public_key.data);
    let signature = p521::ecdsa::DerSignature::try_from(&*request.signature_value.data);
    let (Ok(key), Ok(signature)) = (key, signature) else { return false };
    let Ok(signature) = p521::ecdsa::Signature::try_from(signature) else { return false };
    key.verify_prehash(ring::digest::digest(digest, info.raw).as_ref(), &signature).is_ok()
}

/// A change of the status: from nothing to one of the three ends.
fn status(new: &Value, old: &Value, now: Timestamp, errors: &mut ErrorList) {
    conditions(new, errors);
    if !errors.is_empty() {
        return;
    }
    let (path, changed) = (Path::new("status"), !new_status_is_old(new, old));
    let refused = match (state(old), state(new)) {
        (Some(_), _) if changed => {
            Some(bare(&path, "immutable after PodCertificateRequest is issued, denied, or failed"))
        }
        (Some(_), _) => None,
        (None, Some("Issued")) => issued(new, old, now, errors).err(),
        (None, Some(_)) => {
            let status = map_at(new, &["status"]);
            let more = ["certificateChain", "notBefore", "notAfter", "beginRefreshAt"];
            let why =
                "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
            more.iter().any(|name| status.has(name)).then(|| bare(&path, why))
        }
        (None, None) => {
            let why = "status is immutable unless transitioning to \"Issued\", \"Denied\", or \"Failed\"";
            changed.then(|| bare(&path, why))
        }
    };
    errors.extend(refused);
}

fn new_status_is_old(new: &Value, old: &Value) -> bool {
    of(new).same(of(old), "status")
}

fn conditions(new: &Value, errors: &mut ErrorList) {
    let list = new.list_at(&["status", "conditions"]);
    let path = Path::new("status").child("conditions");
    let mut known = 0;
    for (index, condition) in list.iter().enumerate() {
        // upstream writes the index as a name
        let at = path.child(&format!("[{index}]"));
        let (kind, status) = (condition.str_at(&["type"]), condition.str_at(&["status"]));
        if !OVER.contains(&kind) {
            errors.push(Error::not_supported(&at.child("type"), kind, &["Denied", "Failed", "Issued"]));
            continue;
        }
        known += 1;
        if known > 1 {
            let why = "There may be at most one condition with type \"Issued\", \"Denied\", or \"Failed\"";
            errors.push(Error::invalid(&at.child("type"), kind, why));
        }
        if status != "True" {
            errors.push(Error::not_supported(&at.child("status"), status, &["True"]));
        }
    }
    signers::conditions(list, &path, errors);
}

/// The answer with a chain.
fn issued(new: &Value, old: &Value, now: Timestamp, errors: &mut ErrorList) -> Result<(), Error> {
    let (status, path) = (map_at(new, &["status"]), Path::new("status"));
    let at = path.child("certificateChain");
    let chain = status.text("certificateChain");
    if chain.len() > LONGEST_CHAIN {
        return Err(Error::too_long(&at, LONGEST_CHAIN));
    }
    let invalid = |why: &str| Error::invalid(&at, chain, why);
    let blocks = pki::blocks(chain);
    let leaf = blocks
        .first()
        .ok_or_else(|| invalid("issued certificate chain must contain at least one certificate"))?;
    let of_certificates = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks";
    if leaf.label != "CERTIFICATE" {
        return Err(invalid(of_certificates));
    }
    let (_, certificate) = x509_parser::parse_x509_certificate(&leaf.der)
        .map_err(|_| invalid("leaf certificate does not parse as valid X.509"))?;
    alternative_names(&certificate, &at, errors);
    let der = stub_der(map_at(old, &["spec"]));
    let (_, request) = X509CertificationRequest::from_der(&der)
        .map_err(|_| bare(&Path::new("spec").child("stubPKCS10Request"), "must be a valid PKCS#10 CSR"))?;
    let wanted = &request.certification_request_info.subject_pki;
    if wanted.subject_public_key != certificate.public_key().subject_public_key {
        return Err(invalid("leaf certificate was not issued to the requested public key"));
    }
    let longest = map_at(new, &["spec"]).int("maxExpirationSeconds").unwrap_or_default();
    times(status, &certificate, longest, now, errors)?;
    for block in &blocks[1..] {
        if block.label != "CERTIFICATE" {
            return Err(invalid(of_certificates));
        }
        if x509_parser::parse_x509_certificate(&block.der).is_err() {
            return Err(invalid("intermediate certificate does not parse as valid X.509"));
        }
    }
    Ok(())
}

fn alternative_names(certificate: &X509Certificate<'_>, at: &Path, errors: &mut ErrorList) {
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        let found = match name {
            GeneralName::DNSName("") => Some(("", "leaf certificate should not contain empty DNSName")),
            GeneralName::DNSName(name) if name.contains("..") => {
                Some((*name, "leaf certificate's DNSName should not contain '..'"))
            }
            GeneralName::DNSName(name) if name.starts_with('.') || name.ends_with('.') => {
                Some((*name, "leaf certificate's DNSName should not start or end with '.'"))
            }
            GeneralName::RFC822Name(name) if !is_address(name) => {
                Some((*name, "leaf certificate should not contain invalid EmailAddress"))
            }
            _ => None,
        };
        errors.extend(found.map(|(name, why)| Error::invalid(at, name, why)));
    }
}

/// `who@domain`.
fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(who, domain)| {
        let bad = |c: char| c.is_whitespace() || "<>()[],;:\\\"".contains(c);
        !who.is_empty() && !domain.is_empty() && !text.contains(bad)
    })
}

/// The times of the status are the certificate's, it begins now, lives as long as it may, and is renewed in time.
fn times(
    status: &Map,
    certificate: &X509Certificate<'_>,
    longest: i64,
    now: Timestamp,
    errors: &mut ErrorList,
) -> Result<(), Error> {
    let path = Path::new("status");
    let mut read = |name: &str, why: &str| {
        let time = status.text(name).parse::<Timestamp>().ok();
        if time.is_none() {
            errors.push(Error::required(&path.child(name), why));
        }
        time
    };
    let consistent = "must be present and consistent with the issued certificate";
    let times = (
        read("notBefore", consistent),
        read("notAfter", consistent),
        read("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
    );
    let (Some(begin), Some(end), Some(refresh)) = times else { return Ok(()) };
    let go = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
    let wrong = |name: &str, time: Timestamp, why: &str| Err(shown(&path.child(name), go(time), why));
    let validity = certificate.validity();
    if begin.as_second() != validity.not_before.timestamp() {
        return wrong(
            "notBefore",
            begin,
            "must be set to the NotBefore time encoded in the leaf certificate",
        );
    }
    if (begin.as_second() - now.as_second()).abs() >= SKEW {
        let why = "must be set to within 5 minutes of kube-apiserver's current time";
        return wrong("notBefore", begin, why);
    }
    if end.as_second() != validity.not_after.timestamp() {
        return wrong("notAfter", end, "must be set to the NotAfter time encoded in the leaf certificate");
    }
    let life = end.as_second() - begin.as_second();
    let chain = path.child("certificateChain");
    if life < HOUR {
        return Err(shown(&chain, duration(life), "leaf certificate lifetime must be >= 1 hour"));
    }
    if life > longest {
        let why = format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest})");
        return Err(shown(&chain, duration(life), why));
    }
    if refresh.as_second() < begin.as_second() + MARGIN {
        return wrong("beginRefreshAt", refresh, "must be at least 10 minutes after status.notBefore");
    }
    if refresh.as_second() > end.as_second() - MARGIN {
        return wrong("beginRefreshAt", refresh, "must be at least 10 minutes before status.notAfter");
    }
    Ok(())
}

/// As Go writes a duration of seconds.
fn duration(seconds: i64) -> String {
    let length = std::time::Duration::from_secs(seconds.max(0).unsigned_abs());
    component_base::flags::GoDuration(length).to_string()
}

#[cfg(test)]
mod tests;
