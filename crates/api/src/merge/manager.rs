//! The field manager of one endpoint: what create, update, patch and apply do to `metadata.managedFields` (KEP-555),
//! in the order of upstream's chain of managers.

use apimachinery::status::{Cause, Details};
use apimachinery::{GroupVersionKind, Reason, Status};
use jiff::Timestamp;

use super::last_applied;
use super::managed::{Entry, Managed, Manager, Operation};
use super::path::path_text;
use super::place::Place;
use super::set::Set;
use super::updater::{Conflicts, Updater, Versions};
use super::validate::validate;
use crate::value::Value;

/// Update entries of one object; older ones are merged into `ancient-changes`.
const MAX_UPDATE_MANAGERS: usize = 10;

/// Everything that a request's endpoint says about owning fields.
pub struct FieldManager<'a> {
    /// Of the request.
    pub kind: &'a GroupVersionKind,
    /// "" for the main resource.
    pub subresource: &'a str,
    pub versions: &'a dyn Versions,
    /// Paths that this endpoint takes from the stored object whatever the request says (`status` at the main
    /// resource): nobody gets to own them by it.
    pub reset: &'a Set,
}

/// The object, if the apply changed it, and who manages what then.
type Applied = (Option<Value>, Managed);

impl FieldManager<'_> {
    fn api_version(&self) -> String {
        if self.kind.group.is_empty() {
            self.kind.version.to_string()
        } else {
            format!("{}/{}", self.kind.group, self.kind.version)
        }
    }

    /// Sets the managedFields of `new` after a create (`live` is [`super::empty`]), an update or a patch by `manager`.
    /// Both objects are in the request's version.
    pub fn update(&self, live: &Value, new: &mut Value, manager: &str, now: Timestamp) {
        let api_version = self.api_version();
        let Some(of) = self.versions.type_of(&api_version) else { return };
        let updater = Updater { versions: self.versions, api_version: &api_version, of, reset: self.reset };
        let source = self.source(live, new);
        let created = live.meta().uid().is_empty();
        if matches!(&source, Source::Live(list) if list.is_empty()) && !created {
            remove_managed(new);
            return;
        }
        let change = updater.compare(live, new);
        if change.is_empty() && matches!(source, Source::Live(_)) {
            let kept = Value::List(live.list_at(&MANAGED_FIELDS).to_vec());
            put_managed(new, kept);
            return;
        }
        let mut managed = source.decode(live);
        if managed.is_empty() && !created {
            remove_managed(new);
            return;
        }
        updater.fit_to_schema(&mut managed);
        let set = updater.update(&mut managed, &change, live, new);
        let id = Manager::new(manager, Operation::Update, &api_version, self.subresource);
        add_paths(&mut managed, id, &api_version, set, now);
        cap(&mut managed);
        managed.write_to(new);
    }

    /// Where the entries of an update come from: the request may bring its own at the main resource.
    fn source<'v>(&self, live: &'v Value, new: &'v Value) -> Source<'v> {
        let (of_live, of_new) = (live.list_at(&MANAGED_FIELDS), new.list_at(&MANAGED_FIELDS));
        if !self.subresource.is_empty() || of_new.is_empty() || of_new == of_live {
            return Source::Live(of_live);
        }
        if matches!(of_new, [Value::Map(entry)] if entry.values().all(is_unset)) {
            return Source::Reset;
        }
        match Managed::decode(of_new) {
            Some(managed) if !managed.is_empty() => Source::New(managed),
            _ => Source::Live(of_live),
        }
    }

    /// The object that results from applying `config` (as sent, in the request's version) to `live` ([`super::empty`]
    /// where there is none). Errors: 400 for a wrong version or managedFields in the configuration, 409 with a cause a
    /// conflict, 500 in upstream's words for what does not fit the schema.
    pub fn apply(
        &self,
        live: &Value,
        config: &Value,
        manager: &str,
        force: bool,
        now: Timestamp,
    ) -> Result<Value, Status> {
        let api_version = self.api_version();
        self.check_config(config, &api_version)?;
        let of = self
            .versions
            .type_of(&api_version)
            .ok_or_else(|| Status::internal(format!("no type for {api_version}")))?;
        let place = Place::Root(&of);
        if let Err(errors) = validate(place, config) {
            let (meta, of) = (config.meta(), self.kind);
            let name = format!(
                "{}/{}; {}/{}, Kind={}",
                meta.namespace(),
                meta.name(),
                of.group,
                of.version,
                of.kind
            );
            let why = format!("failed to create typed patch object ({name}): {errors}");
            return Err(Status::new(500, Reason::Unknown, why));
        }
        let updater =
            Updater { versions: self.versions, api_version: &api_version, of: of.clone(), reset: self.reset };
        let mut before = Managed::of(live)
            .ok_or_else(|| Status::new(500, Reason::Unknown, "failed to decode managed fields"))?;
        let mut base = live.clone();
        remove_managed(&mut base);
        if before.is_empty() {
            self.adopt(&updater, &base, &mut before, now);
        }
        let id = Manager::new(manager, Operation::Apply, &api_version, self.subresource);
        let (new, mut managed) = match self.try_apply(&updater, &before, &base, config, &id, force) {
            Err(conflicts) if manager == "kubectl" => {
                match last_applied::remaining_conflicts(place, &base, conflicts) {
                    None => self.try_apply(&updater, &before, &base, config, &id, true),
                    Some(left) => Err(left),
                }
            }
            done => done,
        }
        .map_err(|conflicts| conflict_status(&conflicts))?;
        strip(&mut managed, &id);
        // An apply that only moves ownership has no time of its own.
        if let Some(entry) = managed.get_mut(&id).filter(|_| new.is_some()) {
            entry.time = Some(now.as_second());
        }
        let mut new = new.unwrap_or(base);
        if manager == "kubectl" {
            last_applied::sync(&mut new, config);
        }
        managed.write_to(&mut new);
        Ok(new)
    }

    fn try_apply(
        &self,
        updater: &Updater<'_>,
        before: &Managed,
        base: &Value,
        config: &Value,
        id: &Manager,
        force: bool,
    ) -> Result<Applied, Conflicts> {
        let mut managed = before.clone();
        let new = updater.apply(&mut managed, base, config, id, force)?;
        Ok((new, managed))
    }

    /// The first apply to an object without managedFields: what is there belongs to `before-first-apply`.
    fn adopt(&self, updater: &Updater<'_>, live: &Value, managed: &mut Managed, now: Timestamp) {
        let empty = super::empty(&updater.of, self.kind);
        let change = updater.compare(&empty, live);
        let set = updater.update(managed, &change, &empty, live);
        let id = Manager::new("before-first-apply", Operation::Update, updater.api_version, self.subresource);
        add_paths(managed, id, updater.api_version, set, now);
    }

    fn check_config(&self, config: &Value, api_version: &str) -> Result<(), Status> {
        let (sent, kind) = (config.str_at(&["apiVersion"]), config.str_at(&["kind"]));
        if sent != api_version || kind != &*self.kind.kind {
            let slash = if sent.contains('/') { "" } else { "/" };
            return Err(Status::bad_request(format!("invalid object type: {slash}{sent}, Kind={kind}")));
        }
        match config.at(&MANAGED_FIELDS) {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(Status::bad_request("metadata.managedFields must be nil")),
        }
    }
}

