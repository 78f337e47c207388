//! Which names a definition gets, and its conditions: a pure function of it and of the other definitions of its
//! group, and the change of its status that follows.

use std::collections::HashSet;

use api::{Value, value};
use jiff::Timestamp;

use super::definition::{Definition, Names};

/// One condition to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

fn condition(
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: impl Into<String>,
) -> Condition {
    Condition { kind, status, reason, message: message.into() }
}

/// What the status of a definition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub accepted: Names,
    pub conditions: Vec<Condition>,
}

/// Names that other definitions of the group have been granted.
#[derive(Default)]
struct Taken<'a> {
    resources: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

/// Grants `of` its names unless others of its group have them. A definition that is established stays so.
pub fn plan<'a>(of: &Definition, others: impl Iterator<Item = &'a Definition>) -> Plan {
    let mut taken = Taken::default();
    for other in others.filter(|o| o.group == of.group && o.name != of.name) {
        let names = &other.accepted;
        taken
            .resources
            .extend([names.plural.as_str(), names.singular.as_str()].into_iter().filter(|n| !n.is_empty()));
        taken.resources.extend(names.short_names.iter().map(String::as_str));
        taken
            .kinds
            .extend([names.kind.as_str(), names.list_kind.as_str()].into_iter().filter(|n| !n.is_empty()));
    }
    let mut accepted = of.accepted.clone();
    let conflict = grant(of, &taken, &mut accepted);
    accepted.categories = of.names.categories.clone();
    let names = match &conflict {
        Some((reason, message)) => condition("NamesAccepted", false, reason, message.as_str()),
        None => condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    let mut conditions = vec![names];
    match (of.established, conflict.is_none()) {
        (true, _) => {}
        (false, true) => {
            let text = "the initial names have been accepted";
            conditions.push(condition("Established", true, "InitialNamesAccepted", text));
        }
        (false, false) => {
            conditions.push(condition("Established", false, "NotAccepted", "not all names are accepted"));
        }
    }
    Plan { accepted, conditions }
}

/// Takes over what is free; the last conflict.
fn grant(of: &Definition, taken: &Taken<'_>, accepted: &mut Names) -> Option<(&'static str, String)> {
    let mut conflict = None;
    let mut one = |wanted: &str, has: &mut String, used: &HashSet<&str>, reason| {
        if wanted == has.as_str() || !used.contains(wanted) {
            *has = wanted.to_owned();
        } else {
            conflict = Some((reason, format!("{wanted:?} is already in use")));
        }
    };
    let names = &of.names;
    one(&names.plural, &mut accepted.plural, &taken.resources, "PluralConflict");
    one(&names.singular, &mut accepted.singular, &taken.resources, "SingularConflict");
    let own: HashSet<&str> = of.accepted.short_names.iter().map(String::as_str).collect();
    let bad: Vec<String> = names
        .short_names
        .iter()
        .filter(|n| !own.contains(n.as_str()) && taken.resources.contains(n.as_str()))
        .map(|n| format!("{n:?} is already in use"))
        .collect();
    one(&names.kind, &mut accepted.kind, &taken.kinds, "KindConflict");
    one(&names.list_kind, &mut accepted.list_kind, &taken.kinds, "ListKindConflict");
    if bad.is_empty() {
        accepted.short_names = names.short_names.clone();
        return conflict;
    }
    let message = if bad.len() == 1 { bad.concat() } else { format!("[{}]", bad.join(", ")) };
    conflict.or(Some(("ShortNamesConflict", message)))
}

/// Whether the status already says all of it.
pub fn is_done(object: &Value, plan: &Plan) -> bool {
    let names = Names::of(object.at(&["status", "acceptedNames"]).unwrap_or(&Value::Null));
    names == plan.accepted && plan.conditions.iter().all(|c| has(object, c))
}

fn has(object: &Value, wanted: &Condition) -> bool {
    let all = object.list_at(&["status", "conditions"]);
    let status = if wanted.status { "True" } else { "False" };
    all.iter().any(|c| {
        c.str_at(&["type"]) == wanted.kind
            && c.str_at(&["status"]) == status
            && c.str_at(&["reason"]) == wanted.reason
            && c.str_at(&["message"]) == wanted.message
    })
}

/// Writes the plan into a definition's status.
pub fn apply(object: &mut Value, plan: &Plan, now: Timestamp) {
    object.set_at(&["status", "acceptedNames"], plan.accepted.to_value());
    plan.conditions.iter().for_each(|c| set(object, c, now));
}

/// Sets one condition; its time changes with its status only.
pub(super) fn set(object: &mut Value, wanted: &Condition, now: Timestamp) {
    let status = if wanted.status { "True" } else { "False" };
    let mut all = object.list_at(&["status", "conditions"]).to_vec();
    let at = all.iter().position(|c| c.str_at(&["type"]) == wanted.kind);
    let kept = at.filter(|at| all[*at].str_at(&["status"]) == status);
    let time = kept.and_then(|at| all[at].get("lastTransitionTime").cloned());
    let time = time.unwrap_or_else(|| apimachinery::time::format(now).into());
    let new = value!({
        "type": wanted.kind,
        "status": status,
        "lastTransitionTime": time,
        "reason": wanted.reason,
        "message": wanted.message.as_str(),
    });
    match at {
        Some(at) => all[at] = new,
        None => all.push(new),
    }
    object.set_at(&["status", "conditions"], all);
}

#[cfg(test)]
mod tests {

    use super::*;

    fn widgets(name: &str, kind: &str, short: &str) -> Definition {
        Definition::read(
            &value!({"apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": format!("{name}.e.com")},
            "spec": {"group": "e.com", "names": {"plural": name, "singular": kind.to_lowercase(), "kind": kind,
                "listKind": format!("{kind}List"), "shortNames": [short]}}}),
        )
    }

    fn granted(mut of: Definition) -> Definition {
        of.accepted = of.names.clone();
        of
    }

    #[test]
    fn free_names_are_accepted() {
        let got = plan(&widgets("widgets", "Widget", "w"), [].into_iter());
        assert_eq!(got.accepted, widgets("widgets", "Widget", "w").names);
        let said: Vec<_> = got.conditions.iter().map(|c| (c.kind, c.status, c.reason)).collect();
        assert_eq!(
            said,
            [("NamesAccepted", true, "NoConflicts"), ("Established", true, "InitialNamesAccepted")]
        );
    }

    #[test]
    fn names_of_others_are_not() {
        let other = granted(widgets("others", "Widget", "o"));
        let got = plan(&widgets("widgets", "Widget", "w"), [&other].into_iter());
        assert_eq!(
            (got.conditions[0].reason, got.conditions[0].message.as_str()),
            ("ListKindConflict", "\"WidgetList\" is already in use")
        );
        assert_eq!((got.accepted.plural.as_str(), got.accepted.kind.as_str()), ("widgets", ""));
        assert!(!got.conditions[1].status);
        let short = plan(&widgets("gadgets", "Gadget", "o"), [&other].into_iter());
        assert_eq!(short.conditions[0].reason, "ShortNamesConflict");
    }

    #[test]
    fn times_follow_the_status() {
        let mut object = value!({"status": {}});
        let plan = plan(&widgets("widgets", "Widget", "w"), [].into_iter());
        apply(&mut object, &plan, Timestamp::UNIX_EPOCH);
        let once = object.clone();
        assert!(is_done(&object, &plan));
        apply(&mut object, &plan, Timestamp::from_second(5).unwrap());
        assert_eq!(object, once);
    }
}
