//! Documents that were made, in compressed pieces, each under the hash of what it was made of: a change elsewhere costs
//! nothing. Nobody asked for a while: all are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use api::Value;
use api::openapi::{self, Entry, Format, Info, Published, Section, Sink};
use apimachinery::GroupVersionResource;
use parking_lot::Mutex;

use super::answer::Version;
use super::others::Others;
use crate::catalog::{Served, Table};
use crate::http::body::Pieces;
use crate::http::gzip::{self, Part, Writer};

/// How long a document is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(120);

/// The pieces of a document, section by section.
#[derive(Clone, Default)]
pub(super) struct Sections {
    pub compressed: BTreeMap<Section, Part>,
    /// Of v2: few, and the same for many documents, so that they are put together last.
    pub parameters: Arc<BTreeMap<String, serde_json::Value>>,
}

struct Kept {
    hash: String,
    sections: Sections,
    asked: Instant,
}

/// A resource's hash, good for as long as the schema is that one.
struct Hashed {
    schema: Option<Weak<Value>>,
    hash: String,
}

#[derive(Default)]
struct State {
    kept: HashMap<String, Kept>,
    hashed: HashMap<GroupVersionResource, Hashed>,
    /// The table's revision and the hashes of its documents, by path.
    documents: (u64, Arc<BTreeMap<String, String>>),
    /// When the document under a name got its hash.
    versions: HashMap<String, Version>,
    /// Somebody is watching for the end.
    watched: bool,
}

#[derive(Default)]
pub(crate) struct Documents {
    state: Mutex<State>,
    /// One at a time makes documents: who waits for it finds what he wants.
    pub(super) making: tokio::sync::Mutex<()>,
    pub(super) others: Others,
}

/// A resource as documents want it.
pub(super) fn entry(served: &Served) -> Entry<'_> {
    let returns_deleted = served.strategy.returns_deleted();
    Entry { row: &served.row, custom: served.openapi.as_deref(), returns_deleted }
}

pub(super) fn published(table: &Table) -> Published<'_> {
    Published::new(table.resources.values().map(|s| entry(s)))
}

impl State {
    fn hash(&mut self, served: &Served) -> String {
        let same = |h: &&Hashed| match (&h.schema, &served.openapi) {
            (Some(old), Some(new)) => std::ptr::eq(old.as_ptr(), Arc::as_ptr(new)),
            (None, None) => true,
            _ => false,
        };
        if let Some(known) = self.hashed.get(&served.gvr).filter(same) {
            return known.hash.clone();
        }
        let hash = openapi::hash(&entry(served));
        let known = Hashed { schema: served.openapi.as_ref().map(Arc::downgrade), hash: hash.clone() };
        self.hashed.insert(served.gvr.clone(), known);
        hash
    }

    fn documents(&mut self, table: &Table) -> Arc<BTreeMap<String, String>> {
        if self.documents.0 == table.revision && !self.documents.1.is_empty() {
            return self.documents.1.clone();
        }
        self.hashed.retain(|gvr, _| table.resources.contains_key(gvr));
        let published = published(table);
        let hash_of = |state: &mut Self, document: &str| {
            let entries = published.entries(document).unwrap_or_default();
            let hashes: Vec<String> = entries
                .iter()
                .filter_map(|e| table.resources.get(&e.row.gvr()))
                .map(|served| state.hash(served))
                .collect();
            openapi::hash_all(std::iter::once(document).chain(hashes.iter().map(String::as_str)))
        };
        let all = published.documents().map(|d| (d.to_owned(), hash_of(self, d))).collect();
        self.documents = (table.revision, Arc::new(all));
        self.documents.1.clone()
    }
}

impl Documents {
    /// The hashes of v3's documents, by path.
    pub(super) fn hashes(&self, table: &Table) -> Arc<BTreeMap<String, String>> {
        self.state.lock().documents(table)
    }

    /// The hash of one resource.
    pub(super) fn hash(&self, served: &Served) -> String {
        self.state.lock().hash(served)
    }

    /// The version of the document `name` whose hash is `etag`: modified when that hash was first seen.
    pub(super) fn version(&self, name: &str, etag: &str) -> Version {
        let mut state = self.state.lock();
        if let Some(known) = state.versions.get(name).filter(|v| v.etag == etag) {
            return known.clone();
        }
        let version = Version { etag: etag.to_owned(), modified: SystemTime::now() };
        state.versions.insert(name.to_owned(), version.clone());
        version
    }

    /// What is kept under a name and has that hash.
    pub(super) fn kept(&self, name: &str, hash: &str) -> Option<Sections> {
        let mut state = self.state.lock();
        let kept = state.kept.get_mut(name).filter(|k| k.hash == hash)?;
        kept.asked = Instant::now();
        Some(kept.sections.clone())
    }

