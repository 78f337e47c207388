//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook.

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupResource, GroupVersionKind, GroupVersionResource, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use async_trait::async_trait;

use super::Webhooks;
use super::call::uid;
use super::hook::{self, Hook, SideEffects};
use super::review::{self, Subject, Verdict};

/// The version in which a hook wants a request; None: it does not want it.
struct Interest {
    kind: GroupVersionKind,
    resource: GroupVersionResource,
}

/// Webhooks are not asked about the objects that configure them: a broken one could never be mended.
fn exempt(resource: &GroupVersionResource) -> bool {
    &*resource.group == "admissionregistration.k8s.io"
        && matches!(
            &*resource.resource,
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

impl Webhooks {
    fn interest(&self, hook: &Hook, a: &Attributes<'_>) -> Option<Interest> {
        let matches = |version: &str| {
            hook.rules.iter().any(|rule| {
                rule.matches(hook::Subject {
                    operation: a.operation,
                    group: &a.resource.group,
                    version,
                    resource: &a.resource.resource,
                    subresource: a.subresource,
                    namespace: a.namespace,
                })
            })
        };
        if matches(&a.resource.version) {
            return Some(Interest { kind: a.kind.clone(), resource: a.resource.clone() });
        }
        // Conversion exists for whole objects, not for the options of actions.
        if !hook.equivalent || a.operation == Operation::Connect {
            return None;
        }
        let versions = self.objects.versions(&a.resource.group_resource());
        let other = versions.into_iter().find(|k| k.version != a.resource.version && matches(&k.version))?;
        let resource = other.group_version().with_resource(a.resource.resource.clone());
        Some(Interest { kind: other.group_version().with_kind(a.kind.kind.clone()), resource })
    }

    async fn selected(&self, hook: &Hook, a: &Attributes<'_>) -> Result<bool, Status> {
        if !hook.object_selector.is_everything() {
            let matches = |o: &Value| hook.object_selector.matches(|key| o.meta().label(key));
            let object = a.object.as_ref().is_some_and(matches);
            if !object && !a.old_object.as_deref().is_some_and(matches) {
                return Ok(false);
            }
        }
        if hook.namespace_selector.is_everything() {
            return Ok(true);
        }
        let is_namespace = &*a.resource.resource == "namespaces" && a.resource.group.is_empty();
        if is_namespace {
            let object = a.object.as_ref().or(a.old_object.as_deref());
            return Ok(object.is_none_or(|o| hook.namespace_selector.matches(|key| o.meta().label(key))));
        }
        if a.namespace.is_empty() {
            return Ok(true);
        }
        let resource = GroupResource::new("", "namespaces");
        let namespace = match self.objects.get(&resource, "", a.namespace) {
            Some(found) => found,
            None => self.objects.get_latest(&resource, "", a.namespace).await?,
        };
        Ok(hook.namespace_selector.matches(|key| namespace.value.meta().label(key)))
    }

    async fn wants(&self, hook: &Hook, a: &Attributes<'_>) -> Result<Option<Interest>, Status> {
        if exempt(&a.resource) {
            return Ok(None);
        }
        let Some(interest) = self.interest(hook, a) else { return Ok(None) };
        Ok(self.selected(hook, a).await?.then_some(interest))
    }

    /// In the version that the hook wants.
    async fn version(
        &self,
        a: &Attributes<'_>,
        value: &Value,
        to: &Interest,
    ) -> Result<Option<Value>, Status> {
        if to.resource == a.resource {
            return Ok(None);
        }
        self.objects.convert(&a.resource, value.clone(), &to.resource.group_version()).await.map(Some)
    }

    /// Ok(Err): the call failed, in words.
    async fn ask(
        &self,
        hook: &Hook,
        a: &Attributes<'_>,
        interest: &Interest,
        mutating: bool,
    ) -> Result<Result<Option<Value>, String>, Status> {
        let dry = matches!(hook.side_effects, SideEffects::None | SideEffects::NoneOnDryRun);
        if a.cx.dry_run && !dry {
            return Err(Status::bad_request(format!(
                "admission webhook {:?} does not support dry run",
                hook.name
            )));
        }
        if hook.conditions {
            return Ok(Err("matchConditions are not supported yet".into()));
        }
        let Some(version) = &hook.review_version else {
            return Ok(Err("could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)".into()));
        };
        let (object, old) = (
            self.other(a, a.object.as_ref(), interest).await?,
            self.other(a, a.old_object.as_deref(), interest).await?,
        );
        let subject = Subject {
            kind: interest.kind.clone(),
            resource: interest.resource.clone(),
            object: object.as_ref().or(a.object.as_ref()),
            old: old.as_ref().or(a.old_object.as_deref()),
        };
        let uid = uid();
        let review = review::request(a, &subject, version, &uid);
        let answer = match hook.target.post(&self.resolver, &review, hook.timeout).await {
            Ok(answer) => answer,
            Err(why) => return Ok(Err(format!("failed to call webhook: {why}"))),
        };
        let answer = match review::answer(&answer, version, &uid, mutating, &hook.name) {
            Ok(answer) => answer,
            Err(why) => return Ok(Err(format!("received invalid webhook response: {why}"))),
        };
        answer.warnings.into_iter().for_each(|w| a.cx.warnings.add(w));
        match answer.verdict {
            Verdict::Denied(status) => Err(status),
            Verdict::Allowed(None) => Ok(Ok(None)),
            Verdict::Allowed(Some(patch)) => {
                self.patched(hook, a, interest, subject.object, &patch).await.map(Ok)
            }
        }
    }

    async fn other(
        &self,
        a: &Attributes<'_>,
        value: Option<&Value>,
        to: &Interest,
    ) -> Result<Option<Value>, Status> {
        match value {
            Some(value) => self.version(a, value, to).await,
            None => Ok(None),
        }
    }

    /// The object after a patch, in the version of the request again.
    async fn patched(
        &self,
        hook: &Hook,
        a: &Attributes<'_>,
        interest: &Interest,
        object: Option<&Value>,
        patch: &Value,
    ) -> Result<Option<Value>, Status> {
        let Some(object) = object else {
            return Err(Status::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            )));
        };
        let patched =
            api::merge::json_patch(object.clone(), patch).map_err(|e| Status::internal(&e.message))?;
        let patched = if a.subresource.is_empty() {
            self.objects.complete(&interest.resource, patched)?
        } else {
            patched
        };
        if interest.resource == a.resource {
            return Ok(Some(patched));
        }
        let back = self.objects.convert(&interest.resource, patched, &a.resource.group_version()).await?;
        Ok(Some(back))
    }

    /// One hook; its object if it changed it. A failed call counts by the hook's policy.
    async fn run(&self, hook: &Hook, a: &Attributes<'_>, mutating: bool) -> Result<Run, Status> {
        let Some(interest) = self.wants(hook, a).await? else { return Ok(Run::Skipped) };
        match self.ask(hook, a, &interest, mutating).await? {
            Ok(changed) => Ok(Run::Called(changed)),
            Err(why) if hook.ignore_failure => {
                tracing::warn!(webhook = hook.name, why, "failed calling a webhook, failing open");
                Ok(Run::Called(None))
            }
            Err(why) => Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name))),
        }
    }
}

