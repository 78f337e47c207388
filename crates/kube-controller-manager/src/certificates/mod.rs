//! Approves kubelets' client certificates, signs approved requests, and cleans old ones up. Beside them: the cleaner
//! of pods' requests, and the publisher of the API server's trust anchors.

pub mod plan;
mod pod_requests;
mod sign;
mod trust_bundle;

pub use pod_requests::run_pod_request_cleaner;
pub use trust_bundle::run_trust_bundle_publisher;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use client::{Api, DeleteOptions, Error, Informer, ObjectKey, Store, Time, WorkQueue, resource};
use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::context::{Context, on_change};
use crate::views::Condition;
use plan::Csr;
use sign::Authority;

const CLEAN_EVERY: Duration = Duration::from_secs(3600);

/// An informer of the kind and a queue of what passes `concerns`.
async fn watch(
    context: &Context,
    name: &'static str,
    concerns: fn(&Csr) -> bool,
) -> (Store<Csr>, WorkQueue<ObjectKey>) {
    let csrs: Informer<Csr> = context.informers.certificate_signing_requests();
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(name);
    let enqueue = queue.clone();
    on_change(&csrs, move |_, csr, deleted| {
        if !deleted && concerns(csr) {
            enqueue.add(csr.metadata.key());
        }
    });
    csrs.wait_synced().await;
    (csrs.store(), queue)
}

/// The approver; runs until shutdown.
pub async fn run_approver(context: Context) {
    let api = context.api("certificate-controller").await;
    let (csrs, queue) = watch(&context, "certificate_approver", Csr::is_undecided).await;
    let sync = move |key| {
        let (api, csrs) = (api.clone(), csrs.clone());
        async move { approve(&api, &csrs, &key).await.map(|()| None) }
    };
    context.work(&queue, 5, "csrapproving", sync).await;
}

async fn approve(api: &Api, csrs: &Store<Csr>, key: &ObjectKey) -> Result<(), Error> {
    let Some(csr) = csrs.get_key(key).filter(|c| c.is_undecided() && c.status.certificate.is_empty()) else {
        return Ok(());
    };
    let Some((_, request)) = plan::read(&csr) else { return Ok(()) };
    for (subresource, message) in plan::approvals(&csr, &request) {
        if !may(api, &csr, subresource).await? {
            continue;
        }
        let mut status = csr.status.clone();
        let now = Time::now();
        let approved = Condition::new("Approved", "True", "AutoApproved", message, now);
        status.conditions.push(Condition { last_update_time: Some(now), ..approved });
        return put(api, &csr, "approval", &status).await;
    }
    Ok(())
}

/// Whether the requester may create this subresource (SubjectAccessReview).
async fn may(api: &Api, csr: &Csr, subresource: &str) -> Result<bool, Error> {
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": csr.spec.username, "uid": csr.spec.uid, "groups": csr.spec.groups, "extra": csr.spec.extra,
            "resourceAttributes": {
                "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
                "subresource": subresource, "version": "*",
            },
        },
    });
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let answer: Value =
        api.request(Method::POST, path, Some(("application/json", body.to_string().into_bytes()))).await?;
    Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true)))
}

async fn put(api: &Api, csr: &Csr, subresource: &str, status: &plan::CsrStatus) -> Result<(), Error> {
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": csr.metadata, "status": status,
        "spec": {"request": csr.spec.request, "signerName": csr.spec.signer_name, "usages": csr.spec.usages},
    });
    let kind = &resource::CERTIFICATE_SIGNING_REQUESTS;
    match api.update::<IgnoredAny>(kind, "", &csr.metadata.name, subresource, &body).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// The signer; runs until shutdown, without an authority it ends at once.
pub async fn run_signer(context: Context) {
    let files = &context.options.certificates;
    if files.cluster_signing_cert_file.is_empty() || files.cluster_signing_key_file.is_empty() {
        return;
    }
    let (certificate, key) =
        (files.cluster_signing_cert_file.as_ref(), files.cluster_signing_key_file.as_ref());
    let authority = match Authority::load(certificate, key, files.cluster_signing_duration.0) {
        Ok(authority) => Arc::new(authority),
        Err(e) => return tracing::error!("certificates will not be signed: {e}"),
    };
    let api = context.api("certificate-controller").await;
    let (csrs, queue) = watch(&context, "certificate_signer", Csr::is_to_be_signed).await;
    let sync = move |key| {
        let (api, csrs, authority) = (api.clone(), csrs.clone(), authority.clone());
        async move { sign(&api, &csrs, &authority, &key).await.map(|()| None) }
    };
    context.work(&queue, 5, "csrsigning", sync).await;
}

async fn sign(api: &Api, csrs: &Store<Csr>, authority: &Authority, key: &ObjectKey) -> Result<(), Error> {
    let Some(csr) = csrs.get_key(key).filter(|c| c.is_to_be_signed()) else { return Ok(()) };
    let mut status = csr.status.clone();
    match certificate(&csr, authority) {
        Ok(pem) => status.certificate = base64::engine::general_purpose::STANDARD.encode(pem),
        // Requests of the oldest signer that it does not take are left alone.
        Err(_) if csr.spec.signer_name == plan::LEGACY => return Ok(()),
        Err(why) => {
            let now = Time::now();
            let failed = Condition::new("Failed", "True", "SignerValidationFailure", why, now);
            status.conditions.push(Condition { last_update_time: Some(now), ..failed });
        }
    }
    put(api, &csr, "status", &status).await
}

fn certificate(csr: &Csr, authority: &Authority) -> Result<String, String> {
    let (der, request) = plan::read(csr).ok_or("the request is no PKCS #10 request in PEM")?;
    plan::check(csr, &request)?;
    let wish = csr
        .spec
        .expiration_seconds
        .and_then(|s| u64::try_from(s).ok())
        .map(|s| Duration::from_secs(s.max(600)));
    authority.sign(&der, &csr.spec.usages, wish).map_err(|e| e.to_string())
}

/// The cleaner; runs until shutdown.
pub async fn run_cleaner(context: Context) {
    let api = context.api("certificate-controller").await;
    let csrs = context.informers.certificate_signing_requests();
    csrs.wait_synced().await;
    loop {
        for csr in csrs.store().list() {
            if plan::is_stale(&csr, not_after(&csr), Time::now()) {
                let options = DeleteOptions::uid(&csr.metadata.uid);
                let deleted = api
                    .delete(&resource::CERTIFICATE_SIGNING_REQUESTS, "", &csr.metadata.name, &options)
                    .await;
                if let Err(e) = deleted {
                    tracing::debug!(csr = %csr.metadata.name, "cleaning it up: {e}");
                }
            }
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = tokio::time::sleep(CLEAN_EVERY) => {}
        }
    }
}

fn not_after(csr: &Csr) -> Option<i64> {
    let pem = base64::engine::general_purpose::STANDARD.decode(&csr.status.certificate).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
}
