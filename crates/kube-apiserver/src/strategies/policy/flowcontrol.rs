//! FlowSchemas, PriorityLevelConfigurations, PriorityClasses.

use api::Value;
use apimachinery::field::{Error, Path};

use crate::strategies::fields::{Fields, map_at};
use crate::strategies::kind::{Generation, Kind, PLAIN, SPEC_AND_STATUS};
use crate::strategies::{cells, validation};

pub const FLOW_SCHEMA: Kind = Kind {
    defaults: |object| object.map_mut("spec").default_zero("matchingPrecedence", 1000i64),
    validate: |object, errors| {
        let number = object.int_at(&["spec", "matchingPrecedence"]).unwrap_or(0);
        let at = Path::new("spec").child("matchingPrecedence");
        if number > 10000 {
            errors.push(Error::invalid(&at, &number, "must not be greater than 10000"));
        } else if number < 1 {
            errors.push(Error::invalid(&at, &number, "must be a positive value"));
        }
        if object.str_at(&["spec", "priorityLevelConfiguration", "name"]).is_empty() {
            let at = Path::new("spec").child("priorityLevelConfiguration").child("name");
            errors.push(Error::required(&at, "must reference a priority level"));
        }
    },
    cells: Some(|o, now| {
        let dangling = map_at(o, &["status"]).items("conditions").find(|c| c.text("type") == "Dangling");
        let missing = dangling.map_or("?", |c| c.text("status"));
        vec![
            cells::name(o),
            o.str_at(&["spec", "priorityLevelConfiguration", "name"]).into(),
            o.int_at(&["spec", "matchingPrecedence"]).unwrap_or(0).into(),
            cells::or_none(o.str_at(&["spec", "distinguisherMethod", "type"])),
            cells::age(o, now),
            missing.into(),
        ]
    }),
    ..SPEC_AND_STATUS
};

pub const PRIORITY_LEVEL: Kind = Kind {
    defaults: |object| {
        let Some(spec) = object.sub_mut("spec") else { return };
        if let Some(limited) = spec.sub_mut("limited") {
            limited.default("nominalConcurrencyShares", 30i64);
            limited.default("lendablePercent", 0i64);
            if let Some(queuing) = limited.sub_mut("limitResponse").and_then(|r| r.sub_mut("queuing")) {
                queuing.default_zero("handSize", 8i64);
                queuing.default_zero("queues", 64i64);
                queuing.default_zero("queueLengthLimit", 50i64);
            }
        }
        if let Some(exempt) = spec.sub_mut("exempt") {
            exempt.default("nominalConcurrencyShares", 0i64);
            exempt.default("lendablePercent", 0i64);
        }
    },
    cells: Some(|o, now| {
        let queuing = map_at(o, &["spec", "limited", "limitResponse", "queuing"]);
        let shares = o.int_at(&["spec", "limited", "nominalConcurrencyShares"]).or(o.int_at(&[
            "spec",
            "exempt",
            "nominalConcurrencyShares",
        ]));
        let text = |n: Option<i64>| n.map_or(Value::from("<none>"), Value::Int);
        vec![
            cells::name(o),
            o.str_at(&["spec", "type"]).into(),
            text(shares),
            text(queuing.int("queues")),
            text(queuing.int("handSize")),
            text(queuing.int("queueLengthLimit")),
            cells::age(o, now),
        ]
    }),
    ..SPEC_AND_STATUS
};

/// The highest priority that users may give; above it are the system's.
const HIGHEST: i64 = 1_000_000_000;

pub const PRIORITY_CLASS: Kind = Kind {
    defaults: |object| object.default("preemptionPolicy", "PreemptLowerPriority"),
    generation: Generation::Of(&["description", "globalDefault", "preemptionPolicy", "value"]),
    validate: |object, errors| {
        let name = object.str_at(&["metadata", "name"]);
        let system = matches!(name, "system-cluster-critical" | "system-node-critical");
        if name.starts_with("system-") && !system {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            );
            errors.push(Error::forbidden(&Path::new("metadata").child("name"), why));
        }
        let value = object.int_at(&["value"]).unwrap_or(0);
        if !name.starts_with("system-") && value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(Error::forbidden(&Path::new("value"), why));
        }
        let policy = object.str_at(&["preemptionPolicy"]);
        let at = Path::new("preemptionPolicy");
        validation::one_of(errors, policy, &["Never", "PreemptLowerPriority"], &at, true);
    },
    validate_update: |object, old, errors| {
        if object.int_at(&["value"]).unwrap_or(0) != old.int_at(&["value"]).unwrap_or(0) {
            errors.push(Error::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        errors.extend(validation::immutable(object, old, &["preemptionPolicy"]));
    },
    cells: Some(|o, now| {
        let map = map_at(o, &[]);
        vec![
            cells::name(o),
            cells::int(o, &["value"]),
            Value::from(map.flag("globalDefault")),
            cells::age(o, now),
            map.text("preemptionPolicy").into(),
        ]
    }),
    ..PLAIN
};
