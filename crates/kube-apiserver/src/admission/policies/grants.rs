//! Who writes a policy or a binding must be allowed to read the parameters that it names: their values show in
//! refusals. Upstream does this in the strategies of those kinds; here it is an admission plugin that is always on.

use std::sync::Arc;

use api::Value;
use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, GroupResource, GroupVersionKind, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::auth;
use apiserver::resource::Objects;
use async_trait::async_trait;

use crate::authz::{Authorization, SUPERUSERS};

/// See the module.
pub struct ParamGrants {
    objects: Arc<dyn Objects>,
    authorization: Arc<Authorization>,
}

/// Which objects must be readable; "*" is all.
struct Wanted<'a> {
    verb: &'a str,
    group: String,
    version: String,
    resource: String,
    namespace: &'a str,
    name: &'a str,
}

impl ParamGrants {
    pub fn new(objects: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        Self { objects, authorization }
    }

    fn may(&self, a: &Attributes<'_>, wanted: &Wanted<'_>) -> bool {
        self.authorization.allows(&auth::Attributes {
            user: &a.cx.user,
            verb: wanted.verb,
            is_resource: true,
            path: "",
            group: &wanted.group,
            version: &wanted.version,
            resource: &wanted.resource,
            subresource: "",
            namespace: wanted.namespace,
            name: wanted.name,
            label_selector: "",
            field_selector: "",
        })
    }

    /// What must be readable for this kind: everything where it is not known.
    fn wanted<'a>(
        &self,
        kind: Option<&Value>,
        verb: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Wanted<'a> {
        let all = || "*".to_owned();
        let mut wanted = Wanted { verb, group: all(), version: all(), resource: all(), namespace, name };
        let Some(kind) = kind else { return wanted };
        let of = GroupVersionKind::from_api_version(kind.str_at(&["apiVersion"]), kind.str_at(&["kind"]));
        if let Ok(of) = of {
            (wanted.group, wanted.version) = (of.group.to_string(), of.version.to_string());
            if let Some((resource, _)) = self.objects.resource_of(&of) {
                wanted.resource = resource.resource.to_string();
            }
        }
        wanted
    }

    fn check_policy(&self, a: &Attributes<'_>, object: &Value) -> Result<(), String> {
        let kind = |o: &Value| o.at(&["spec", "paramKind"]).filter(|k| !k.is_null()).cloned();
        let Some(wanted) = kind(object) else { return Ok(()) };
        if a.old_object.as_deref().and_then(kind).as_ref() == Some(&wanted)
            || self.may(a, &self.wanted(Some(&wanted), "get", "*", "*"))
        {
            return Ok(());
        }
        Err(format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            user(a),
            wanted.str_at(&["kind"]),
            wanted.str_at(&["apiVersion"])
        ))
    }

    fn check_binding(&self, a: &Attributes<'_>, object: &Value) -> Result<(), String> {
        let of = |o: &Value| {
            let by = o.at(&["spec", "paramRef"]).filter(|k| !k.is_null()).cloned()?;
            Some((by, o.str_at(&["spec", "policyName"]).to_owned()))
        };
        let Some((by, policy)) = of(object) else { return Ok(()) };
        if a.old_object.as_deref().and_then(of).is_some_and(|old| old == (by.clone(), policy.clone())) {
            return Ok(());
        }
        let policies = a.resource.resource.replace("policybindings", "policies");
        let found = self.objects.get(&GroupResource::new(&*a.resource.group, policies), "", &policy);
        let kind = found.as_ref().and_then(|f| f.value.at(&["spec", "paramKind"])).filter(|k| !k.is_null());
        let name = by.str_at(&["name"]);
        let verb = if name.is_empty() { "list" } else { "get" };
        if self.may(a, &self.wanted(kind, verb, by.str_at(&["namespace"]), name)) {
            return Ok(());
        }
        Err(match found {
            None => format!(
                "unable to get policy {policy} to determine minimum required permissions and user {} does not have \"{verb}\" permission for all groups, versions and resources",
                user(a)
            ),
            Some(_) => format!(
                "user {} does not have \"{verb}\" permission on the object referenced by paramRef",
                user(a)
            ),
        })
    }
}

/// As Go prints `user.DefaultInfo` behind a pointer.
fn user(a: &Attributes<'_>) -> String {
    let user = &a.cx.user;
    let extra: Vec<String> =
        user.extra.iter().map(|(key, values)| format!("{key}:[{}]", values.join(" "))).collect();
    format!("&{{{} {} [{}] map[{}]}}", user.name, user.uid, user.groups.join(" "), extra.join(" "))
}

#[async_trait]
impl Plugin for ParamGrants {
    fn name(&self) -> &'static str {
        "ParamKindAuthorization"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let group = "admissionregistration.k8s.io";
        if &*a.resource.group != group || !a.subresource.is_empty() || a.cx.user.in_group(SUPERUSERS) {
            return Ok(());
        }
        let Some(object) = &a.object else { return Ok(()) };
        let (checked, field) = match &*a.resource.resource {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => {
                (self.check_policy(a, object), "paramKind")
            }
            "validatingadmissionpolicybindings" | "mutatingadmissionpolicybindings" => {
                (self.check_binding(a, object), "paramRef")
            }
            _ => return Ok(()),
        };
        checked.map_err(|why| {
            let error = Error::forbidden(&Path::new("spec").child(field), why);
            let kind = GroupKind { group: group.into(), kind: a.kind.kind.clone() };
            Status::invalid(&kind, object.name(), &[error])
        })
    }
}
