//! Certificates that the kubelet asks the cluster for: its client certificate (`--bootstrap-kubeconfig`,
//! `rotateCertificates`) and its serving certificate (`serverTLSBootstrap`). KEP-266, KEP-267.
//!
//! [`keep`] holds one of them in its [`store::Store`] and renews it before it ends. Approving and signing is the
//! control plane's business; a request that nobody approves is made again with growing pauses.

mod bootstrap;
mod request;
mod rotating;
pub mod store;

use std::time::Duration;

use client::Api;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use bootstrap::{Sources, client};
pub use request::Wanted;
use store::{Store, Validity};

/// Signer of client certificates of kubelets.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signer of serving certificates of kubelets.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// Pauses between requests that failed.
const RETRY: Duration = Duration::from_secs(2);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key or the request could not be made.
    #[error("make a certificate request: {0}")]
    Make(#[from] rcgen::Error),
    /// The API server did not take or show the request.
    #[error(transparent)]
    Api(#[from] client::Error),
    /// Somebody refused it.
    #[error("certificate signing request {name} was {what}: {message}")]
    Refused {
        /// Name of the request.
        name: String,
        /// `denied` or `failed`.
        what: &'static str,
        /// The condition's words.
        message: String,
    },
    /// Nobody approved and signed it in time.
    #[error("certificate signing request {0} was not signed in time")]
    Unsigned(String),
    /// The files could not be written or read.
    #[error("{path}: {message}")]
    File {
        /// Path of the file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The API server of a kubeconfig cannot be spoken to.
    #[error(transparent)]
    Client(#[from] component_base::kubeconfig::ClientError),
}

/// When a certificate is to be renewed: after 70 to 90 % of its life, by `fraction` (0 to 1), so that the nodes of a
/// cluster do not all come at once.
#[must_use]
pub fn renewal(validity: Validity, fraction: f64) -> Timestamp {
    let life = validity.not_after.duration_since(validity.not_before).as_secs_f64();
    let part = Duration::try_from_secs_f64(life * (0.7 + 0.2 * fraction.clamp(0.0, 1.0))).unwrap_or_default();
    validity.not_before.checked_add(part).unwrap_or(validity.not_after)
}

/// Waits until a certificate is due, has a new one made, and begins anew; until `shutdown`. `initial` is the one in use
/// if it does not come from the store. `renewed` is told of every new one.
pub async fn keep(
    store: Store,
    wanted: Wanted,
    api: Api,
    initial: Option<Validity>,
    renewed: impl Fn(),
    shutdown: CancellationToken,
) {
    let work = async {
        let mut current = store.current().or(initial);
        loop {
            if let Some(validity) = current {
                wait_until(renewal(validity, rand::random())).await;
            }
            current = Some(issue(&store, &wanted, &api).await);
            renewed();
        }
    };
    let _ = shutdown.run_until_cancelled(work).await;
}

async fn wait_until(time: Timestamp) {
    let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left).await;
}

/// Asks until there is a certificate, and stores it.
pub async fn issue(store: &Store, wanted: &Wanted, api: &Api) -> Validity {
    let mut pause = RETRY;
    loop {
        let made = match request::issue(api, wanted).await {
            Ok(pair) => store.update(&pair.certificate, &pair.key, Timestamp::now()),
            Err(error) => Err(error),
        };
        match made {
            Ok(validity) => {
                tracing::info!(signer = wanted.signer, until = %validity.not_after, "a certificate was issued");
                return validity;
            }
            Err(error) => tracing::warn!(signer = wanted.signer, %error, "no certificate yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_well_before_the_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let validity = Validity { not_before: at(0), not_after: at(1000) };
        for (fraction, want) in [(0.0, 700), (0.5, 800), (1.0, 900)] {
            assert_eq!(renewal(validity, fraction).as_second(), want);
        }
    }
}
