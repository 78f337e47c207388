//! One CertificateSigningRequest: made, then watched until it is signed or refused.

use std::time::Duration;

use base64::Engine;
use client::{Api, Event, Informer, InformerOptions, ObjectMeta, Resource};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::CertificateError;

const REQUESTS: Resource = Resource::of(
    "certificates.k8s.io",
    "v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    false,
);
/// After this long a request is given up, and another one made.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What a certificate is to be for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Name of the node.
    pub node: String,
    /// The signer's name.
    pub signer: &'static str,
    /// What it may be used for, besides signatures: `client auth` or `server auth`.
    pub usage: &'static str,
    /// DNS names and addresses that it is for.
    pub names: Vec<String>,
}

/// A certificate and its key, both PEM.
pub(super) struct Pair {
    pub certificate: String,
    pub key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    metadata: ObjectMeta,
    status: RequestStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RequestStatus {
    conditions: Option<Vec<Condition>>,
    /// PEM in base64.
    certificate: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    reason: String,
    message: String,
}

client::view!(Request);

/// What became of a request so far.
fn outcome(request: &Request) -> Option<Result<String, CertificateError>> {
    for condition in request.status.conditions.iter().flatten() {
        let what = match condition.kind.as_str() {
            "Denied" => "denied",
            "Failed" => "failed",
            _ => continue,
        };
        let message = format!("{} {}", condition.reason, condition.message);
        return Some(Err(CertificateError::Refused {
            name: request.metadata.name.to_string(),
            what,
            message,
        }));
    }
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(request.status.certificate.as_ref()?).ok()?;
    String::from_utf8(bytes).ok().filter(|pem| !pem.is_empty()).map(Ok)
}

/// The key, and the request for it in PEM.
fn make(wanted: &Wanted) -> Result<(KeyPair, String), CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", wanted.node));
    for name in &wanted.names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    let pem = params.serialize_request(&key)?.pem()?;
    Ok((key, pem))
}

/// Asks for one certificate and waits for it.
pub(super) async fn issue(api: &Api, wanted: &Wanted) -> Result<Pair, CertificateError> {
    let (key, pem) = make(wanted)?;
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64::engine::general_purpose::STANDARD.encode(pem),
            "signerName": wanted.signer,
            // an elliptic key enciphers nothing
            "usages": ["digital signature", wanted.usage],
        },
    });
    let made: Request = api.create(&REQUESTS, "", &body).await?;
    let name = made.metadata.name.to_string();
    tracing::info!(name, signer = wanted.signer, "asked for a certificate");
    let certificate = match tokio::time::timeout(LIMIT, signed(api, &name)).await {
        Ok(signed) => signed?,
        Err(_) => return Err(CertificateError::Unsigned(name)),
    };
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// Follows the request until something became of it.
async fn signed(api: &Api, name: &str) -> Result<String, CertificateError> {
    let options =
        InformerOptions { field_selector: format!("metadata.name={name}"), ..InformerOptions::default() };
    let informer = Informer::<Request>::new(api.clone(), REQUESTS, options);
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    informer.add_handler(move |event| {
        if let Event::Added(request) | Event::Modified { new: request, .. } = event
            && let Some(outcome) = outcome(request)
        {
            let _ = sender.send(outcome);
        }
    });
    let end = CancellationToken::new();
    let _guard = end.clone().drop_guard();
    drop(informer.start(end));
    outcomes.recv().await.unwrap_or_else(|| Err(CertificateError::Unsigned(name.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: serde_json::Value) -> Request {
        serde_json::from_value(json!({"metadata": {"name": "csr-1"}, "status": status})).unwrap()
    }

    #[test]
    fn tells_what_became_of_it() {
        assert!(outcome(&request(json!({}))).is_none());
        assert!(outcome(&request(json!({"conditions": [{"type": "Approved"}]}))).is_none());
        let signed = request(json!({"conditions": [{"type": "Approved"}], "certificate": "cGVt"}));
        assert_eq!(outcome(&signed).unwrap().unwrap(), "pem");
        let denied = request(json!({"conditions": [{"type": "Denied", "reason": "No", "message": "never"}]}));
        let error = outcome(&denied).unwrap().unwrap_err().to_string();
        assert_eq!(error, "certificate signing request csr-1 was denied: No never");
    }

    #[test]
    fn the_subject_is_the_node() {
        let names = vec!["n1".to_owned(), "10.0.0.1".to_owned()];
        let wanted =
            Wanted { node: "n1".into(), signer: super::super::SERVING_SIGNER, usage: "server auth", names };
        let (_, pem) = make(&wanted).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        use x509_parser::prelude::FromDer;
        let (_, parsed) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents).unwrap();
        let subject = parsed.certification_request_info.subject.to_string();
        assert!(subject.contains("CN=system:node:n1") && subject.contains("O=system:nodes"), "{subject}");
        assert_eq!(parsed.requested_extensions().unwrap().count(), 1);
    }
}
