//! PodCertificateRequests of nodes (KEP-4317): a node asks for pods that run on it, with their own service account,
//! and for signers that they name or that it may ask.

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation};
use apiserver::auth;

use super::super::context::{MIRROR, NODES, PODS, SERVICE_ACCOUNTS, forbidden};
use super::{NodeRestriction, word};

/// What a request is refused with.
enum Refusal {
    /// For good.
    Forbidden(String),
    /// What it names may not be known here yet.
    Stale(String),
}

use Refusal::{Forbidden, Stale};

impl NodeRestriction {
    pub(super) fn pod_certificate_request(&self, node: &str, a: &Attributes<'_>) -> Result<(), Status> {
        self.examine(node, a).map_err(|refusal| match refusal {
            Forbidden(why) => forbidden(a, why),
            Stale(why) => Status::internal(why),
        })
    }

    fn examine(&self, node: &str, a: &Attributes<'_>) -> Result<(), Refusal> {
        if a.operation != Operation::Create {
            return Err(Forbidden(format!("unexpected operation {}", word(a.operation))));
        }
        if !a.subresource.is_empty() {
            return Err(Forbidden(format!("unexpected subresource {}", a.subresource)));
        }
        let Some(request) = &a.object else { return Ok(()) };
        let spec = |field: &str| request.str_at(&["spec", field]);
        if spec("nodeName") != node {
            return Err(Forbidden(format!(
                "PodCertificateRequest.Spec.NodeName={:?}, which is not the requesting node {node:?}",
                spec("nodeName")
            )));
        }
        let shown = format!("{}/{}", a.namespace, spec("podName"));
        self.same_node(request, node, &shown)?;
        let pod = self.named_pod(request, a, &shown)?;
        self.same_account(request, &pod, a, &shown)?;
        let signer = spec("signerName");
        if names_signer(&pod, signer) || self.may_ask(a, signer, spec("serviceAccountName")) {
            return Ok(());
        }
        let why =
            format!("pod {shown:?} does not mount a podCertificate projected volume for signer {signer:?}");
        Err(Forbidden(why))
    }

    fn same_node(&self, request: &Value, node: &str, shown: &str) -> Result<(), Refusal> {
        let Some(stored) = self.objects.get(&NODES, "", node) else {
            let why = format!(
                "while retrieving node {node:?} named in the PodCertificateRequest: node {node:?} not found"
            );
            return Err(Stale(why));
        };
        let (uid, running) = (request.str_at(&["spec", "nodeUID"]), stored.value.uid());
        if uid == running {
            return Ok(());
        }
        Err(Stale(format!(
            "PodCertificateRequest for pod {shown:?} names node UID {uid:?}, inconsistent with the running node ({running:?})"
        )))
    }

    fn named_pod(
        &self,
        request: &Value,
        a: &Attributes<'_>,
        shown: &str,
    ) -> Result<std::sync::Arc<Value>, Refusal> {
        let spec = |field: &str| request.str_at(&["spec", field]);
        let Some(pod) = self.objects.get(&PODS, a.namespace, spec("podName")) else {
            let name = spec("podName");
            return Err(Stale(format!(
                "while retrieving pod {shown:?} named in the PodCertificateRequest: pod {name:?} not found"
            )));
        };
        let (pod, uid) = (pod.value, spec("podUID"));
        if pod.uid() != uid {
            return Err(Stale(format!(
                "PodCertificateRequest for pod {shown:?} contains pod UID ({uid:?}) which differs from running pod {:?}",
                pod.uid()
            )));
        }
        if pod.str_at(&["spec", "nodeName"]) != spec("nodeName") {
            let node = spec("nodeName");
            return Err(Forbidden(format!(
                "pod {shown:?} is not running on node {node:?} named in the PodCertificateRequest"
            )));
        }
        if pod.meta().annotation(MIRROR).is_some() {
            return Err(Forbidden(format!("pod {shown:?} is a mirror pod")));
        }
        Ok(pod)
    }

    fn same_account(
        &self,
        request: &Value,
        pod: &Value,
        a: &Attributes<'_>,
        shown: &str,
    ) -> Result<(), Refusal> {
        let name = request.str_at(&["spec", "serviceAccountName"]);
        let of_pod = pod.str_at(&["spec", "serviceAccountName"]);
        if name != of_pod {
            return Err(Forbidden(format!(
                "PodCertificateRequest for pod {shown:?} contains serviceAccountName ({name:?}) that differs from running pod ({of_pod:?})"
            )));
        }
        let Some(account) = self.objects.get(&SERVICE_ACCOUNTS, a.namespace, name) else {
            let full = format!("{}/{name}", a.namespace);
            return Err(Stale(format!(
                "while retrieving service account {full:?} named in the PodCertificateRequest: serviceaccount {name:?} not found"
            )));
        };
        let (uid, running) = (request.str_at(&["spec", "serviceAccountUID"]), account.value.uid());
        if uid == running {
            return Ok(());
        }
        Err(Stale(format!(
            "PodCertificateRequest for pod {shown:?} names service account UID {uid:?}, which differs from the running service account ({running:?})"
        )))
    }

    /// A signer's slash is no part of a resource's name: it becomes a colon, as in names of trust bundles.
    fn may_ask(&self, a: &Attributes<'_>, signer: &str, account: &str) -> bool {
        self.authorization.allows(&auth::Attributes {
            user: &a.cx.user,
            verb: "request-serviceaccounts-podcertificate-signer",
            is_resource: true,
            path: "",
            group: "certificates.k8s.io",
            version: &a.resource.version,
            resource: &signer.replace('/', ":"),
            subresource: "",
            namespace: a.namespace,
            name: account,
            label_selector: "",
            field_selector: "",
        })
    }
}

fn names_signer(pod: &Value, signer: &str) -> bool {
    let volumes = pod.list_at(&["spec", "volumes"]).iter();
    let mut sources = volumes.flat_map(|volume| volume.list_at(&["projected", "sources"]));
    sources.any(|s| s.at(&["podCertificate"]).is_some_and(|c| c.str_at(&["signerName"]) == signer))
}
