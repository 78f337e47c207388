//! Ownership: what an update or an apply does to the sets of all managers (KEP-555). Knows no object's metadata; see
//! `manager` for the rules around it.

use std::borrow::Cow;

use super::compare::{Comparison, compare, field_set};
use super::managed::{Entry, Managed, Manager, Operation};
use super::place::Place;
use super::set::Set;
use super::typed::{overlay, remove, with_named_fields};
use crate::schema::TypeRef;
use crate::value::Value;

/// The versions of a kind: managedFields keep the paths of the version in which each manager wrote.
pub trait Versions: Sync {
    /// The kind's type in a version; None for one that is not served (any more), whose entries are dropped.
    fn type_of(&self, api_version: &str) -> Option<TypeRef>;

    /// The object in another version; None where it cannot be converted.
    fn convert(&self, object: &Value, api_version: &str) -> Option<Value>;
}

/// Paths that an applied configuration may not take: (manager, path) each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conflicts(pub Vec<(Manager, Set)>);

pub(super) struct Updater<'a> {
    pub versions: &'a dyn Versions,
    /// Of the request.
    pub api_version: &'a str,
    pub of: TypeRef,
    /// Paths that this endpoint resets, in the request's version.
    pub reset: &'a Set,
}

impl Updater<'_> {
    fn place(&self) -> Place<'_> {
        Place::Root(&self.of)
    }

    fn type_in(&self, api_version: &str) -> Option<TypeRef> {
        if api_version == self.api_version {
            Some(self.of.clone())
        } else {
            self.versions.type_of(api_version)
        }
    }

    fn convert<'v>(&self, value: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to { Some(Cow::Borrowed(value)) } else { self.versions.convert(value, to).map(Cow::Owned) }
    }

    /// What a change does in another version; None: there is no such version.
    fn compare_in(&self, api_version: &str, old: &Value, new: &Value) -> Option<Comparison> {
        let of = self.type_in(api_version)?;
        let old = self.convert(old, self.api_version, api_version)?;
        let new = self.convert(new, self.api_version, api_version)?;
        Some(compare(Place::Root(&of), &old, &new))
    }

    pub fn compare(&self, old: &Value, new: &Value) -> Comparison {
        compare(self.place(), old, new).without(self.reset)
    }

    /// Takes from all managers but `own` what the change adds, modifies or removes. Without `force` an added or
    /// modified path of somebody else's is a conflict.
    fn take(
        &self,
        managed: &mut Managed,
        own: &Manager,
        change: &Comparison,
        old: &Value,
        new: &Value,
        force: bool,
    ) -> Result<(), Conflicts> {
        let mut known: Vec<(String, Option<Comparison>)> =
            vec![(self.api_version.into(), Some(change.clone()))];
        let mut conflicts = Conflicts::default();
        let mut kept = Vec::with_capacity(managed.0.len());
        for mut entry in std::mem::take(&mut managed.0) {
            if entry.manager == *own {
                kept.push(entry);
                continue;
            }
            if !known.iter().any(|(v, _)| *v == entry.api_version) {
                known.push((entry.api_version.clone(), self.compare_in(&entry.api_version, old, new)));
            }
            let Some(change) =
                known.iter().find(|(v, _)| *v == entry.api_version).and_then(|(_, c)| c.as_ref())
            else {
                continue;
            };
            let taken = entry.set.intersection(&change.modified.union(&change.added));
            if !taken.is_empty() {
                entry.set = entry.set.difference(&taken);
                conflicts.0.push((entry.manager.clone(), taken));
            }
            if !change.removed.is_empty() {
                entry.set = entry.set.difference(&change.removed);
            }
            kept.push(entry);
        }
        kept.retain(|e| !e.set.is_empty());
        managed.0 = kept;
        if force || conflicts.0.is_empty() { Ok(()) } else { Err(conflicts) }
    }

    /// An update by `manager`: it owns from now on what it changed. The answer is the set of its new paths beside
    /// those it had.
    pub fn update(&self, managed: &mut Managed, change: &Comparison, old: &Value, new: &Value) -> Set {
        let nobody = Manager::new("current-operation", Operation::Update, "", "");
        // Forced, so there is no conflict to report.
        let _ = self.take(managed, &nobody, change, old, new, true);
        change.modified.union(&change.added).recursive_difference(self.reset)
    }

    /// Lays `config` over `live` for `manager`, who gives up what the configuration no longer says. `managed` has
    /// the new entry afterwards. None: the live object already is so.
    pub fn apply(
        &self,
        managed: &mut Managed,
        live: &Value,
        config: &Value,
        manager: &Manager,
        force: bool,
    ) -> Result<Option<Value>, Conflicts> {
        self.fit_to_schema(managed);
        let mut new = live.clone();
        overlay(self.place(), &mut new, config);
        let last = managed.remove(manager);
        let set = field_set(self.place(), config).recursive_difference(self.reset);
        let time = last.as_ref().and_then(|e| e.time);
        let last = last.filter(|e| !self.keeps(e, &set));
        managed.0.push(Entry { manager: manager.clone(), api_version: self.api_version.into(), time, set });
        if let Some(last) = last {
            new = self.prune(new, managed, &last);
        }
        let change = self.compare(live, &new);
        self.take(managed, manager, &change, live, &new, force)?;
        Ok((new != *live).then_some(new))
    }

    /// Whether a configuration with these paths says all that `last` said: then nothing is to be removed, as everything
    /// that [`Self::prune`] takes away it gives back.
    fn keeps(&self, last: &Entry, set: &Set) -> bool {
        let same_version = last.api_version == self.api_version;
        last.set.is_empty() || same_version && last.set.difference(set).is_empty()
    }

    /// Removes what `last` had and nobody has any more.
    fn prune(&self, merged: Value, managed: &Managed, last: &Entry) -> Value {
        let version = last.api_version.as_str();
        let Some(of) = self.type_in(version) else { return merged };
        let Some(at_version) = self.convert(&merged, self.api_version, version) else { return merged };
        let place = Place::Root(&of);
        let mut pruned = at_version.clone().into_owned();
        remove(place, &mut pruned, &with_named_fields(place, &last.set));
        let pruned = self.add_back_owned(&at_version, pruned, version, managed);
        let pruned = add_back_dangling(place, &at_version, &pruned, &last.set);
        match self.convert(&pruned, version, self.api_version) {
            Some(Cow::Owned(value)) => value,
            Some(Cow::Borrowed(_)) => pruned,
            None => merged,
        }
    }

    /// Gives back what other managers own.
    fn add_back_owned(&self, merged: &Value, pruned: Value, version: &str, managed: &Managed) -> Value {
        let mut versions: Vec<&str> = managed.0.iter().map(|e| e.api_version.as_str()).collect();
        versions.sort_by_key(|v| (*v != version, *v));
        versions.dedup();
        let mut pruned = pruned;
        for at in versions {
            let sets = managed.0.iter().filter(|e| e.api_version == at).map(|e| &e.set);
            let owned = sets.fold(Set::new(), |all, set| all.union(set));
            let Some(of) = self.type_in(at) else { continue };
            let Some(merged) = self.convert(merged, version, at) else { continue };
            let Some(pruned_at) = self.convert(&pruned, version, at) else { continue };
            let place = Place::Root(&of);
            let all = with_named_fields(place, &field_set(place, &merged));
            let left = with_named_fields(place, &field_set(place, &pruned_at));
            let gone = all.difference(&left.union(&with_named_fields(place, &owned)));
            let mut out = merged.into_owned();
            remove(place, &mut out, &gone);
            match self.convert(&out, at, version) {
                Some(Cow::Owned(value)) => pruned = value,
                Some(Cow::Borrowed(_)) => pruned = out,
                None => {}
            }
        }
        pruned
    }

    /// Where the schema made a map or list atomic after a manager had taken paths below it, it owns the whole.
    pub fn fit_to_schema(&self, managed: &mut Managed) {
        for entry in &mut managed.0 {
            let Some(of) = self.type_in(&entry.api_version) else { continue };
            if has_paths_in_atomic(Place::Root(&of), &entry.set) {
                entry.set = lifted(Place::Root(&of), &entry.set);
            }
        }
    }
}

