//! PodDisruptionBudgets.

use api::Value;
use apimachinery::field::{Error, Path};

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Kind, SPEC_AND_STATUS};
use crate::strategies::{cells, selectors, validation};

pub const POD_DISRUPTION_BUDGET: Kind = Kind {
    validate: |object, errors| {
        let (spec, path) = (map_at(object, &["spec"]), Path::new("spec"));
        if spec.has("minAvailable") && spec.has("maxUnavailable") {
            let part = |name: &str| {
                spec.get(name)
                    .map_or("null".into(), |v| apimachinery::field::Shown::shown(&validation::Json(v)))
            };
            let shown = validation::Verbatim(format!(
                "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
                part("minAvailable"),
                part("selector"),
                part("maxUnavailable"),
                part("unhealthyPodEvictionPolicy")
            ));
            errors.push(Error::invalid(&path, &shown, "minAvailable and maxUnavailable cannot be both set"));
        }
        for name in ["minAvailable", "maxUnavailable"] {
            validation::int_or_percent(spec.get(name), &path.child(name), errors);
        }
        if let Some(s) = spec.sub("selector") {
            selectors::validate(s, &path.child("selector"), errors);
        }
        let policy = spec.text("unhealthyPodEvictionPolicy");
        let at = path.child("unhealthyPodEvictionPolicy");
        validation::one_of(errors, policy, &["AlwaysAllow", "IfHealthyBudget"], &at, false);
    },
    cells: Some(|o, now| {
        let spec = map_at(o, &["spec"]);
        let bound = |name: &str| Value::from(cells::int_or_string(spec.get(name), "N/A"));
        vec![
            cells::name(o),
            bound("minAvailable"),
            bound("maxUnavailable"),
            cells::int(o, &["status", "disruptionsAllowed"]),
            cells::age(o, now),
        ]
    }),
    unconditional_update: false,
    ..SPEC_AND_STATUS
};
