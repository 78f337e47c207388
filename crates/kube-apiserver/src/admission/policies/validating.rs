//! The plugin ValidatingAdmissionPolicy: finds the policies that are about a request, asks them, and does what their
//! bindings say about a refusal.

use std::sync::Arc;

use apimachinery::status::Cause;
use apimachinery::{Reason, Status};
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;
use policy::{Annotation, Outcome, Verdict};

use super::source::{Binding, Bound, Policy, Source};
use super::{is_excluded, namespace_of};
use crate::admission::context::forbidden;
use crate::admission::criteria::Interest;
use crate::admission::evaluation::Evaluation;
use crate::authz::Authorization;

pub struct Validating {
    source: Arc<Source<policy::Validating>>,
    authorization: Arc<Authorization>,
}

/// The first refusal of a request.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    message: String,
    reason: String,
}

/// What a request has met so far: only the first refusal is answered.
#[derive(Debug, Default)]
struct Findings {
    refusal: Option<Refusal>,
    warnings: Vec<String>,
}

impl Findings {
    fn refuse(&mut self, message: String, reason: String) {
        self.refusal.get_or_insert(Refusal { message, reason });
    }

    /// The policy could not be asked, or not by this binding.
    fn unusable<E>(&mut self, policy: &Policy<E>, binding: Option<&str>, why: &str) {
        if policy.ignore_failure {
            return;
        }
        let policy = &policy.name;
        let message = match binding {
            None => format!(
                "ValidatingAdmissionPolicy '{policy}' denied request: failed to configure policy: {why}"
            ),
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: failed to configure binding: {why}"
            ),
        };
        self.refuse(message, String::new());
    }

    /// What one policy says by one binding with one parameter.
    fn count(&mut self, policy: &str, binding: &Binding, outcome: Outcome) {
        let denied = |message: &str| {
            format!(
                "ValidatingAdmissionPolicy '{policy}' with binding '{}' denied request: {message}",
                binding.name
            )
        };
        for verdict in outcome.verdicts {
            let Verdict::Deny { message, reason } = verdict else { continue };
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.refuse(denied(&message), reason.clone()),
                    "Warn" => self.warnings.push(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{}': {message}",
                        binding.name
                    )),
                    _ => {
                        tracing::info!(policy, binding = binding.name, message, "a request would be refused")
                    }
                }
            }
        }
        for annotation in outcome.annotations {
            match annotation {
                Annotation::Failed(why) => self.refuse(denied(&why), String::new()),
                Annotation::Publish { key, value } => {
                    tracing::debug!(policy, key = &*key, value, "an audit annotation");
                }
            }
        }
    }
}

/// The refusal in the form of upstream's: forbidden in words, with the reason and code that the policy says.
fn status(a: &Attributes<'_>, refusal: Refusal) -> Status {
    let mut status = forbidden(a, &refusal.message);
    (status.reason, status.code) = match refusal.reason.as_str() {
        "Forbidden" => (Reason::Forbidden, 403),
        "Unauthorized" => (Reason::Unauthorized, 401),
        "RequestEntityTooLarge" => (Reason::RequestEntityTooLarge, 413),
        _ => (Reason::Invalid, 422),
    };
    let cause = Cause { message: refusal.message, ..Cause::default() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

impl Validating {
    pub fn new(objects: Arc<dyn Objects>, authorization: Arc<Authorization>) -> Self {
        let source = Source::start(objects, "validatingadmission", policy::Validating::compile);
        Self { source, authorization }
    }

    /// What one policy says, by all of its bindings. Requests of one version share what expressions see of them.
    async fn judge(
        &self,
        a: &Attributes<'_>,
        bound: &Bound<policy::Validating>,
        seen: &mut Vec<Evaluation>,
        findings: &mut Findings,
    ) -> Result<(), Status> {
        let (policy, objects) = (&*bound.policy, &*self.source.objects);
        let interest = match policy.interest(objects, a).await {
            Ok(Some(interest)) => interest,
            Ok(None) => return Ok(()),
            Err(why) => {
                findings.unusable(policy, None, &why);
                return Ok(());
            }
        };
        for binding in &bound.bindings {
            let asked = match binding.params(objects, a, policy.param_kind.as_ref()).await {
                Ok(params) if params.is_empty() => continue,
                Ok(params) => self.see(a, &interest, seen).await.map(|at| (at, params)),
                Err(why) => Err(why),
            };
            let (at, params) = match asked {
                Ok(asked) => asked,
                Err(why) => {
                    findings.unusable(policy, Some(&binding.name), &why);
                    continue;
                }
            };
            let namespace = namespace_of(objects, a).await?;
            for param in params {
                let input = seen[at].input(a, param.as_deref(), namespace.as_deref());
                findings.count(&policy.name, binding, policy.evaluator.judge(&input));
            }
        }
        Ok(())
    }

    /// Where what expressions see of the request in this version stands.
    async fn see(
        &self,
        a: &Attributes<'_>,
        interest: &Interest,
        seen: &mut Vec<Evaluation>,
    ) -> Result<usize, String> {
        if let Some(at) = seen.iter().position(|e| e.interest == *interest) {
            return Ok(at);
        }
        let made =
            Evaluation::new(&*self.source.objects, Some(&self.authorization), a, interest.clone()).await;
        seen.push(made.map_err(|status| format!("failed to convert object version: {}", status.message))?);
        Ok(seen.len() - 1)
    }
}

#[async_trait]
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, _: Operation) -> bool {
        true
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        if is_excluded(&a.resource) {
            return Ok(());
        }
        let Some(bound) = self.source.bound().await else {
            return Err(forbidden(a, "not yet ready to handle request"));
        };
        if bound.is_empty() {
            return Ok(());
        }
        let (mut seen, mut findings) = (Vec::new(), Findings::default());
        for policy in bound.iter() {
            self.judge(a, policy, &mut seen, &mut findings).await?;
        }
        findings.warnings.into_iter().for_each(|warning| a.cx.warnings.add(warning));
        findings.refusal.map_or(Ok(()), |refusal| Err(status(a, refusal)))
    }
}
