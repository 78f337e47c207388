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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apimachinery::{GroupVersionKind, GroupVersionResource};
    use apiserver::request::UserInfo;
    use serde_json::json;

    use super::*;
    use crate::authz::{Authorization, Mode};
    use crate::testing::{Fake, context, value};

    fn pod(name: &str, node: &str, annotations: serde_json::Value) -> serde_json::Value {
        let certificate = json!({"podCertificate": {"signerName": "e.com/s"}});
        json!({"metadata": {"namespace": "ns", "name": name, "uid": name, "annotations": annotations},
            "spec": {"nodeName": node, "serviceAccountName": "a",
                "volumes": [{"projected": {"sources": [certificate]}}]}})
    }

    /// What node `n` is told that changes fields of a good request.
    fn told(changes: serde_json::Value) -> Option<(u16, String)> {
        let stored: Arc<dyn apiserver::resource::Objects> = Fake::with(&[
            ("nodes", json!({"metadata": {"name": "n", "uid": "nu"}})),
            ("serviceaccounts", json!({"metadata": {"namespace": "ns", "name": "a", "uid": "au"}})),
            ("pods", pod("mine", "n", json!({}))),
            ("pods", pod("mirror", "n", json!({MIRROR: "x"}))),
            ("pods", pod("other", "m", json!({}))),
        ]);
        let authorization = Authorization::new(&[Mode::Rbac], &stored);
        let plugin = NodeRestriction::new(stored, authorization);
        let mut spec = json!({"nodeName": "n", "nodeUID": "nu", "podName": "mine", "podUID": "mine",
            "serviceAccountName": "a", "serviceAccountUID": "au", "signerName": "e.com/s"});
        for (name, is) in changes.as_object().unwrap() {
            spec[name] = is.clone();
        }
        let cx = context(UserInfo::default());
        let group = "certificates.k8s.io";
        let a = Attributes {
            cx: &cx,
            operation: Operation::Create,
            kind: GroupVersionKind::new(group, "v1", "PodCertificateRequest"),
            resource: GroupVersionResource::new(group, "v1", "podcertificaterequests"),
            subresource: "",
            namespace: "ns",
            name: "",
            object: Some(value(json!({"spec": spec}))),
            old_object: None,
            options: Value::Null,
            rounds: apiserver::admission::Rounds::default(),
        };
        plugin.pod_certificate_request("n", &a).err().map(|status| (status.code, status.message.clone()))
    }

    #[tokio::test]
    async fn a_node_asks_for_its_own_pods() {
        assert_eq!(told(json!({})), None);
        for (changes, code, words) in [
            (json!({"nodeName": "m"}), 403, "which is not the requesting node \"n\""),
            (json!({"nodeUID": "x"}), 500, "inconsistent with the running node (\"nu\")"),
            (json!({"podName": "gone"}), 500, "pod \"gone\" not found"),
            (json!({"podUID": "x"}), 500, "which differs from running pod \"mine\""),
            (
                json!({"podName": "other", "podUID": "other"}),
                403,
                "pod \"ns/other\" is not running on node \"n\"",
            ),
            (json!({"podName": "mirror", "podUID": "mirror"}), 403, "pod \"ns/mirror\" is a mirror pod"),
            (json!({"serviceAccountName": "b"}), 403, "that differs from running pod (\"a\")"),
            (
                json!({"serviceAccountUID": "x"}),
                500,
                "which differs from the running service account (\"au\")",
            ),
            (
                json!({"signerName": "e.com/t"}),
                403,
                "does not mount a podCertificate projected volume for signer",
            ),
        ] {
            let (got, message) = told(changes.clone()).unwrap();
            assert_eq!(got, code, "{changes}: {message}");
            assert!(message.contains(words), "{changes}: {message}");
        }
    }
}