/// Gives back what went although `last` did not have it: what stood below something that it had.
fn add_back_dangling(place: Place<'_>, merged: &Value, pruned: &Value, last: &Set) -> Value {
    let left = with_named_fields(place, &field_set(place, pruned));
    let all = with_named_fields(place, &field_set(place, merged));
    let gone = all.difference(&left).intersection(&with_named_fields(place, last));
    let mut out = merged.clone();
    remove(place, &mut out, &gone);
    out
}

fn step<'a>(place: Place<'a>, element: &super::path::PathElement) -> Place<'a> {
    match element {
        super::path::PathElement::Field(name) => place.field(name).map_or(Place::Untyped, |f| f.0),
        _ => place.item(),
    }
}

/// Declared atomic, whatever the value.
fn is_atomic(place: Place<'_>) -> bool {
    match place {
        Place::Node(node) => {
            let container = matches!(
                node.shape,
                crate::schema::Shape::Struct(_)
                    | crate::schema::Shape::Map(_)
                    | crate::schema::Shape::List(_)
            );
            container && place.kind(&Value::Null) == super::place::Kind::Leaf
        }
        _ => false,
    }
}

fn has_paths_in_atomic(place: Place<'_>, set: &Set) -> bool {
    set.children.iter().any(|(element, child)| {
        let below = step(place, element);
        is_atomic(below) || has_paths_in_atomic(below, child)
    })
}

