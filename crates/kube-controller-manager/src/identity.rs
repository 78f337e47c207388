//! In whose name a controller acts: the manager's own, or with `--use-service-account-credentials` the service
//! account `kube-system/NAME`, by a token (TokenRequest) that is renewed before it ends.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use client::api::Bearer;
use client::{Api, Error, Resource, resource};
use http::HeaderValue;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "kube-system";
const LIFETIME_SECONDS: i64 = 3600;

#[derive(Deserialize)]
struct TokenRequest {
    status: TokenStatus,
}

#[derive(Deserialize)]
struct TokenStatus {
    token: String,
}

/// A client that acts as the service account `name`, over `bare` (which brings no credentials of its own). The
/// account is made if it is not there. The token is renewed until `shutdown`.
pub async fn service_account(
    manager: &Api,
    bare: &kube::Client,
    name: &str,
    shutdown: &CancellationToken,
) -> Api {
    let bearer: Bearer = Arc::new(ArcSwapOption::empty());
    renew_until_done(manager, name, &bearer, shutdown).await;
    let (own, account, cell, stop) = (manager.clone(), name.to_owned(), bearer.clone(), shutdown.clone());
    tokio::spawn(async move {
        loop {
            // A fifth of its life before the end, and not all controllers at once.
            let seconds = LIFETIME_SECONDS.unsigned_abs() * 4 / 5 - rand::random_range(0..300);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            }
            renew_until_done(&own, &account, &cell, &stop).await;
        }
    });
    Api::new(
        bare.clone(),
        &format!(
            "kube-controller-manager/{} system:serviceaccount:{NAMESPACE}:{name}",
            env!("CARGO_PKG_VERSION")
        ),
    )
    .with_bearer(bearer)
}

async fn renew_until_done(manager: &Api, name: &str, bearer: &Bearer, shutdown: &CancellationToken) {
    let mut wait = Duration::from_millis(100);
    loop {
        match renew(manager, name, bearer).await {
            Ok(()) => return,
            Err(e) => tracing::debug!(account = name, "no token yet: {e}"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(10)),
        }
    }
}

async fn renew(manager: &Api, name: &str, bearer: &Bearer) -> Result<(), Error> {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": null, "expirationSeconds": LIFETIME_SECONDS},
    });
    let answer = match ask(manager, name, &request).await {
        Err(e) if e.is_not_found() => {
            create_account(manager, name).await?;
            ask(manager, name, &request).await?
        }
        other => other?,
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", answer.status.token))
        .map_err(|e| Error::Request(e.into()))?;
    value.set_sensitive(true);
    bearer.store(Some(Arc::new(value)));
    Ok(())
}

async fn ask(manager: &Api, name: &str, request: &serde_json::Value) -> Result<TokenRequest, Error> {
    manager.create_subresource(&resource::SERVICE_ACCOUNTS, NAMESPACE, name, "token", request).await
}

/// The account, and first its namespace where that is missing.
async fn create_account(manager: &Api, name: &str) -> Result<(), Error> {
    match create(manager, &resource::SERVICE_ACCOUNTS, NAMESPACE, name).await {
        Err(e) if e.is_not_found() => {
            create(manager, &resource::NAMESPACES, "", NAMESPACE).await?;
            create(manager, &resource::SERVICE_ACCOUNTS, NAMESPACE, name).await
        }
        other => other,
    }
}

async fn create(manager: &Api, kind: &Resource, namespace: &str, name: &str) -> Result<(), Error> {
    let body = json!({"apiVersion": "v1", "kind": kind.kind, "metadata": {"name": name}});
    match manager.create::<IgnoredAny>(kind, namespace, &body).await {
        Err(e) if !e.is_already_exists() => Err(e),
        _ => Ok(()),
    }
}
