//! What becomes of a certificate signing request: who may have it approved, whether its signer takes it, when it
//! is cleaned up. Reads the request itself (PKCS #10), knows no keys.

use base64::Engine;
use client::{ObjectMeta, Time, view};
use compact_str::CompactString;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::views::{Condition, condition};

pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Csr {
    pub metadata: ObjectMeta,
    pub spec: CsrSpec,
    pub status: CsrStatus,
}

view!(Csr);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsrSpec {
    /// Base64 of PEM.
    pub request: String,
    pub signer_name: CompactString,
    pub usages: Vec<CompactString>,
    pub expiration_seconds: Option<i64>,
    pub username: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsrStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Base64 of PEM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
}

impl Csr {
    fn has(&self, kind: &str) -> bool {
        condition(&self.status.conditions, kind).is_some()
    }

    /// Neither approved nor denied.
    pub fn is_undecided(&self) -> bool {
        !self.has("Approved") && !self.has("Denied")
    }

    /// Approved, and neither signed nor refused yet.
    pub fn is_to_be_signed(&self) -> bool {
        let signer = [KUBELET_CLIENT, KUBELET_SERVING, CLIENT, LEGACY].contains(&&*self.spec.signer_name);
        signer
            && self.has("Approved")
            && !self.has("Denied")
            && !self.has("Failed")
            && self.status.certificate.is_empty()
    }

    fn is_used_for(&self, usages: &[&str]) -> bool {
        self.spec.usages.iter().any(|u| usages.contains(&&**u))
    }
}

/// What stands in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns: usize,
    pub addresses: usize,
    pub others: usize,
}

