//! `authorizer`: questions to the cluster's authorizers out of an expression (`kubernetes.authz`).

use std::sync::Arc;

use apimachinery::fields::Selector as FieldSelector;
use apimachinery::labels::Selector;
use apimachinery::names;

use super::Special;
use crate::error::EvalError;
use crate::functions::{Code, Declared, Outcome, Refused, Style, fail};
use crate::value::Value;

/// A question: may who is asked for do this? Who that is, the [`Authorizer`] knows, unless a service account is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRequest {
    /// (namespace, name) where the expression asks for a service account rather than for the requester.
    pub service_account: Option<(Arc<str>, Arc<str>)>,
    pub verb: String,
    pub target: Target,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are resources")]
pub enum Target {
    Path(String),
    Resource(ResourceTarget),
}

/// A resource; "" where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// As written, with what it parses to (an error's text where it does not).
    pub field_selector: Option<(String, Result<FieldSelector, String>)>,
    pub label_selector: Option<(String, Result<Selector, String>)>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    /// The text of the authorizer's error.
    pub error: Option<String>,
}

/// Who answers, for one requester. `None` ends the evaluation with
/// [`EvalError::Undecided`](crate::EvalError::Undecided), so that a caller whose authorizer is asynchronous can ask
/// it and evaluate again with the answer at hand.
pub trait Authorizer: Send + Sync {
    fn decide(&self, request: &AccessRequest) -> Option<Decision>;
}

/// For whom is asked, and who answers.
#[derive(Clone)]
pub struct Subject {
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) service_account: Option<(Arc<str>, Arc<str>)>,
}

impl Subject {
    fn ask<'a>(&self, verb: &str, target: Target) -> Outcome<'a> {
        let service_account = self.service_account.clone();
        let request = AccessRequest { service_account, verb: verb.to_owned(), target };
        match self.authorizer.decide(&request) {
            Some(decision) => Ok(special(Special::Decision(decision))),
            None => Err(EvalError::Undecided(Box::new(request)).into()),
        }
    }
}

const fn method(
    name: &'static str,
    overloads: &'static [(&'static str, &'static str)],
    code: Code,
) -> Declared {
    Declared { name, overloads, code, style: Style::Guarded }
}

pub(super) const DECLARED: &[Declared] = &[
    method("path", &[("authorizer_path", "Authorizer.(string) PathCheck")], path),
    method("group", &[("authorizer_group", "Authorizer.(string) GroupCheck")], group),
    method(
        "serviceAccount",
        &[("authorizer_serviceaccount", "Authorizer.(string, string) Authorizer")],
        service_account,
    ),
    method("resource", &[("groupcheck_resource", "GroupCheck.(string) ResourceCheck")], resource),
    method("subresource", &[("resourcecheck_subresource", "ResourceCheck.(string) ResourceCheck")], |args| {
        narrowed(args, |target, text| target.subresource = text.into())
    }),
    method("namespace", &[("resourcecheck_namespace", "ResourceCheck.(string) ResourceCheck")], |args| {
        narrowed(args, |target, text| target.namespace = text.into())
    }),
    method("name", &[("resourcecheck_name", "ResourceCheck.(string) ResourceCheck")], |args| {
        narrowed(args, |target, text| target.name = text.into())
    }),
    method(
        "fieldSelector",
        &[("authorizer_fieldselector", "ResourceCheck.(string) ResourceCheck")],
        |args| {
            narrowed(args, |target, text| {
                let parsed = FieldSelector::parse(text).map_err(|error| error.to_string());
                target.field_selector = (!text.is_empty()).then(|| (text.to_owned(), parsed));
            })
        },
    ),
    method(
        "labelSelector",
        &[("authorizer_labelselector", "ResourceCheck.(string) ResourceCheck")],
        |args| {
            narrowed(args, |target, text| {
                let parsed = Selector::parse(text).map_err(|error| error.to_string());
                target.label_selector = (!text.is_empty()).then(|| (text.to_owned(), parsed));
            })
        },
    ),
    method(
        "check",
        &[
            ("pathcheck_check", "PathCheck.(string) Decision"),
            ("resourcecheck_check", "ResourceCheck.(string) Decision"),
        ],
        check,
    ),
    method("errored", &[("decision_errored", "Decision.() bool")], |args| {
        decision(args, |d| Value::Bool(d.error.is_some()))
    }),
    method("error", &[("decision_error", "Decision.() string")], |args| {
        decision(args, |d| Value::text(d.error.clone().unwrap_or_default()))
    }),
    method("allowed", &[("decision_allowed", "Decision.() bool")], |args| {
        decision(args, |d| Value::Bool(d.allowed))
    }),
    method("reason", &[("decision_reason", "Decision.() string")], |args| {
        decision(args, |d| Value::text(d.reason.clone()))
    }),
];

fn special<'a>(of: Special) -> Value<'a> {
    Value::Special(Arc::new(of))
}

/// A value of a library and the text that it is asked with.
fn with_text<'v>(args: &'v [Value<'_>]) -> Result<(&'v Special, &'v str), Refused> {
    match args {
        [Value::Special(of), Value::String(text), ..] => Ok((of, text)),
        _ => Err(Refused::NoOverload),
    }
}

fn path<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match with_text(args)? {
        (Special::Authorizer(_), text) if text.trim().is_empty() => fail("path must not be empty"),
        (Special::Authorizer(subject), text) => {
            Ok(special(Special::PathCheck(subject.clone(), text.to_owned())))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn group<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match with_text(args)? {
        (Special::Authorizer(subject), text) => {
            Ok(special(Special::GroupCheck(subject.clone(), text.to_owned())))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn service_account<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let ((Special::Authorizer(subject), namespace), Some(Value::String(name))) =
        (with_text(args)?, args.get(2))
    else {
        return Err(Refused::NoOverload);
    };
    if !names::dns1123_subdomain(name).is_empty() {
        return fail("Invalid service account name");
    }
    if !names::dns1123_label(namespace).is_empty() {
        return fail("Invalid service account namespace");
    }
    let service_account = Some((Arc::from(namespace), Arc::from(&**name)));
    Ok(special(Special::Authorizer(Subject { service_account, ..subject.clone() })))
}

fn resource<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match with_text(args)? {
        (Special::GroupCheck(..), text) if text.trim().is_empty() => fail("resource must not be empty"),
        (Special::GroupCheck(subject, group), text) => {
            let target =
                ResourceTarget { group: group.clone(), resource: text.to_owned(), ..Default::default() };
            Ok(special(Special::ResourceCheck(subject.clone(), Box::new(target))))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn narrowed<'a>(args: &[Value<'a>], set: fn(&mut ResourceTarget, &str)) -> Outcome<'a> {
    match with_text(args)? {
        (Special::ResourceCheck(subject, target), text) => {
            let mut target = target.clone();
            set(&mut target, text);
            Ok(special(Special::ResourceCheck(subject.clone(), target)))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn check<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    match with_text(args)? {
        (Special::PathCheck(subject, path), verb) => subject.ask(verb, Target::Path(path.clone())),
        (Special::ResourceCheck(subject, target), verb) => {
            subject.ask(verb, Target::Resource((**target).clone()))
        }
        _ => Err(Refused::NoOverload),
    }
}

fn decision<'a>(args: &[Value<'a>], of: fn(&Decision) -> Value<'static>) -> Outcome<'a> {
    match args {
        [Value::Special(value)] => match &**value {
            Special::Decision(decision) => Ok(of(decision)),
            _ => Err(Refused::NoOverload),
        },
        _ => Err(Refused::NoOverload),
    }
}