const MANAGED_FIELDS: [&str; 2] = ["metadata", "managedFields"];

enum Source<'v> {
    Live(&'v [Value]),
    New(Managed),
    /// `managedFields: [{}]`.
    Reset,
}

impl Source<'_> {
    fn decode(self, live: &Value) -> Managed {
        match self {
            Self::Live(_) => Managed::of(live).unwrap_or_default(),
            Self::New(managed) => managed,
            Self::Reset => Managed::default(),
        }
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

fn remove_managed(object: &mut Value) {
    object.remove_at(&MANAGED_FIELDS);
}

fn put_managed(object: &mut Value, list: Value) {
    if list.as_list().is_some_and(<[Value]>::is_empty) {
        remove_managed(object);
    } else {
        object.set_at(&MANAGED_FIELDS, list);
    }
}

/// Adds what the current update took to its manager's entry.
fn add_paths(managed: &mut Managed, id: Manager, api_version: &str, set: Set, now: Timestamp) {
    let set = set.difference(system_fields());
    if set.is_empty() {
        return;
    }
    // Upstream keeps no time of what is written by scaling.
    let time = (id.subresource != "scale").then(|| now.as_second());
    match managed.get_mut(&id) {
        Some(entry) => {
            entry.set = entry.set.union(&set);
            entry.time = time;
            entry.api_version = api_version.into();
        }
        None => managed.0.push(Entry { manager: id, api_version: api_version.into(), time, set }),
    }
}

/// Metadata that nobody owns.
fn system_fields() -> &'static Set {
    static SET: std::sync::LazyLock<Set> = std::sync::LazyLock::new(|| {
        let top: &[&[&str]] = &[&["apiVersion"], &["kind"], &["metadata"]];
        let names = [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ];
        let below: Vec<[&str; 2]> = names.iter().map(|name| ["metadata", name]).collect();
        let below: Vec<&[&str]> = below.iter().map(|p| &p[..]).collect();
        Set::of_fields(&[top, &below[..]].concat())
    });
    &SET
}

