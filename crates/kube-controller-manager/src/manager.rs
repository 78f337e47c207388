//! Starts the controllers that the flags name, once this process leads, beside the HTTPS server.

use std::sync::Arc;

use client::Api;
use client::leader::LeaderElection;
use component_base::health::Health;
use component_base::kubeconfig::{self, ClientError};
use component_base::serving::{Authentication, Authorization, ServingError, serve_component};
use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::informers::Informers;
use crate::options::{DEFAULT_PORT, Options};
use crate::{
    bootstrap, certificates, clusterroleaggregation, cronjob, daemonset, deployment, disruption, endpoints,
    endpointslice, endpointslicemirroring, garbagecollector, job, namespace, nodeipam, nodelifecycle,
    podautoscaler, podgc, replicaset, resourcequota, rootca, serviceaccount, serviceaccounttoken,
    statefulset, tainteviction, ttl, ttlafterfinished, validatingadmissionpolicystatus, volumebinder,
    volumeprotection,
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Serving(#[from] ServingError),
    #[error(transparent)]
    Authentication(#[from] component_base::serving::authn::AuthenticationError),
    #[error("{0:?} is not in the list of known controllers")]
    UnknownController(String),
    #[error("the leader's lease was lost")]
    LeaseLost,
}

type Start = fn(Context) -> BoxFuture<'static, ()>;

struct Entry {
    name: &'static str,
    /// The name before v1.28, which flags may still use.
    alias: &'static str,
    by_default: bool,
    start: Start,
}

macro_rules! controllers {
    ($($name:literal $alias:literal $by_default:literal => $start:expr;)*) => {
        &[$(Entry { name: $name, alias: $alias, by_default: $by_default, start: |c| Box::pin($start(c)) }),*]
    };
}

const CONTROLLERS: &[Entry] = controllers! {
    "replicaset-controller" "replicaset" true => |c| replicaset::run(c, replicaset::REPLICA_SETS);
    "replicationcontroller-controller" "replicationcontroller" true => |c| replicaset::run(c, replicaset::REPLICATION_CONTROLLERS);
    "deployment-controller" "deployment" true => deployment::run;
    "daemonset-controller" "daemonset" true => daemonset::run;
    "endpointslice-controller" "endpointslice" true => endpointslice::run;
    "endpoints-controller" "endpoint" true => endpoints::run;
    "endpointslice-mirroring-controller" "endpointslicemirroring" true => endpointslicemirroring::run;
    "namespace-controller" "namespace" true => namespace::run;
    "garbage-collector-controller" "garbagecollector" true => garbagecollector::run;
    "serviceaccount-controller" "serviceaccount" true => serviceaccount::run;
    "serviceaccount-token-controller" "serviceaccount-token" true => serviceaccounttoken::run;
    "root-ca-certificate-publisher-controller" "root-ca-cert-publisher" true => rootca::run;
    "pod-garbage-collector-controller" "podgc" true => podgc::run;
    "node-ipam-controller" "nodeipam" true => nodeipam::run;
    "node-lifecycle-controller" "nodelifecycle" true => nodelifecycle::run;
    "taint-eviction-controller" "taint-eviction-controller" true => tainteviction::run;
    "certificatesigningrequest-approving-controller" "csrapproving" true => certificates::run_approver;
    "certificatesigningrequest-signing-controller" "csrsigning" true => certificates::run_signer;
    "certificatesigningrequest-cleaner-controller" "csrcleaner" true => certificates::run_cleaner;
    "podcertificaterequest-cleaner-controller" "podcertificaterequest-cleaner" true => certificates::run_pod_request_cleaner;
    "kube-apiserver-serving-clustertrustbundle-publisher-controller" "kube-apiserver-serving-clustertrustbundle-publisher" true => certificates::run_trust_bundle_publisher;
    "bootstrap-signer-controller" "bootstrapsigner" false => bootstrap::run_signer;
    "token-cleaner-controller" "tokencleaner" false => bootstrap::run_cleaner;
    "clusterrole-aggregation-controller" "clusterrole-aggregation" true => clusterroleaggregation::run;
    "job-controller" "job" true => job::run;
    "ttl-controller" "ttl" true => ttl::run;
    "ttl-after-finished-controller" "ttl-after-finished" true => ttlafterfinished::run;
    "validatingadmissionpolicy-status-controller" "validatingadmissionpolicy-status" true => validatingadmissionpolicystatus::run;
    "statefulset-controller" "statefulset" true => statefulset::run;
    "resourcequota-controller" "resourcequota" true => resourcequota::run;
    "disruption-controller" "disruption" true => disruption::run;
    "horizontal-pod-autoscaler-controller" "horizontalpodautoscaling" true => podautoscaler::run;
    "cronjob-controller" "cronjob" true => cronjob::run;
    "persistentvolume-binder-controller" "persistentvolume-binder" true => volumebinder::run;
    "persistentvolumeclaim-protection-controller" "pvc-protection" true => volumeprotection::run_claims;
    "persistentvolume-protection-controller" "pv-protection" true => volumeprotection::run_volumes;
    "volumeattributesclass-protection-controller" "volumeattributesclass-protection-controller" true => volumeprotection::run_classes;
};

/// Upstream's controllers that are not built yet: name and alias.
const NOT_YET: &[(&str, &str)] = &[
    ("persistentvolume-attach-detach-controller", "attachdetach"),
    ("persistentvolume-expander-controller", "persistentvolume-expander"),
    ("ephemeral-volume-controller", "ephemeral-volume"),
    ("legacy-serviceaccount-token-cleaner-controller", "legacy-service-account-token-cleaner"),
    ("service-lb-controller", "service"),
    ("node-route-controller", "route"),
    ("cloud-node-lifecycle-controller", "cloud-node-lifecycle"),
    ("service-cidr-controller", "service-cidr"),
    ("storage-version-migrator-controller", "storage-version-migrator"),
    ("storageversion-garbage-collector-controller", "storage-version-gc"),
    ("selinux-warning-controller", "selinux-warning"),
    ("resourceclaim-controller", "resource-claim-controller"),
    ("device-taint-eviction-controller", "device-taint-eviction-controller"),
];

/// Runs until `shutdown`, or until the lease is lost.
pub async fn run(options: Options, client: kube::Client, shutdown: CancellationToken) -> Result<(), Error> {
    let chosen = choose(&options.controllers)?;
    let health = Health::new();
    let review = |path: &str, client: &kube::Client| {
        let (path, client) = (path.to_owned(), client.clone());
        async move {
            if path.is_empty() {
                return Ok::<_, ClientError>(Some(client));
            }
            kubeconfig::client(kubeconfig::config_from_file(path.as_ref()).await?).map(Some)
        }
    };
    let authn = review(&options.authentication.authentication_kubeconfig, &client).await?;
    let authz = review(&options.authorization.authorization_kubeconfig, &client).await?;
    let access = (
        Authentication::from_options(&options.authentication, authn).await?,
        Authorization::from_options(&options.authorization, authz),
    );
    let server = serve_component(&options.serving, DEFAULT_PORT, health, access, shutdown.clone()).await?;
    let bare = if options.use_service_account_credentials {
        Some(bare_client(&options, &client).await?)
    } else {
        None
    };
    let manager = Api::new(client, "kube-controller-manager");
    let options = Arc::new(options);
    let lead = {
        let (options, manager) = (options.clone(), manager.clone());
        move |leading: CancellationToken| start(options, manager, bare, chosen, leading)
    };
    let kept = if options.leader_election.leader_elect {
        LeaderElection::from_options(&options.leader_election, "kube-controller-manager")
            .run(&manager, shutdown, lead)
            .await
    } else {
        lead(shutdown).await;
        true
    };
    server.abort();
    if kept { Ok(()) } else { Err(Error::LeaseLost) }
}

/// The transport that service accounts' tokens go over: without the manager's certificate, which would win.
async fn bare_client(options: &Options, client: &kube::Client) -> Result<kube::Client, Error> {
    if options.client.kubeconfig.is_empty() && options.client.master.is_empty() {
        return Ok(client.clone());
    }
    let mut config = kubeconfig::config(&options.client).await?;
    config.auth_info = kube::config::AuthInfo::default();
    Ok(kubeconfig::client(config)?)
}

/// Runs the controllers until `leading` ends.
async fn start(
    options: Arc<Options>,
    manager: Api,
    bare: Option<kube::Client>,
    chosen: Vec<&'static Entry>,
    leading: CancellationToken,
) {
    let informers = Arc::new(Informers::new(
        manager.with_user_agent("kube-controller-manager/shared-informers"),
        leading.clone(),
    ));
    let context = Context { options, informers, shutdown: leading, manager, bare };
    let mut running = JoinSet::new();
    for entry in chosen {
        tracing::info!(controller = entry.name, "starting");
        running.spawn((entry.start)(context.clone()));
    }
    context.shutdown.cancelled().await;
    while let Some(ended) = running.join_next().await {
        if let Err(e) = ended {
            tracing::error!("a controller failed: {e}");
        }
    }
}

/// The controllers that `--controllers` names. An unknown name is an error, one that is not built a warning.
fn choose(names: &[String]) -> Result<Vec<&'static Entry>, Error> {
    let is = |entry: &Entry, name: &str| entry.name == name || entry.alias == name;
    for name in names.iter().map(|n| n.strip_prefix('-').unwrap_or(n)).filter(|n| *n != "*") {
        if let Some((missing, _)) = NOT_YET.iter().find(|(long, short)| *long == name || *short == name) {
            tracing::warn!("--controllers: {missing} is not built yet");
        } else if !CONTROLLERS.iter().any(|e| is(e, name)) {
            return Err(Error::UnknownController(name.into()));
        }
    }
    let is_on = |entry: &&Entry| {
        let named = |name: &str| is(entry, name);
        match names.iter().find(|n| named(n.strip_prefix('-').unwrap_or(n))) {
            Some(name) => !name.starts_with('-'),
            None => entry.by_default && names.iter().any(|n| n == "*"),
        }
    };
    Ok(CONTROLLERS.iter().filter(is_on).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<&'static str> {
        let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
        choose(&list).unwrap().iter().map(|e| e.name).collect()
    }

    #[test]
    fn controllers_are_chosen_by_name_and_alias() {
        assert!(names(&["*"]).contains(&"deployment-controller"));
        assert!(!names(&["*", "-deployment"]).contains(&"deployment-controller"));
        assert_eq!(names(&["deployment-controller", "route"]), ["deployment-controller"]);
        assert!(matches!(choose(&["nonsense".into()]), Err(Error::UnknownController(_))));
    }
}
