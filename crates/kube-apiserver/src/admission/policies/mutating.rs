//! The plugin MutatingAdmissionPolicy: finds the policies that are about a request and lays their patches over its
//! object, one after the other.

use std::sync::Arc;

use api::Value;
use api::canonical::{Found, canonicalize};
use api::schema::TypeRef;
use apimachinery::status::Cause;
use apimachinery::{Reason, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;
use policy::{Match, Patch};

use super::params::Param;
use super::source::{Bound, Policy, Source};
use super::{is_excluded, namespace_of};
use crate::admission::context::forbidden;
use crate::admission::criteria::Interest;
use crate::admission::evaluation::Evaluation;
use crate::authz::Authorization;

const NAME: &str = "MutatingAdmissionPolicy";

pub struct Mutating {
    source: Arc<Source<policy::Mutating>>,
    authorization: Arc<Authorization>,
}

/// One policy by one binding with one parameter.
struct Invocation<'a> {
    policy: &'a Policy<policy::Mutating>,
    binding: &'a str,
    interest: Interest,
    param: Param,
}

impl Invocation<'_> {
    /// What tells it from others in the second round.
    fn key(&self) -> String {
        let param = self.param.as_ref().map_or((String::new(), String::new()), |param| {
            (param.namespace().to_owned(), param.name().to_owned())
        });
        format!("{}/{}/{}/{}", self.policy.name, self.binding, param.0, param.1)
    }
}

/// Why a patch was not made.
enum Failed {
    /// By the failure policy.
    Patch(String),
    Request(Status),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Request(status)
    }
}

/// What made a request fail, in their order.
#[derive(Debug, Default)]
struct Findings(Vec<(String, Option<Reason>)>);

impl Findings {
    fn unusable(&mut self, policy: &Policy<policy::Mutating>, binding: Option<&str>, why: &str) {
        let name = &policy.name;
        let message = match binding {
            None => format!("policy {name:?} denied request: failed to configure policy: {why}"),
            Some(binding) => format!(
                "policy '{name}' with binding '{binding}' denied request: failed to configure binding: {why}"
            ),
        };
        self.add(policy, message, None);
    }

    fn failed(&mut self, invocation: &Invocation<'_>, why: &str) {
        let (name, binding) = (&invocation.policy.name, invocation.binding);
        let message = format!("policy '{name}' with binding '{binding}' denied request: {why}");
        self.add(invocation.policy, message, Some(Reason::Invalid));
    }

    fn add(&mut self, policy: &Policy<policy::Mutating>, message: String, reason: Option<Reason>) {
        if !policy.ignore_failure {
            self.0.push((message, reason));
        }
    }

    /// The first one speaks, all are causes. The code stays that of a refusal whatever the reason, as upstream's.
    fn status(self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some((first, reason)) = self.0.first().cloned() else { return Ok(()) };
        let mut status = forbidden(a, "admission request denied by policy");
        status.message = first;
        if let Some(reason) = reason {
            status.reason = reason;
        }
        let cause = |(message, _)| Cause { message, ..Cause::default() };
        status.details.get_or_insert_default().causes.extend(self.0.into_iter().map(cause));
        Err(status)
    }
}

impl Mutating {
    pub fn new(objects: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        Self { source: Source::start(objects, "mutatingadmission", policy::Mutating::compile), authorization }
    }

