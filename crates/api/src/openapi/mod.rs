//! OpenAPI v2 and v3, out of the rows of what is served: [`operations`] says what can be asked, [`schemas`] and [`custom`]
//! what goes in and out; [`v2`] and [`v3`] spell operations, [`Format`] writes documents piece by piece.
//!
//! Deliberately absent: prose of operations and parameters; keeping documents (see the server); other servers'.

mod custom;
mod describe;
mod format;
mod gnostic;
mod names;
mod operations;
mod plain;
mod schemas;
mod v2;
mod v3;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha512};

use crate::resources::Resource;
use describe::Descriptions;
use operations::{Answer, Maker, Operation, Options, PathItem};
use schemas::Dialect;

pub use format::{Format, Info, Section};
pub use schemas::definition_name;

/// One resource of a group-version.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub row: &'a Resource,
    /// A custom resource: its version's `openAPIV3Schema`.
    pub custom: Option<&'a crate::Value>,
    /// DELETE answers with the object instead of a Status.
    pub returns_deleted: bool,
}

/// Takes the pieces of a document: section, name, value.
pub type Sink<'a> = dyn FnMut(Section, &str, &Json) + 'a;

/// All that is served, by document of v3 (`api/v1`, `apis/apps/v1`, `apis/apps`, `version`).
pub struct Published<'a> {
    documents: BTreeMap<String, Vec<Entry<'a>>>,
}

fn kinds_of(row: &Resource) -> (&str, &str, &str) {
    (&row.group, &row.version, &row.kind)
}

/// What a status code says.
fn meaning(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        401 => "Unauthorized",
        _ => "OK",
    }
}

/// What both versions say of an operation in the same words.
fn extend(out: &mut Map<String, Json>, of: &Operation) {
    if let Some(kind) = &of.kind {
        out.insert("x-kubernetes-action".into(), of.action.into());
        let kind = schemas::gvk(&kind.group, &kind.version, &kind.kind);
        out.insert("x-kubernetes-group-version-kind".into(), kind);
    }
}

/// Adds the definitions that operations refer to.
fn name_kinds(item: &PathItem, wanted: &mut BTreeSet<String>) {
    for operation in &item.operations {
        let answer = if let Answer::Kind(kind) = &operation.answer { Some(kind) } else { None };
        for kind in operation.body.iter().map(|(kind, _)| kind).chain(answer) {
            if !wanted.contains(&**kind) {
                wanted.insert(kind.to_string());
            }
        }
    }
}

impl<'a> Published<'a> {
    /// What a server publishes that serves these, in any order.
    pub fn new(entries: impl IntoIterator<Item = Entry<'a>>) -> Self {
        let mut documents: BTreeMap<String, Vec<Entry<'a>>> =
            plain::DOCUMENTS.into_iter().map(|path| (path.to_owned(), Vec::new())).collect();
        for entry in entries {
            let row = entry.row;
            if entry.custom.is_none() && !row.group.is_empty() {
                documents.entry(format!("apis/{}", row.group)).or_default();
            }
            documents.entry(path_of(&row.group, &row.version)).or_default().push(entry);
        }
        for entries in documents.values_mut() {
            entries.sort_by(|a, b| a.row.resource.cmp(&b.row.resource));
        }
        Self { documents }
    }