    /// Keeps what was made.
    pub(super) fn keep(self: &Arc<Self>, name: &str, hash: &str, sections: &Sections) {
        let mut state = self.state.lock();
        let kept = Kept { hash: hash.to_owned(), sections: sections.clone(), asked: Instant::now() };
        state.kept.insert(name.to_owned(), kept);
        if !std::mem::replace(&mut state.watched, true) {
            tokio::spawn(forget(Arc::downgrade(self)));
        }
    }

    /// Forgets what nobody asked for since `KEPT_FOR`; false when nothing is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.kept.retain(|_, k| now.duration_since(k.asked) < KEPT_FOR);
        state.kept.shrink_to_fit();
        state.watched = !state.kept.is_empty();
        if !state.watched {
            (state.hashed, state.documents) = (HashMap::new(), (0, Arc::default()));
            self.others.forget();
        }
        state.watched
    }
}

async fn forget(documents: Weak<Documents>) {
    let mut tick = tokio::time::interval(KEPT_FOR / 2);
    loop {
        tick.tick().await;
        match documents.upgrade() {
            Some(documents) if documents.sweep(Instant::now()) => {}
            _ => break,
        }
    }
    give_back_memory();
}

/// Making documents takes many times what is kept of them, and glibc would hold on to that memory.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Compresses pieces while they are made. `first`: nothing stands before them in their sections.
pub(super) fn compress(format: Format, first: bool, make: impl FnOnce(&mut Sink<'_>)) -> Sections {
    let mut writers: BTreeMap<Section, Writer> = BTreeMap::new();
    let (mut parameters, mut piece) = (BTreeMap::new(), Vec::new());
    make(&mut |section, name, of| {
        if section == Section::Parameters {
            parameters.insert(name.to_owned(), of.clone());
            return;
        }
        let is_first = first && !writers.contains_key(&section);
        piece.clear();
        format.piece(section, name, of, is_first, &mut piece);
        writers.entry(section).or_default().write(&piece);
    });
    let compressed = writers.into_iter().map(|(section, writer)| (section, writer.finish(false))).collect();
    Sections { compressed, parameters: Arc::new(parameters) }
}

/// A whole document, compressed.
pub(super) fn join(format: Format, info: &Info, all: &[Sections]) -> Pieces {
    let mut parts = Vec::new();
    for section in format.sections() {
        let mut own: Vec<Part> = all.iter().filter_map(|s| s.compressed.get(section)).cloned().collect();
        if *section == Section::Parameters {
            own.push(gzip::stored(&parameters(format, all), false));
        }
        let size = own.iter().map(Part::size).sum();
        parts.push(gzip::stored(&format.open(*section, size, info), false));
        parts.extend(own);
    }
    parts.push(gzip::stored(&format.close(info), true));
    gzip::join(&parts)
}

fn parameters(format: Format, all: &[Sections]) -> Vec<u8> {
    let names: BTreeMap<&String, &serde_json::Value> = all.iter().flat_map(|s| s.parameters.iter()).collect();
    let mut out = Vec::new();
    for (name, of) in names {
        let is_first = out.is_empty();
        format.piece(Section::Parameters, name, of, is_first, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: Pieces) -> String {
        let mut out = String::new();
        let bytes = pieces.concat();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut out).unwrap();
        out
    }

    #[test]
    fn pieces_make_one_document() {
        let piece = |name: &'static str| {
            move |sink: &mut Sink<'_>| {
                sink(Section::Paths, name, &serde_json::json!({}));
                sink(Section::Definitions, name, &serde_json::json!({"type": "object"}));
                sink(Section::Parameters, "p", &serde_json::json!({"name": "p"}));
            }
        };
        let all = [compress(Format::V2, true, piece("/a")), compress(Format::V2, false, piece("/b"))];
        let info = Info::server("v1.37.0");
        let document: serde_json::Value = serde_json::from_str(&text(join(Format::V2, &info, &all))).unwrap();
        assert_eq!(document["paths"], serde_json::json!({"/a": {}, "/b": {}}));
        assert_eq!(document["definitions"]["/b"]["type"], "object");
        assert_eq!(document["parameters"], serde_json::json!({"p": {"name": "p"}}));
        assert_eq!(document["info"]["version"], "1.37");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_is_forgotten() {
        let documents = Arc::new(Documents::default());
        documents.keep("a", "1", &Sections::default());
        assert!(documents.kept("a", "1").is_some());
        assert!(documents.kept("a", "2").is_none());
        assert!(documents.sweep(Instant::now() + KEPT_FOR / 2));
        assert!(!documents.sweep(Instant::now() + KEPT_FOR));
        assert!(documents.kept("a", "1").is_none());
        assert!(!documents.state.lock().watched);
    }
}