    /// All that are about the request, as it came to this plugin.
    async fn invocations<'b>(
        &self,
        a: &Attributes<'_>,
        bound: &'b [Bound<policy::Mutating>],
        findings: &mut Findings,
    ) -> Vec<Invocation<'b>> {
        let objects = &*self.source.objects;
        let mut out = Vec::new();
        for Bound { policy, bindings } in bound {
            let interest = match policy.interest(objects, a).await {
                Ok(Some(interest)) => interest,
                Ok(None) => continue,
                Err(why) => {
                    findings.unusable(policy, None, &why);
                    continue;
                }
            };
            for binding in bindings {
                match binding.params(objects, a, policy.param_kind.as_ref()).await {
                    Ok(params) => out.extend(params.into_iter().map(|param| Invocation {
                        policy,
                        binding: &binding.name,
                        interest: interest.clone(),
                        param,
                    })),
                    Err(why) => findings.unusable(policy, Some(&binding.name), &why),
                }
            }
        }
        out
    }

    /// All mutations of an invocation, unless it does not mean this request, or not in this round.
    async fn run(
        &self,
        a: &mut Attributes<'_>,
        invocation: &Invocation<'_>,
        namespace: Option<&Value>,
        findings: &mut Findings,
    ) -> Result<(), Status> {
        let (objects, policy) = (&*self.source.objects, &invocation.policy.evaluator);
        let interest = invocation.interest.clone();
        let mut seen = Evaluation::new(objects, Some(&self.authorization), a, interest).await?;
        match policy.matches(&seen.input(a, invocation.param.as_deref(), None)) {
            Match::Yes => {}
            Match::No(_) => return Ok(()),
            Match::Failed(why) => {
                findings.failed(invocation, &why);
                return Ok(());
            }
        }
        let key = invocation.key();
        if !a.rounds.is_due(NAME, &key) || a.object.is_none() {
            return Ok(());
        }
        let before = seen.object(a).cloned();
        for mutation in 0..policy.len() {
            let input = seen.input(a, invocation.param.as_deref(), namespace);
            let patch = policy.patch(mutation, &input).map_err(Failed::Patch);
            match patch.and_then(|patch| self.apply(&seen, a, patch)) {
                Ok(object) => seen.replace(a, object),
                Err(Failed::Patch(why)) => findings.failed(invocation, &why),
                Err(Failed::Request(status)) => return Err(status),
            }
        }
        if before.as_ref() != seen.object(a) {
            seen.give_back(objects, a).await?;
            a.rounds.changed(NAME);
        }
        if policy.reinvoke {
            a.rounds.called(NAME, key);
        }
        Ok(())
    }

    /// The object after one patch, complete again, in the version in which the policy wants it.
    fn apply(&self, seen: &Evaluation, a: &Attributes<'_>, patch: Patch) -> Result<Value, Failed> {
        let Some(object) = seen.object(a) else { return Ok(Value::Null) };
        let patched = match patch {
            Patch::Apply(config) => self.overlaid(seen, a, object, config)?,
            Patch::Json(operations) => {
                let patched = api::merge::json_mutation(object.clone(), &operations);
                match patched.map_err(|why| Failed::Patch(format!("JSON Patch: {why}")))? {
                    Some(patched) => self.strictly(seen, a, patched)?,
                    None => return Ok(object.clone()),
                }
            }
        };
        if a.subresource.is_empty() {
            return Ok(self.source.objects.complete(&seen.interest.resource, patched)?);
        }
        Ok(patched)
    }

    /// The type of what is patched.
    fn type_of(&self, seen: &Evaluation, a: &Attributes<'_>) -> Option<TypeRef> {
        let kind = &seen.interest.kind;
        match a.subresource {
            "" => self.source.objects.schema(&seen.interest.resource),
            _ => api::schema::by_gvk(&kind.group, &kind.version, &kind.kind),
        }
    }

    /// A JSON patch of a built-in kind may not leave fields that it does not have.
    fn strictly(&self, seen: &Evaluation, a: &Attributes<'_>, mut object: Value) -> Result<Value, Failed> {
        let Some(of) = self.type_of(seen, a).filter(|of| !of.custom) else { return Ok(object) };
        let mut found = Found::default();
        canonicalize(&mut object, &of, &mut found).map_err(Status::internal)?;
        if found.is_empty() {
            return Ok(object);
        }
        Err(Status::internal(found.strict_error()).into())
    }

    fn overlaid(
        &self,
        seen: &Evaluation,
        a: &Attributes<'_>,
        object: &Value,
        mut config: Value,
    ) -> Result<Value, Failed> {
        let kind = &seen.interest.kind;
        let of = self.type_of(seen, a).ok_or_else(|| {
            Status::unavailable(format!(
                "Resource kind {}, Kind={} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.",
                kind.group_version(),
                kind.kind
            ))
        })?;
        let map = config.as_map_or_make();
        for key in ["apiVersion", "kind"] {
            map.insert(key, object.str_at(&[key]));
        }
        let mut patched = object.clone();
        api::merge::mutate(&of, &mut patched, &config)
            .map_err(|why| Failed::Patch(format!("error applying patch: {why}")))?;
        Ok(patched)
    }
}

#[async_trait]
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Delete
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if is_excluded(&a.resource) {
            return Ok(());
        }
        let Some(bound) = self.source.bound().await else {
            return Err(forbidden(a, "not yet ready to handle request"));
        };
        if bound.is_empty() {
            return Ok(());
        }
        let mut findings = Findings::default();
        let invocations = self.invocations(a, &bound, &mut findings).await;
        if !invocations.is_empty() {
            let namespace = namespace_of(&*self.source.objects, a).await?;
            a.rounds.begin(NAME, a.object.as_ref());
            for invocation in &invocations {
                self.run(a, invocation, namespace.as_deref(), &mut findings).await?;
            }
            a.rounds.end(NAME, a.object.as_ref());
        }
        findings.status(a)
    }
}
