//! What expressions see of a request: its objects in the version that is wanted, the request itself, and the
//! authorizer, who answers about the requester.

use std::sync::Arc;

use api::{Map, Value};
use apimachinery::{GroupVersionKind, GroupVersionResource, Status};
use apiserver::admission::Attributes;
use apiserver::auth;
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use cel::library::authorizer::{AccessRequest, Decision, ResourceTarget, Target};
use policy::Input;

use super::criteria::{Interest, operation_word};
use crate::authz::Authorization;

/// One request in one version.
pub struct Evaluation {
    pub interest: Interest,
    request: Value,
    /// Where the version is not the request's.
    object: Option<Value>,
    old: Option<Value>,
    asker: Option<Arc<Asker>>,
    about: ResourceTarget,
}

impl Evaluation {
    /// Converts the objects where another version is wanted.
    pub async fn new(
        objects: &dyn Objects,
        authorization: Option<&Arc<Authorization>>,
        a: &Attributes<'_>,
        interest: Interest,
    ) -> Result<Self, Status> {
        let asker = authorization.map(|authorization| {
            Arc::new(Asker { authorization: authorization.clone(), user: a.cx.user.clone() })
        });
        let about = ResourceTarget {
            group: a.resource.group.to_string(),
            resource: a.resource.resource.to_string(),
            subresource: a.subresource.to_owned(),
            namespace: a.namespace.to_owned(),
            name: a.name.to_owned(),
            ..ResourceTarget::default()
        };
        let object = in_version(objects, a, a.object.as_ref(), &interest).await?;
        let old = in_version(objects, a, a.old_object.as_deref(), &interest).await?;
        Ok(Self { request: request(a, &interest), object, old, asker, about, interest })
    }

    /// The object as expressions see it.
    pub fn object<'s>(&'s self, a: &'s Attributes<'_>) -> Option<&'s Value> {
        self.object.as_ref().or(a.object.as_ref())
    }

    pub fn old<'s>(&'s self, a: &'s Attributes<'_>) -> Option<&'s Value> {
        self.old.as_ref().or(a.old_object.as_deref())
    }

    /// Another object instead, in the version of this evaluation.
    pub fn replace(&mut self, a: &mut Attributes<'_>, object: Value) {
        if self.interest.resource == a.resource {
            a.object = Some(object);
        } else {
            self.object = Some(object);
        }
    }

    /// Brings a replaced object back into the version of the request.
    pub async fn give_back(&mut self, objects: &dyn Objects, a: &mut Attributes<'_>) -> Result<(), Status> {
        if let Some(object) = self.object.clone() {
            let version = a.resource.group_version();
            a.object = Some(objects.convert(&self.interest.resource, object, &version).await?);
        }
        Ok(())
    }

    /// The variables of this request.
    pub fn input<'s>(
        &'s self,
        a: &'s Attributes<'_>,
        params: Option<&'s Value>,
        namespace: Option<&'s Value>,
    ) -> Input<'s> {
        let asker = self.asker.clone().map(|asker| asker as Arc<dyn cel::Authorizer>);
        Input {
            object: self.object(a),
            old_object: self.old(a),
            request: Some(&self.request),
            params,
            namespace,
            authorizer: asker.map(|asker| (asker, self.about.clone())),
        }
    }
}

/// None where it is in the wanted version already.
async fn in_version(
    objects: &dyn Objects,
    a: &Attributes<'_>,
    value: Option<&Value>,
    to: &Interest,
) -> Result<Option<Value>, Status> {
    match value {
        Some(value) if to.resource != a.resource => {
            objects.convert(&a.resource, value.clone(), &to.resource.group_version()).await.map(Some)
        }
        _ => Ok(None),
    }
}

fn kind(of: &GroupVersionKind) -> Value {
    api::value!({"group": &*of.group, "version": &*of.version, "kind": &*of.kind})
}

fn resource(of: &GroupVersionResource) -> Value {
    api::value!({"group": &*of.group, "version": &*of.version, "resource": &*of.resource})
}

/// AdmissionRequest of admission.k8s.io/v1 without uid and objects; what is empty is absent.
fn request(a: &Attributes<'_>, interest: &Interest) -> Value {
    let mut map = Map::with_capacity(12);
    let mut put = |key: &str, value: Value| {
        if value.as_str() != Some("") {
            map.push(key, value);
        }
    };
    put("kind", kind(&interest.kind));
    put("resource", resource(&interest.resource));
    put("subResource", a.subresource.into());
    put("requestKind", kind(&a.kind));
    put("requestResource", resource(&a.resource));
    put("requestSubResource", a.subresource.into());
    put("name", a.name.into());
    put("namespace", a.namespace.into());
    put("operation", operation_word(a.operation).into());
    put("userInfo", user(&a.cx.user));
    put("dryRun", a.cx.dry_run.into());
    put("options", a.options.clone());
    Value::Map(map)
}

fn user(of: &UserInfo) -> Value {
    let texts = |list: &[String]| Value::List(list.iter().map(|t| Value::from(t.as_str())).collect());
    let mut map = Map::with_capacity(4);
    for (key, text) in [("username", &of.name), ("uid", &of.uid)] {
        if !text.is_empty() {
            map.push(key, text.as_str());
        }
    }
    if !of.groups.is_empty() {
        map.push("groups", texts(&of.groups));
    }
    if !of.extra.is_empty() {
        let extra: Map = of.extra.iter().map(|(k, v)| (k.as_str().into(), texts(v))).collect();
        map.push("extra", extra);
    }
    Value::Map(map)
}

/// Answers for the requester, or for a service account that the expression names.
struct Asker {
    authorization: Arc<Authorization>,
    user: Arc<UserInfo>,
}

fn service_account(namespace: &str, name: &str) -> UserInfo {
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        ..UserInfo::default()
    }
}

impl cel::Authorizer for Asker {
    fn decide(&self, asked: &AccessRequest) -> Option<Decision> {
        let account =
            asked.service_account.as_ref().map(|(namespace, name)| service_account(namespace, name));
        let user = account.as_ref().unwrap_or(&self.user);
        let nothing = ResourceTarget::default();
        let (is_resource, path, of) = match &asked.target {
            Target::Path(path) => (false, path.as_str(), &nothing),
            Target::Resource(of) => (true, "", of),
        };
        let decided = self.authorization.decide(&auth::Attributes {
            user,
            verb: &asked.verb,
            is_resource,
            path,
            group: &of.group,
            version: if is_resource { "*" } else { "" },
            resource: &of.resource,
            subresource: &of.subresource,
            namespace: &of.namespace,
            name: &of.name,
            label_selector: of.label_selector.as_ref().map_or("", |(text, _)| text),
            field_selector: of.field_selector.as_ref().map_or("", |(text, _)| text),
        });
        let (allowed, reason) = match decided {
            auth::Decision::Allow(reason) => (true, reason),
            auth::Decision::Deny(reason) | auth::Decision::NoOpinion(reason) => (false, reason),
        };
        Some(Decision { allowed, reason, error: None })
    }
}
