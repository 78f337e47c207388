//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest: who may approve
//! and sign requests of a signer and publish its trust anchors, and which subjects a client certificate may not have.

use std::sync::Arc;

use api::Value;
use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::auth;
use apiserver::resource::Objects;
use async_trait::async_trait;
use base64::Engine as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::context::{forbidden, is};
use crate::authn::pki;
use crate::authz::Authorization;

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";

/// May the request's user do `verb` to this signer, by its name or its domain's `*`?
fn may(authorization: &Authorization, a: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        authorization.allows(&auth::Attributes {
            user: &a.cx.user,
            verb,
            is_resource: true,
            path: "",
            group: GROUP,
            version: "*",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
            label_selector: "",
            field_selector: "",
        })
    })
}

fn signer(a: &Attributes<'_>) -> String {
    a.old_object.as_deref().map_or("", |o| o.str_at(&["spec", "signerName"])).to_owned()
}

pub struct Approval {
    authorization: Arc<Authorization>,
}

impl Approval {
    pub fn new(_: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }
}

#[async_trait]
impl Plugin for Approval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if !is(a, GROUP, RESOURCE, "approval") {
            return Ok(());
        }
        let signer = signer(a);
        if may(&self.authorization, a, "approve", &signer) {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

pub struct Signing {
    authorization: Arc<Authorization>,
}

impl Signing {
    pub fn new(_: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }
}

#[async_trait]
impl Plugin for Signing {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if !is(a, GROUP, RESOURCE, "status") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (&a.object, &a.old_object) else { return Ok(()) };
        let status = |o: &Value, field: &str| o.at(&["status", field]).cloned();
        let same = |field: &str| status(new, field) == status(old, field);
        if same("certificate") && same("conditions") {
            return Ok(());
        }
        let signer = signer(a);
        if may(&self.authorization, a, "sign", &signer) {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

/// Who writes a bundle of a signer may `attest` for it.
pub struct Attest {
    authorization: Arc<Authorization>,
}

impl Attest {
    pub fn new(authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }
}

/// Whether two states of an object differ at most in what the garbage collector and the migration of the store write.
fn same_but_for_references(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        let own = ["ownerReferences", "finalizers", "managedFields"];
        own.iter().for_each(|field| drop(object.remove_at(&["metadata", field])));
        object
    };
    rest(new) == rest(old)
}

#[async_trait]
impl Plugin for Attest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(new) = a.object.as_ref().filter(|_| is(a, GROUP, "clustertrustbundles", "")) else {
            return Ok(());
        };
        let signer = new.str_at(&["spec", "signerName"]);
        let old = a.old_object.as_deref();
        if signer.is_empty()
            || old.is_some_and(|old| same_but_for_references(new, old))
            || may(&self.authorization, a, "attest", signer)
        {
            return Ok(());
        }
        Err(forbidden(a, format!("user not permitted to attest for signerName {signer:?}")))
    }
}

/// Who answers a PodCertificateRequest may `sign` for its signer. Upstream does this in the storage of the kind; here
/// it is a plugin that is always on.
pub struct PodCertificateSigning {
    authorization: Arc<Authorization>,
}

impl PodCertificateSigning {
    pub fn new(authorization: Arc<Authorization>) -> Self {
        Self { authorization }
    }
}

#[async_trait]
impl Plugin for PodCertificateSigning {
    fn name(&self) -> &'static str {
        "PodCertificateRequestSigning"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if !is(a, GROUP, "podcertificaterequests", "status") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (&a.object, &a.old_object) else { return Ok(()) };
        let signer = signer(a);
        if new.get("status") == old.get("status") || may(&self.authorization, a, "sign", &signer) {
            return Ok(());
        }
        let why = format!("User {:?} is not permitted to \"sign\" for signer {signer:?}", a.cx.user.name);
        let error = Error::forbidden(&Path::new("spec").child("signerName"), why);
        let kind = GroupKind { group: GROUP.into(), kind: "PodCertificateRequest".into() };
        Err(Status::invalid(&kind, a.name, &[error]))
    }
}

/// The subject of a CertificateSigningRequest object: common name and organizations. None if it cannot be read.
pub fn subject(object: &Value) -> Option<(String, Vec<String>)> {
    let pem = base64::engine::general_purpose::STANDARD.decode(object.str_at(&["spec", "request"])).ok()?;
    let blocks = pki::blocks(std::str::from_utf8(&pem).ok()?);
    let block = blocks.iter().find(|b| b.label == "CERTIFICATE REQUEST")?;
    let (_, request) = X509CertificationRequest::from_der(&block.der).ok()?;
    let subject = &request.certification_request_info.subject;
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().map(str::to_owned).ok();
    let name = subject.iter_common_name().last().and_then(text).unwrap_or_default();
    Some((name, subject.iter_organization().filter_map(text).collect()))
}

pub struct SubjectRestriction;

#[async_trait]
impl Plugin for SubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
        let Some(object) = a.object.as_ref().filter(|_| is(a, GROUP, RESOURCE, "")) else { return Ok(()) };
        if object.str_at(&["spec", "signerName"]) != SIGNER {
            return Ok(());
        }
        let Some((_, groups)) = subject(object) else {
            return Err(forbidden(a, "unable to parse spec.request"));
        };
        if groups.iter().any(|g| g == crate::authz::SUPERUSERS) {
            return Err(forbidden(
                a,
                format!("use of {SIGNER} signer with system:masters group is not allowed"),
            ));
        }
        Ok(())
    }
}
