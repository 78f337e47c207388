//! `serviceaccounts/token`: TokenRequest.

use std::sync::Arc;

use api::Value;
use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, GroupResource, Status};
use apiserver::endpoint::{Answer, Call, Endpoint};
use apiserver::request::RequestContext;
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::kinds;
use crate::authn::service_account::{Bound, Issuer, Reference, TokenRequest};
use crate::strategies::fields::{self, Fields, map, map_at};

const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3600;

pub struct Token {
    pub objects: Arc<dyn Objects>,
    pub issuer: Arc<Issuer>,
}

#[async_trait]
impl Endpoint for Token {
    async fn call(&self, cx: &RequestContext, call: Call) -> Result<Answer, Status> {
        let mut request = kinds::created(call, &kinds::SERVICE_ACCOUNTS)?;
        let (namespace, name) = (cx.info.namespace.as_str(), cx.info.name.as_str());
        let account = self.objects.get_latest(&kinds::SERVICE_ACCOUNTS, namespace, name).await?.value;
        let own = map_at(&request, &["metadata"]);
        if !own.text("name").is_empty() && own.text("name") != name {
            let why = format!("must match the service account name {name:?}");
            let at = Path::new("metadata").child("name");
            return Err(invalid(&[Error::invalid(&at, own.text("name"), why)]));
        }
        let seconds = request.int_at(&["spec", "expirationSeconds"]).unwrap_or(DEFAULT_SECONDS);
        validate(seconds)?;
        let bound = self.bound(&request, namespace, name).await?;
        let audiences = map_at(&request, &["spec"]).list("audiences");
        let issued = self.issuer.issue(&TokenRequest {
            namespace,
            account: reference(&account),
            audiences: audiences.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            expiration_seconds: Some(seconds),
            bound,
            now: cx.now,
        });
        let issued = issued.map_err(Status::internal)?;
        let metadata = request.as_map_or_make().map_mut("metadata");
        metadata.insert("name", name);
        metadata.insert("namespace", namespace);
        request.set_at(
            &["spec", "audiences"],
            issued.audiences.iter().map(|a| Value::from(a.as_str())).collect::<Vec<_>>(),
        );
        request.set_at(&["spec", "expirationSeconds"], issued.expiration_seconds);
        let status =
            map([("token", issued.token.into()), ("expirationTimestamp", fields::time(issued.expires))]);
        request.set_at(&["status"], status);
        Ok(Answer::Object(201, request))
    }
}

fn invalid(errors: &[Error]) -> Status {
    let kind = GroupKind { group: "authentication.k8s.io".into(), kind: "TokenRequest".into() };
    Status::invalid(&kind, "", errors)
}

fn validate(seconds: i64) -> Result<(), Status> {
    let at = Path::new("spec").child("expirationSeconds");
    if seconds < MIN_SECONDS {
        return Err(invalid(&[Error::invalid(
            &at,
            &seconds,
            "may not specify a duration less than 10 minutes",
        )]));
    }
    if seconds > MAX_SECONDS {
        return Err(invalid(&[Error::invalid(
            &at,
            &seconds,
            "may not specify a duration larger than 2^32 seconds",
        )]));
    }
    Ok(())
}

fn reference(object: &Value) -> Reference {
    let meta = map_at(object, &["metadata"]);
    Reference { name: meta.text("name").into(), uid: meta.text("uid").into() }
}

impl Token {
    async fn bound(&self, request: &Value, namespace: &str, account: &str) -> Result<Bound, Status> {
        let bound = map_at(request, &["spec", "boundObjectRef"]);
        if bound.is_empty() {
            return Ok(Bound::None);
        }
        let kind = (bound.text("apiVersion"), bound.text("kind"));
        let (resource, namespace) = match kind {
            ("v1", "Pod") => (&kinds::PODS, namespace),
            ("v1", "Secret") => (&kinds::SECRETS, namespace),
            ("v1", "Node") => (&kinds::NODES, ""),
            (version, kind) => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {version}, Kind={kind}"
                )));
            }
        };
        let object = self.objects.get_latest(resource, namespace, bound.text("name")).await?.value;
        check_uid(resource, &object, bound.text("uid"))?;
        match kind.1 {
            "Pod" => self.bound_pod(&object, account),
            "Secret" => Ok(Bound::Secret(reference(&object))),
            _ => Ok(Bound::Node(reference(&object))),
        }
    }

    fn bound_pod(&self, pod: &Value, account: &str) -> Result<Bound, Status> {
        let theirs = pod.str_at(&["spec", "serviceAccountName"]);
        if theirs != account {
            let why = format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            );
            return Err(Status::bad_request(why));
        }
        let node = pod.str_at(&["spec", "nodeName"]);
        let found = self.objects.get(&kinds::NODES, "", node).map(|n| reference(&n.value));
        // A node that is gone is still named, without its uid.
        let node =
            (!node.is_empty()).then(|| found.unwrap_or(Reference { name: node.into(), uid: String::new() }));
        Ok(Bound::Pod { pod: reference(pod), node })
    }
}

fn check_uid(resource: &GroupResource, object: &Value, uid: &str) -> Result<(), Status> {
    let meta = map_at(object, &["metadata"]);
    if !uid.is_empty() && uid != meta.text("uid") {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(resource, meta.text("name"), why));
    }
    Ok(())
}