fn lifted(place: Place<'_>, set: &Set) -> Set {
    let mut out = Set { members: set.members.clone(), children: Vec::new() };
    for (element, child) in &set.children {
        let below = step(place, element);
        if is_atomic(below) {
            out.insert_member(element.clone());
        } else {
            out.put_child(element.clone(), lifted(below, child));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::by_gvk;
    use crate::value::Map;

    struct One;

    impl Versions for One {
        fn type_of(&self, _: &str) -> Option<TypeRef> {
            by_gvk("apps", "v1", "Deployment")
        }

        fn convert(&self, _: &Value, _: &str) -> Option<Value> {
            None
        }
    }

    /// The next number below `n` of a fixed row of random ones.
    fn below(seed: &mut u64, n: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % n
    }

    /// Some labels, containers, ports, environment, and lists that are replaced as a whole.
    fn configuration(seed: &mut u64) -> Value {
        let mut labels = Map::new();
        (0..3).for_each(|i| {
            if below(seed, 2) == 0 {
                labels.insert(format!("l{i}"), format!("v{}", below(seed, 2)));
            }
        });
        let mut containers = Vec::new();
        for name in ["a", "b"] {
            if below(seed, 3) == 0 {
                continue;
            }
            let mut env = Vec::new();
            for name in ["E0", "E1", "E2"] {
                if below(seed, 2) == 0 {
                    env.push(crate::value!({"name": name, "value": (format!("{}", below(seed, 2)))}));
                }
            }
            let args: Vec<Value> = (0..below(seed, 3)).map(|i| Value::from(format!("x{i}"))).collect();
            let mut one = crate::value!({"name": name, "image": (format!("i{}", below(seed, 2)))});
            let fields = [("env", env), ("args", args)];
            fields.into_iter().filter(|(_, l)| !l.is_empty()).for_each(|(k, l)| one.set_at(&[k], l));
            containers.push(one);
        }
        let mut out =
            crate::value!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        if !labels.is_empty() {
            out.set_at(&["metadata", "labels"], labels);
        }
        if !containers.is_empty() {
            out.set_at(&["spec", "template", "spec", "containers"], containers);
        }
        if below(seed, 2) == 0 {
            out.set_at(&["spec", "replicas"], below(seed, 3) as i64);
        }
        out
    }

    /// Where nothing that was said goes unsaid, the way by removal and giving back comes to the same object.
    #[test]
    fn what_keeps_all_paths_prunes_nothing() {
        let of = by_gvk("apps", "v1", "Deployment").unwrap();
        let reset = Set::of_fields(&[&["status"]]);
        let updater = Updater { versions: &One, api_version: "apps/v1", of, reset: &reset };
        let (mut seed, mut kept) = (7, 0);
        for _ in 0..3000 {
            let mut live =
                crate::value!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
            live.set_at(&["spec", "revisionHistoryLimit"], 10i64);
            let mut managed = Managed::default();
            for step in 0..4 {
                let manager = Manager::new(["m", "n"][step % 2], Operation::Apply, "apps/v1", "");
                let config = configuration(&mut seed);
                let before = managed.clone();
                let new = updater.apply(&mut managed, &live, &config, &manager, true).unwrap();
                let set = field_set(updater.place(), &config).recursive_difference(&reset);
                if let Some(last) = before.get(&manager).filter(|e| updater.keeps(e, &set)) {
                    kept += 1;
                    let mut merged = live.clone();
                    overlay(updater.place(), &mut merged, &config);
                    let mut owners = before.clone();
                    owners.remove(&manager);
                    owners.0.push(Entry { set, ..last.clone() });
                    let pruned = updater.prune(merged.clone(), &owners, last);
                    assert_eq!(crate::json::to_string(&pruned), crate::json::to_string(&merged));
                }
                live = new.unwrap_or(live);
            }
        }
        assert!(kept > 200, "{kept}");
    }
}
