//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use async_trait::async_trait;
use policy::Match;

use super::Webhooks;
use super::call::uid;
use super::hook::{Hook, SideEffects};
use super::review::{self, Subject, Verdict};
use crate::admission::criteria::{self, Interest};
use crate::admission::evaluation::Evaluation;

/// Why a hook was not asked.
enum Failed {
    /// By the hook's failure policy.
    Call(String),
    Request(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Request(status)
    }
}

impl Webhooks {
    /// The request as the hook wants it; None: it does not want it.
    async fn wants(&self, hook: &Hook, a: &Attributes<'_>) -> Result<Option<Evaluation>, Status> {
        if criteria::is_exempt(&a.resource) {
            return Ok(None);
        }
        let objects = &*self.objects;
        let Some(interest) = hook.criteria.interest(objects, a).await? else { return Ok(None) };
        let evaluation = Evaluation::new(objects, self.authorization.as_ref(), a, interest).await?;
        match hook.conditions.judge(evaluation.input(a, None, None), hook.ignore_failure) {
            Match::Yes => Ok(Some(evaluation)),
            Match::No(_) => Ok(None),
            Match::Failed(why) => Err(Status::forbidden(&a.resource.group_resource(), a.name, why)),
        }
    }

    /// The object that the hook makes of it, if it changes it.
    async fn ask(
        &self,
        hook: &Hook,
        a: &Attributes<'_>,
        wanted: &Evaluation,
        mutating: bool,
    ) -> Result<Option<Value>, Failed> {
        let dry = matches!(hook.side_effects, SideEffects::None | SideEffects::NoneOnDryRun);
        if a.cx.dry_run && !dry {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Status::bad_request(why).into());
        }
        let Some(version) = &hook.review_version else {
            return Err(Failed::Call("could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)".into()));
        };
        let subject = Subject {
            kind: wanted.interest.kind.clone(),
            resource: wanted.interest.resource.clone(),
            object: wanted.object(a),
            old: wanted.old(a),
        };
        let uid = uid();
        let review = review::request(a, &subject, version, &uid);
        let answer = hook.target.post(&self.resolver, &review, hook.timeout).await;
        let answer = answer.map_err(|why| Failed::Call(format!("failed to call webhook: {why}")))?;
        let answer = review::answer(&answer, version, &uid, mutating, &hook.name)
            .map_err(|why| Failed::Call(format!("received invalid webhook response: {why}")))?;
        answer.warnings.into_iter().for_each(|w| a.cx.warnings.add(w));
        match answer.verdict {
            Verdict::Denied(status) => Err(status.into()),
            Verdict::Allowed(None) => Ok(None),
            Verdict::Allowed(Some(patch)) => {
                let patched = self.patched(hook, a, &wanted.interest, subject.object, &patch).await?;
                Ok(patched)
            }
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

    /// One hook that wants the request; its object if it changed it. A failed call counts by the hook's policy.
    async fn run(
        &self,
        hook: &Hook,
        a: &Attributes<'_>,
        wanted: &Evaluation,
        mutating: bool,
    ) -> Result<Option<Value>, Status> {
        match self.ask(hook, a, wanted, mutating).await {
            Ok(changed) => Ok(changed),
            Err(Failed::Request(status)) => Err(status),
            Err(Failed::Call(why)) if hook.ignore_failure => {
                tracing::warn!(webhook = hook.name, why, "failed calling a webhook, failing open");
                Ok(None)
            }
            Err(Failed::Call(why)) => {
                Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
            }
        }
    }

    async fn check(&self, hook: &Hook, a: &Attributes<'_>) -> Result<(), Status> {
        match self.wants(hook, a).await? {
            Some(wanted) => self.run(hook, a, &wanted, false).await.map(drop),
            None => Ok(()),
        }
    }
}

const MUTATING: &str = "MutatingAdmissionWebhook";

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
        MUTATING
    }

    fn handles(&self, _: Operation) -> bool {
        true
    }

    /// One after the other; in the second round those that were called before a change and want to see it.
    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let hooks = self.webhooks.mutating();
        if hooks.is_empty() {
            return Ok(());
        }
        a.rounds.begin(MUTATING, a.object.as_ref());
        for (i, hook) in hooks.iter().enumerate() {
            let key = format!("{}/{i}/{}", hook.configuration, hook.name);
            let Some(wanted) = self.webhooks.wants(hook, a).await? else { continue };
            if !a.rounds.is_due(MUTATING, &key) {
                continue;
            }
            let changed = self.webhooks.run(hook, a, &wanted, true).await?;
            if let Some(object) = changed.filter(|new| a.object.as_ref() != Some(new)) {
                a.object = Some(object);
                a.rounds.changed(MUTATING);
            }
            if hook.reinvoke {
                a.rounds.called(MUTATING, key);
            }
        }
        a.rounds.end(MUTATING, a.object.as_ref());
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
        let runs = hooks.iter().map(|hook| self.webhooks.check(hook, a));
        futures::future::join_all(runs).await.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
