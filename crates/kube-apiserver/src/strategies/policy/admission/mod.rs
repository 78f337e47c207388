//! Webhook configurations and admission policies.

mod expressions;
mod matching;
mod policies;
mod webhooks;

use api::{Map, Value};

use crate::strategies::cells;
use crate::strategies::fields::{Fields, map_at, of};
use crate::strategies::kind::{Generation, Kind, PLAIN, SPEC, StatusField};

pub const MUTATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for w in object.items_mut("webhooks") {
            webhook(w);
            w.default("reinvocationPolicy", "Never");
        }
    },
    generation: Generation::Of(&["webhooks"]),
    validate_create: webhooks::validate,
    validate_update: webhooks::validate_update,
    cells: Some(count_webhooks),
    unconditional_update: false,
    ..PLAIN
};

pub const VALIDATING_WEBHOOKS: Kind =
    Kind { defaults: |object| object.items_mut("webhooks").for_each(webhook), ..MUTATING_WEBHOOKS };

fn count_webhooks(o: &Value, now: jiff::Timestamp) -> Vec<Value> {
    vec![cells::name(o), Value::Int(of(o).list("webhooks").len() as i64), cells::age(o, now)]
}

fn webhook(w: &mut Map) {
    w.default("failurePolicy", "Fail");
    w.default("matchPolicy", "Equivalent");
    w.default("namespaceSelector", Value::map());
    w.default("objectSelector", Value::map());
    w.default("timeoutSeconds", 10i64);
    w.items_mut("rules").for_each(|r| r.default("scope", "*"));
    if let Some(service) = w.sub_mut("clientConfig").and_then(|c| c.sub_mut("service")) {
        service.default("port", 443i64);
    }
}

fn match_resources(m: &mut Map) {
    m.default("matchPolicy", "Equivalent");
    m.default("namespaceSelector", Value::map());
    m.default("objectSelector", Value::map());
    for list in ["resourceRules", "excludeResourceRules"] {
        m.items_mut(list).for_each(|r| r.default("scope", "*"));
    }
}

fn policy(object: &mut Map) {
    let Some(spec) = object.sub_mut("spec") else { return };
    spec.default("failurePolicy", "Fail");
    if let Some(m) = spec.sub_mut("matchConstraints") {
        match_resources(m);
    }
}

fn policy_row(o: &Value, part: &str, now: jiff::Timestamp) -> Vec<Value> {
    let kind = map_at(o, &["spec", "paramKind"]);
    let shown = match kind.text("kind") {
        "" => "<unset>".to_owned(),
        name => format!("{}/{name}", kind.text("apiVersion")),
    };
    vec![
        cells::name(o),
        Value::Int(map_at(o, &["spec"]).list(part).len() as i64),
        shown.into(),
        cells::age(o, now),
    ]
}

pub const MUTATING_POLICY: Kind = Kind {
    defaults: policy,
    validate_create: policies::mutating,
    validate_update: policies::mutating_update,
    cells: Some(|o, now| policy_row(o, "mutations", now)),
    unconditional_update: false,
    ..SPEC
};

pub const VALIDATING_POLICY: Kind = Kind {
    defaults: policy,
    status: StatusField::Own,
    validate_create: policies::validating,
    validate_update: policies::validating_update,
    validate_status: policies::status,
    cells: Some(|o, now| policy_row(o, "validations", now)),
    unconditional_update: false,
    ..SPEC
};

pub const VALIDATING_BINDING: Kind = Kind { validate: policies::validating_binding, ..BINDING };

pub const MUTATING_BINDING: Kind = Kind { validate: policies::mutating_binding, ..BINDING };

const BINDING: Kind = Kind {
    defaults: |object| {
        if let Some(m) = object.sub_mut("spec").and_then(|s| s.sub_mut("matchResources")) {
            match_resources(m);
        }
    },
    cells: Some(|o, now| {
        let param = map_at(o, &["spec", "paramRef"]);
        let shown = match (param.text("namespace"), param.text("name")) {
            ("", "") if param.is_empty() => "<unset>".to_owned(),
            ("", name) => format!("*/{name}"),
            (ns, name) => format!("{ns}/{name}"),
        };
        vec![cells::name(o), o.str_at(&["spec", "policyName"]).into(), shown.into(), cells::age(o, now)]
    }),
    unconditional_update: false,
    ..SPEC
};