enum Run {
    Skipped,
    Called(Option<Value>),
}

pub struct Mutating {
    webhooks: Arc<Webhooks>,
}

impl Mutating {
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { webhooks }
    }
}

#[async_trait]
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn handles(&self, _: Operation) -> bool {
        true
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let hooks = self.webhooks.mutating();
        // Hooks that were called before another one changed what they saw are asked once more, if they want that.
        let mut again: Vec<usize> = Vec::new();
        let mut called: Vec<usize> = Vec::new();
        for (i, hook) in hooks.iter().enumerate() {
            let Run::Called(changed) = self.webhooks.run(hook, a, true).await? else { continue };
            if let Some(object) = changed.filter(|new| a.object.as_ref() != Some(new)) {
                a.object = Some(object);
                again.append(&mut called);
            }
            if hook.reinvoke {
                called.push(i);
            }
        }
        for i in again {
            if let Run::Called(Some(object)) = self.webhooks.run(&hooks[i], a, true).await? {
                a.object = Some(object);
            }
        }
        Ok(())
    }
}

pub struct Validating {
    webhooks: Arc<Webhooks>,
}

impl Validating {
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { webhooks }
    }
}

#[async_trait]
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, _: Operation) -> bool {
        true
    }

    /// All at once; the first refusal in their order counts.
    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let hooks = self.webhooks.validating();
        if hooks.is_empty() {
            return Ok(());
        }
        let runs = hooks.iter().map(|hook| self.webhooks.run(hook, a, false));
        futures::future::join_all(runs).await.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
