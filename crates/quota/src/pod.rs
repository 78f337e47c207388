//! What a pod uses: the larger of its containers' sum and of what its init containers need on the way.

use std::collections::BTreeSet;
use std::str::FromStr;

use apimachinery::quantity::{Format, Quantity};

use crate::object::{Container, Object, Resources, amounts};
use crate::{Amounts, add};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Whether a name in a quota is about what pods request or may use.
pub fn is_compute(name: &str) -> bool {
    let bare = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits."));
    match bare {
        Some(bare) => COMPUTE.contains(&bare) || bare.contains('/') || bare.starts_with("hugepages-"),
        None => COMPUTE.contains(&name) || name.starts_with("hugepages-"),
    }
}

/// Ended pods, and those that should have ended by now, use nothing but their place in `count/pods`.
fn counts(pod: &Object, now: i64) -> bool {
    if matches!(&*pod.status.phase, "Failed" | "Succeeded") {
        return false;
    }
    let (deletion, grace) = (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds);
    match (deletion.as_deref().and_then(seconds), grace) {
        (Some(deletion), Some(grace)) => now <= deletion + grace,
        _ => true,
    }
}

/// Seconds since the epoch of a time in RFC 3339, UTC.
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (shifted, of_year) = (if month <= 2 { year - 1 } else { year }, (month + 9) % 12);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * of_year + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?)
}

pub(crate) fn usage(pod: &Object, now: i64, used: &mut Amounts) {
    if !counts(pod, now) {
        return;
    }
    used.insert("pods".into(), Quantity::new(1, Format::DecimalSi));
    for (name, amount) in total(pod, |r| &r.requests) {
        let prefixed =
            name.contains('/') || COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-");
        if prefixed {
            used.insert(format!("requests.{name}"), amount.clone());
        }
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            used.insert(name, amount);
        }
    }
    for (name, amount) in total(pod, |r| &r.limits) {
        if COMPUTE.contains(&name.as_str()) {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

/// Containers together, or an init container with the sidecars that run by then, and the overhead; what the pod says
/// for itself as a whole goes before.
fn total<'a>(
    pod: &'a Object,
    part: impl Fn(&'a Resources) -> &'a std::collections::BTreeMap<String, String>,
) -> Amounts {
    let of = |c: &'a Container| amounts(part(&c.resources));
    let mut running = Amounts::new();
    pod.spec.containers.iter().for_each(|c| add(&mut running, &of(c)));
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in &pod.spec.init_containers {
        let mut now = sidecars.clone();
        add(&mut now, &of(container));
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.clone_from(&now);
            add(&mut running, &of(container));
        }
        raise(&mut peak, &now);
    }
    raise(&mut running, &peak);
    for (name, amount) in amounts(part(&pod.spec.resources)) {
        running.insert(name, amount);
    }
    if !running.is_empty() {
        add(&mut running, &amounts(&pod.spec.overhead));
    }
    running
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        match to.get_mut(name) {
            Some(known) if *known >= *amount => {}
            Some(known) => known.clone_from(amount),
            None => drop(to.insert(name.clone(), amount.clone())),
        }
    }
}

/// What containers must say because quotas of these names count it: `cpu for: a,b; memory for: a`.
pub fn missing(pod: &Object, names: &BTreeSet<String>) -> Option<String> {
    const REQUIRED: [(&str, &str, bool); 6] = [
        ("cpu", "cpu", false),
        ("limits.cpu", "cpu", true),
        ("limits.memory", "memory", true),
        ("memory", "memory", false),
        ("requests.cpu", "cpu", false),
        ("requests.memory", "memory", false),
    ];
    let mut said = Vec::new();
    for (name, resource, limit) in REQUIRED.into_iter().filter(|(name, ..)| names.contains(*name)) {
        let has = |r: &Resources| {
            let part = if limit { &r.limits } else { &r.requests };
            part.get(resource).is_some_and(|q| Quantity::from_str(q).is_ok())
        };
        let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
        let without: BTreeSet<&str> =
            containers.filter(|c| !has(&c.resources)).map(|c| c.name.as_str()).collect();
        if !without.is_empty() && !has(&pod.spec.resources) {
            said.push(format!("{name} for: {}", without.into_iter().collect::<Vec<_>>().join(",")));
        }
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// Neither requests nor limits of CPU or memory.
pub(crate) fn is_best_effort(pod: &Object) -> bool {
    let says = |r: &Resources| {
        let all = r.requests.iter().chain(&r.limits);
        all.into_iter().any(|(name, text)| {
            matches!(&**name, "cpu" | "memory") && Quantity::from_str(text).is_ok_and(|q| !q.is_zero())
        })
    };
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    !says(&pod.spec.resources) && !containers.into_iter().any(|c| says(&c.resources))
}
