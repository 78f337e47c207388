//! One object of the watch cache: what is looked at often as plain fields, everything else as one canonical
//! encoding, with other forms made when asked for.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use api::Value;
use apimachinery::GroupVersion;
use bytes::Bytes;
use compact_str::CompactString;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::scan;
use crate::form::Form;

/// One word in each entry of the many kinds that have no such values.
type Late = Option<Box<Vec<(usize, CompactString)>>>;

/// See the module. The canonical JSON of the storage version, resourceVersion included, is `head` (`{` and, for
/// built-in kinds, kind and apiVersion: shared by all of the kind) and `body`, written as `,{...}` + newline: lists,
/// single answers and watch events are slices of the two.
#[derive(Debug)]
pub struct Entry {
    /// The store's key without the prefix: `namespace/name` or `name`.
    pub key: Arc<str>,
    namespace_len: usize,
    pub labels: Box<[(CompactString, CompactString)]>,
    /// Values of the resource's field labels, in their order, up to the first that is read late.
    pub fields: Box<[CompactString]>,
    /// Values at later positions: of fields that exist in another version than that of storage, and take a
    /// conversion by somebody else to be read.
    late: Mutex<Late>,
    /// The store's revision of the last change: the resourceVersion.
    pub revision: i64,
    /// The version that the object is in: of storage when the entry was made, which for a custom resource may have
    /// become another one since.
    pub version: Arc<GroupVersion>,
    pub head: Bytes,
    pub body: Bytes,
    /// Where `metadata` lies in the body, once somebody has looked: start and end, 32 bits each.
    metadata: AtomicU64,
    tree: Mutex<Weak<Value>>,
    forms: Mutex<Forms>,
    /// A form was asked for since the last sweep.
    used: AtomicBool,
}

/// Bytes that all forms of the process hold together.
static FORM_BYTES: AtomicUsize = AtomicUsize::new(0);
/// At most so many: what goes beyond is made anew each time.
const MAX_FORM_BYTES: usize = 64 << 20;

/// Encodings that are kept while they are asked for, counted in [`FORM_BYTES`].
#[derive(Debug, Default)]
struct Forms(SmallVec<[(Form, Bytes); 1]>);

impl Forms {
    fn find(&self, form: &Form) -> Option<&Bytes> {
        self.0.iter().find(|(f, _)| f == form).map(|(_, bytes)| bytes)
    }

    fn keep(&mut self, form: Form, bytes: Bytes) {
        let held = FORM_BYTES.fetch_add(bytes.len(), Ordering::Relaxed);
        if held + bytes.len() > MAX_FORM_BYTES || self.find(&form).is_some() {
            FORM_BYTES.fetch_sub(bytes.len(), Ordering::Relaxed);
        } else {
            self.0.push((form, bytes));
        }
    }

    fn size(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            FORM_BYTES.fetch_sub(self.size(), Ordering::Relaxed);
        }
    }
}

impl Entry {
    pub fn new(
        key: Arc<str>,
        namespaced: bool,
        labels: Box<[(CompactString, CompactString)]>,
        fields: Box<[CompactString]>,
        revision: i64,
        version: Arc<GroupVersion>,
        (head, body): (Bytes, Bytes),
    ) -> Self {
        let namespace_len = if namespaced { key.find('/').unwrap_or(0) } else { 0 };
        let (tree, forms, used) = (Mutex::new(Weak::new()), Mutex::default(), AtomicBool::new(false));
        let (late, metadata) = (Mutex::default(), AtomicU64::new(0));
        Self {
            key,
            namespace_len,
            labels,
            fields,
            late,
            revision,
            version,
            head,
            body,
            metadata,
            tree,
            forms,
            used,
        }
    }

    /// The same object with another body at another revision.
    pub fn at(&self, revision: i64, body: Bytes) -> Self {
        let (labels, fields) = (self.labels.clone(), self.fields.clone());
        let namespaced = self.namespace_len > 0;
        let (key, version) = (self.key.clone(), self.version.clone());
        let mut at = Self::new(key, namespaced, labels, fields, revision, version, (self.head.clone(), body));
        at.late = Mutex::new(self.late.lock().clone());
        at
    }

    /// Whether the field at a position has a value; None: nobody has read it yet.
    pub fn field_is(&self, at: usize, value: &str) -> Option<bool> {
        if let Some(field) = self.fields.get(at) {
            return Some(field == value);
        }
        let late = self.late.lock();
        late.iter().flat_map(|l| l.iter()).find(|(position, _)| *position == at).map(|(_, v)| v == value)
    }

    /// Takes the value of a field that is read late.
    pub fn set_late(&self, at: usize, value: CompactString) {
        let mut late = self.late.lock();
        let late = late.get_or_insert_default();
        if !late.iter().any(|(position, _)| *position == at) {
            late.push((at, value));
        }
    }

    pub fn namespace(&self) -> &str {
        &self.key[..self.namespace_len]
    }

    pub fn name(&self) -> &str {
        if self.namespace_len == 0 { &self.key } else { &self.key[self.namespace_len + 1..] }
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The whole object, `{...}` without a newline.
    pub fn json(&self) -> Vec<u8> {
        [&self.head, &self.body[2..self.body.len() - 1]].concat()
    }

    /// The whole object and a newline, in two pieces.
    pub fn document(&self) -> [Bytes; 2] {
        [self.head.clone(), self.body.slice(2..)]
    }

    /// As an item of a list, after a comma or (`first`) not.
    pub fn item(&self, first: bool) -> Bytes {
        self.body.slice(usize::from(first)..self.body.len() - 1)
    }

    /// `metadata` as it lies in the body.
    pub fn metadata(&self) -> &[u8] {
        let known = self.metadata.load(Ordering::Relaxed);
        let place = if known > 0 { known } else { self.find_metadata() };
        self.body.get((place >> 32) as usize..(place as u32) as usize).unwrap_or(b"{}")
    }

    fn find_metadata(&self) -> u64 {
        // No object begins its body with it, so 0 is never a place.
        let place =
            scan::metadata_of(&self.body).map_or(u64::MAX, |at| (at.start as u64) << 32 | at.end as u64);
        self.metadata.store(place, Ordering::Relaxed);
        place
    }

    /// The decoded tree, if somebody still holds it.
    pub fn tree(&self) -> Option<Arc<Value>> {
        self.tree.lock().upgrade()
    }

    pub fn keep_tree(&self, tree: &Arc<Value>) {
        *self.tree.lock() = Arc::downgrade(tree);
    }

    /// An encoding made earlier.
    pub fn form(&self, form: &Form) -> Option<Bytes> {
        let found = self.forms.lock().find(form).cloned();
        if found.is_some() && !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        found
    }

    pub fn keep_form(&self, form: Form, bytes: Bytes) {
        self.forms.lock().keep(form, bytes);
    }

    /// Drops the forms if nobody has asked for one since the last call.
    pub fn drop_cold(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            *self.forms.lock() = Forms::default();
        }
    }

    /// Bytes that it holds, roughly.
    pub fn weight(&self) -> usize {
        self.body.len() + self.forms.lock().size() + 256
    }
}