fn strip(managed: &mut Managed, id: &Manager) {
    if let Some(entry) = managed.get_mut(id) {
        entry.set = entry.set.difference(system_fields());
        if entry.set.is_empty() {
            managed.remove(id);
        }
    }
}

/// Merges the oldest update entries of each version into one, until there are no more than ten.
fn cap(managed: &mut Managed) {
    let mut updaters: Vec<Manager> =
        managed.0.iter().filter(|e| !e.applied()).map(|e| e.manager.clone()).collect();
    if updaters.len() <= MAX_UPDATE_MANAGERS {
        return;
    }
    updaters.sort_by_key(|m| (managed.get(m).and_then(|e| e.time).unwrap_or(0), m.clone()));
    let mut count = updaters.len();
    let mut first: Vec<(String, Manager)> = Vec::new();
    for id in updaters {
        if count <= MAX_UPDATE_MANAGERS {
            return;
        }
        let Some(version) = managed.get(&id).map(|e| e.api_version.clone()) else { continue };
        let Some(oldest) = first.iter().find(|(v, _)| *v == version).map(|(_, m)| m.clone()) else {
            first.push((version, id));
            continue;
        };
        let bucket = Manager::new("ancient-changes", Operation::Update, &version, "");
        if managed.get(&bucket).is_none()
            && let Some(entry) = managed.get_mut(&oldest)
        {
            entry.manager = bucket.clone();
        }
        let Some(merged) = managed.remove(&id) else { continue };
        if let Some(entry) = managed.get_mut(&bucket) {
            entry.set = entry.set.union(&merged.set);
            entry.time = merged.time;
        }
        count -= 1;
    }
}

/// 409 with a cause a path.
fn conflict_status(conflicts: &Conflicts) -> Status {
    let mut owners: Vec<(&Manager, Vec<String>)> =
        conflicts.0.iter().map(|(m, set)| (m, set.paths().iter().map(|p| path_text(p)).collect())).collect();
    owners.sort_by_key(|(m, _)| *m);
    let causes: Vec<Cause> = owners
        .iter()
        .flat_map(|(m, paths)| paths.iter().map(move |p| (m, p)))
        .map(|(m, path)| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {}", m.shown()),
            field: path.clone(),
        })
        .collect();
    let message = match &causes[..] {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => {
            let of = |(m, paths): &(&Manager, Vec<String>)| {
                format!("conflicts with {}:\n- {}", m.shown(), paths.join("\n- "))
            };
            let parts: Vec<String> = owners.iter().map(of).collect();
            format!("Apply failed with {} conflicts: {}", many.len(), parts.join("\n"))
        }
    };
    Status::new(409, Reason::Conflict, message).with_details(Details { causes, ..Details::default() })
}