/// The PKCS #10 request of the object, in DER and read. None: it is none.
pub fn read(csr: &Csr) -> Option<(CertificateSigningRequestDer<'static>, Request)> {
    let pem = base64::engine::general_purpose::STANDARD.decode(&csr.spec.request).ok()?;
    let der = CertificateSigningRequestDer::from_pem_slice(&pem).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(&der).ok()?;
    let subject = &parsed.certification_request_info.subject;
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().unwrap_or_default().to_owned();
    let mut request = Request {
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        ..Request::default()
    };
    let names = parsed.requested_extensions().into_iter().flatten().filter_map(|e| match e {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    for name in names.flatten() {
        match name {
            GeneralName::DNSName(_) => request.dns += 1,
            GeneralName::IPAddress(_) => request.addresses += 1,
            _ => request.others += 1,
        }
    }
    Some((der, request))
}

/// Whether a signer takes the request; the reason if not.
pub fn check(csr: &Csr, request: &Request) -> Result<(), &'static str> {
    let node = request.organizations == ["system:nodes"] && request.common_name.starts_with("system:node:");
    let names = request.dns + request.addresses + request.others;
    let only = |allowed: &[&str]| csr.spec.usages.iter().all(|u| allowed.contains(&&**u));
    match &*csr.spec.signer_name {
        KUBELET_CLIENT if !node => Err("subject is not that of a node"),
        KUBELET_CLIENT if names > 0 => Err("subject alternative names are not allowed"),
        KUBELET_CLIENT
            if !only(&["key encipherment", "digital signature", "client auth"])
                || !csr.is_used_for(&["client auth"]) =>
        {
            Err("usages do not match")
        }
        KUBELET_SERVING if !node => Err("subject is not that of a node"),
        KUBELET_SERVING if request.others > 0 => Err("only DNS names and IP addresses are allowed"),
        KUBELET_SERVING if request.dns + request.addresses == 0 => {
            Err("a DNS name or an IP address is required")
        }
        KUBELET_SERVING
            if !only(&["key encipherment", "digital signature", "server auth"])
                || !csr.is_used_for(&["server auth"]) =>
        {
            Err("usages do not match")
        }
        KUBELET_SERVING if csr.spec.username != request.common_name => Err("requested by another user"),
        CLIENT if !csr.is_used_for(&["client auth"]) => Err("usages do not match"),
        _ => Ok(()),
    }
}

/// The permissions, as subresources of certificatesigningrequests, of which one lets a kubelet's client
/// certificate be approved, with the message of the approval.
pub fn approvals(csr: &Csr, request: &Request) -> Vec<(&'static str, &'static str)> {
    if csr.spec.signer_name != KUBELET_CLIENT || check(csr, request).is_err() {
        return vec![];
    }
    let any = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    let own = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
    if csr.spec.username == request.common_name { vec![own, any] } else { vec![any] }
}

/// Whether the object has served its time: an hour after a decision, a day without one, or its certificate ended
/// (`not_after`, in seconds since the epoch).
pub fn is_stale(csr: &Csr, not_after: Option<i64>, now: Time) -> bool {
    let older =
        |since: Option<Time>, seconds: i64| since.is_some_and(|t| now.seconds() - t.seconds() > seconds);
    let decided =
        |kind: &str| condition(&csr.status.conditions, kind).is_some_and(|c| older(c.last_update_time, 3600));
    decided("Approved")
        || decided("Denied")
        || decided("Failed")
        || (csr.is_undecided() && older(csr.metadata.creation_timestamp, 24 * 3600))
        || not_after.is_some_and(|end| now.seconds() > end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csr(signer: &str, user: &str, usages: &[&str]) -> Csr {
        let spec = CsrSpec {
            signer_name: signer.into(),
            username: user.into(),
            usages: usages.iter().map(|u| (*u).into()).collect(),
            ..CsrSpec::default()
        };
        Csr { spec, ..Csr::default() }
    }

    fn node() -> Request {
        Request {
            common_name: "system:node:n".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        }
    }

    #[test]
    fn kubelets_get_their_client_certificates() {
        let usages = ["digital signature", "client auth"];
        let own = approvals(&csr(KUBELET_CLIENT, "system:node:n", &usages), &node());
        assert_eq!(own.iter().map(|a| a.0).collect::<Vec<_>>(), ["selfnodeclient", "nodeclient"]);
        assert_eq!(approvals(&csr(KUBELET_CLIENT, "system:bootstrap:x", &usages), &node()).len(), 1);
        assert!(approvals(&csr(KUBELET_CLIENT, "u", &["server auth"]), &node()).is_empty());
        assert!(approvals(&csr(CLIENT, "u", &usages), &node()).is_empty());
        assert!(approvals(&csr(KUBELET_CLIENT, "u", &usages), &Request { dns: 1, ..node() }).is_empty());
    }

    #[test]
    fn signers_check_what_they_sign() {
        let serving = csr(KUBELET_SERVING, "system:node:n", &["digital signature", "server auth"]);
        assert_eq!(check(&serving, &node()), Err("a DNS name or an IP address is required"));
        assert_eq!(check(&serving, &Request { addresses: 1, ..node() }), Ok(()));
        assert_eq!(
            check(&csr(KUBELET_SERVING, "x", &["server auth"]), &Request { dns: 1, ..node() }),
            Err("requested by another user")
        );
        assert_eq!(check(&csr(CLIENT, "x", &["client auth"]), &Request::default()), Ok(()));
    }

    #[test]
    fn a_request_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let mut object = csr(KUBELET_CLIENT, "", &[]);
        object.spec.request = base64::engine::general_purpose::STANDARD.encode(pem);
        assert_eq!(read(&object).unwrap().1, Request { dns: 1, ..node() });
    }

    #[test]
    fn old_ones_are_stale() {
        let now = Time::now();
        let mut object = csr(CLIENT, "", &[]);
        let ago = |seconds: i64| Some(Time(jiff::Timestamp::from_second(now.seconds() - seconds).unwrap()));
        object.metadata.creation_timestamp = ago(3600);
        assert!(!is_stale(&object, None, now));
        object.metadata.creation_timestamp = ago(90_000);
        assert!(is_stale(&object, None, now));
        object.status.conditions =
            vec![Condition { kind: "Approved".into(), last_update_time: ago(60), ..Condition::default() }];
        assert!(!is_stale(&object, None, now));
        assert!(is_stale(&object, Some(now.seconds() - 1), now));
    }
}
