//! Webhook configurations and admission policies.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};

use crate::strategies::fields::{Fields, map_at, of};
use crate::strategies::kind::{Generation, Kind, PLAIN, SPEC, StatusField};
use crate::strategies::{cells, names, validation};

pub const MUTATING_WEBHOOKS: Kind = Kind {
    defaults: |object| {
        for w in object.items_mut("webhooks") {
            webhook(w);
            w.default("reinvocationPolicy", "Never");
        }
    },
    generation: Generation::Of(&["webhooks"]),
    validate: webhooks,
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

fn webhooks(object: &Value, errors: &mut ErrorList) {
    let all = of(object).items("webhooks").enumerate();
    validation::unique(
        all.map(|(i, w)| (Path::new("webhooks").index(i).child("name"), w.text("name"))),
        errors,
    );
    for (i, w) in of(object).items("webhooks").enumerate() {
        let path = Path::new("webhooks").index(i);
        let name = w.text("name");
        qualified(name, &path.child("name"), errors);
        match w.text("sideEffects") {
            "None" | "NoneOnDryRun" => {}
            "" => errors
                .push(Error::required(&path.child("sideEffects"), "must specify one of None, NoneOnDryRun")),
            other => errors.push(Error::not_supported(
                &path.child("sideEffects"),
                other,
                &["None", "NoneOnDryRun"],
            )),
        }
        validation::one_of(
            errors,
            w.text("failurePolicy"),
            &["Fail", "Ignore"],
            &path.child("failurePolicy"),
            false,
        );
        validation::one_of(
            errors,
            w.text("matchPolicy"),
            &["Equivalent", "Exact"],
            &path.child("matchPolicy"),
            false,
        );
        let seconds = w.int("timeoutSeconds").unwrap_or(10);
        if !(1..=30).contains(&seconds) {
            errors.push(Error::invalid(
                &path.child("timeoutSeconds"),
                &seconds,
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
        client(w, &path.child("clientConfig"), errors);
        rules(w, &path.child("rules"), errors);
        let versions = w.list("admissionReviewVersions");
        if versions.is_empty() {
            errors.push(Error::required(
                &path.child("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        } else if !versions.iter().any(|v| matches!(v.as_str(), Some("v1" | "v1beta1"))) {
            let shown = Value::List(versions.to_vec());
            let why = "must include at least one of v1, v1beta1";
            errors.push(Error::invalid(
                &path.child("admissionReviewVersions"),
                &validation::Json(&shown),
                why,
            ));
        }
    }
}

fn qualified(name: &str, path: &Path, errors: &mut ErrorList) {
    if name.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    errors.extend(names::dns1123_subdomain(name).into_iter().map(|why| Error::invalid(path, name, why)));
    if name.split('.').count() < 3 {
        errors.push(Error::invalid(
            path,
            name,
            "should be a domain with at least three segments separated by dots",
        ));
    }
}

fn client(w: &Map, path: &Path, errors: &mut ErrorList) {
    let empty = Map::new();
    let config = w.sub("clientConfig").unwrap_or(&empty);
    match (config.text("url"), config.sub("service")) {
        ("", None) => errors.push(Error::required(path, "exactly one of url or service is required")),
        ("", Some(s)) => {
            for name in ["namespace", "name"] {
                if s.text(name).is_empty() {
                    errors.push(Error::required(
                        &path.child("service").child(name),
                        format!("service {name} is required"),
                    ));
                }
            }
        }
        (_, Some(_)) => errors.push(Error::required(path, "exactly one of url or service is required")),
        (url, None) if !url.starts_with("https://") => {
            errors.push(Error::invalid(
                &path.child("url"),
                url,
                "'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ));
        }
        _ => {}
    }
}

fn rules(w: &Map, path: &Path, errors: &mut ErrorList) {
    for (i, r) in w.items("rules").enumerate() {
        let at = path.index(i);
        for name in ["operations", "apiGroups", "apiVersions", "resources"] {
            if r.list(name).is_empty() {
                errors.push(Error::required(&at.child(name), ""));
            }
        }
        let known = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
        for (j, o) in r.list("operations").iter().filter_map(Value::as_str).enumerate() {
            validation::one_of(errors, o, &known, &at.child("operations").index(j), true);
        }
        validation::one_of(
            errors,
            r.text("scope"),
            &["*", "Cluster", "Namespaced"],
            &at.child("scope"),
            false,
        );
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

pub const MUTATING_POLICY: Kind =
    Kind { defaults: policy, cells: Some(|o, now| policy_row(o, "mutations", now)), ..SPEC };

pub const VALIDATING_POLICY: Kind = Kind {
    defaults: policy,
    status: StatusField::Own,
    cells: Some(|o, now| policy_row(o, "validations", now)),
    ..SPEC
};

pub const POLICY_BINDING: Kind = Kind {
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
    ..SPEC
};