    /// The paths of v3's documents, sorted.
    pub fn documents(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// The resources of a document of v3, sorted by name.
    pub fn entries(&self, document: &str) -> Option<&[Entry<'a>]> {
        self.documents.get(document).map(Vec::as_slice)
    }

    /// The custom resources, each in each version.
    pub fn custom(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.documents.values().flatten().filter(|e| e.custom.is_some())
    }

    /// Writes a document of v3; false for one that is not there.
    pub fn v3(&self, document: &str, out: &mut Sink<'_>) -> bool {
        let Some(entries) = self.documents.get(document) else { return false };
        let mut wanted = BTreeSet::new();
        items(document, entries, |_| true, &mut |item| {
            name_kinds(&item, &mut wanted);
            out(Section::Paths, &item.path, &v3::path(&item));
        });
        let texts = Descriptions::load();
        let gv = entries.first().map(|e| (&*e.row.group, &*e.row.version));
        let mut maker = schemas::Maker::new(Dialect::V3, &texts, gv);
        let mut define = |name: &str, of: &Json| out(Section::Definitions, name, of);
        for entry in entries.iter().filter(|e| e.custom.is_some()) {
            custom::write(Dialect::V3, entry, &mut define);
            ["ListMeta", "ObjectMeta"].iter().for_each(|m| maker.want(&format!("{}.{m}", operations::META)));
        }
        wanted.iter().for_each(|name| maker.want(name));
        maker.write(&mut define);
        true
    }

    /// Writes what v2's document says of everything but custom resources.
    pub fn v2_builtin(&self, out: &mut Sink<'_>) {
        let (mut shared, mut wanted) = (v2::Shared::default(), BTreeSet::new());
        for (document, entries) in &self.documents {
            if !entries.is_empty() && entries.iter().all(|e| e.custom.is_some()) {
                continue;
            }
            items(document, entries, |e| e.custom.is_none(), &mut |item| {
                name_kinds(&item, &mut wanted);
                out(Section::Paths, &item.path, &shared.path(&item));
            });
        }
        let texts = Descriptions::load();
        let mut maker = schemas::Maker::new(Dialect::V2, &texts, None);
        wanted.iter().for_each(|name| maker.want(name));
        maker.write(&mut |name, of| out(Section::Definitions, name, of));
        shared.0.iter().for_each(|(name, of)| out(Section::Parameters, name, of));
    }
}

/// Writes what v2's document says of custom resources. Built-in kinds that they refer to are left to
/// [`Published::v2_builtin`], of which every server has those.
pub fn v2_custom(entries: &[Entry<'_>], out: &mut Sink<'_>) {
    let (mut shared, mut options) = (v2::Shared::default(), Options::default());
    for entry in entries {
        Maker::new(entry, &mut options)
            .write(&mut |item| out(Section::Paths, &item.path, &shared.path(&item)));
        custom::write(Dialect::V2, entry, &mut |name, of| out(Section::Definitions, name, of));
    }
    shared.0.iter().for_each(|(name, of)| out(Section::Parameters, name, of));
}

/// The paths of a document, of those entries that are asked for.
fn items(
    document: &str,
    entries: &[Entry<'_>],
    chosen: impl Fn(&Entry<'_>) -> bool,
    out: &mut dyn FnMut(PathItem),
) {
    if entries.is_empty() {
        return out(plain::item(document));
    }
    let mut options = Options::default();
    if let Some(first) = entries.iter().find(|e| e.custom.is_none()) {
        out(plain::resources(&first.row.group, &first.row.version));
    }
    for entry in entries.iter().filter(|e| chosen(e)) {
        Maker::new(entry, &mut options).write(out);
    }
}

/// Changes whenever what is said of this resource does: a hash of what that is made of. Upper-case hexadecimal SHA-512,
/// as upstream's of its documents; clients only compare it.
pub fn hash(entry: &Entry<'_>) -> String {
    let (mut hash, row) = (Sha512::new(), entry.row);
    hash.update(concat!(env!("CARGO_PKG_VERSION"), " v1.37\n"));
    hash.update(format!("{} {} {}\n", row.group, row.version, entry.returns_deleted));
    hash.update(format!("{} {} {}\n", row.resource, row.kind, row.list_kind()));
    hash.update(format!("{} {:?}\n", row.namespaced, row.verbs));
    row.subresources.iter().for_each(|s| hash.update(format!(" {} {:?}\n", s.name, s.verbs)));
    if let Some(schema) = entry.custom {
        hash.update(format!("{:?}\n", row.field_labels));
        hash.update(Json::from(schema).to_string());
    }
    upper_hex(&hash.finalize())
}

fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

/// The hash of other hashes, as a document has it.
pub fn hash_all<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update(part);
        hash.update([b'\n']);
    }
    upper_hex(&hash.finalize())
}

/// The index at `/openapi/v3`: (path below it such as `apis/apps/v1`, hash) each, sorted by path.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut paths: Vec<(&str, &str)> = documents.into_iter().collect();
    paths.sort_unstable();
    let url = |(path, hash): (&str, &str)| {
        (path.to_owned(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    };
    let paths: Map<String, Json> = paths.into_iter().map(url).collect();
    serde_json::to_vec(&json!({ "paths": paths })).unwrap_or_default()
}

/// `apis/apps/v1`, `api/v1`.
pub fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// A whole document as one text, for tools and tests; servers write piece by piece.
pub fn whole(format: Format, info: &Info, write: impl FnOnce(&mut Sink<'_>)) -> Vec<u8> {
    let mut sections: BTreeMap<Section, Vec<u8>> = BTreeMap::new();
    write(&mut |section, name, of| {
        let out = sections.entry(section).or_default();
        let is_first = out.is_empty();
        format.piece(section, name, of, is_first, out);
    });
    let mut out = Vec::new();
    for section in format.sections() {
        let pieces = sections.remove(section).unwrap_or_default();
        out.extend(format.open(*section, pieces.len() as u64, info));
        out.extend(pieces);
    }
    out.extend(format.close(info));
    out
}

#[cfg(test)]
mod tests;
