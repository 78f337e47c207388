//! Field labels of a stored resource and how they are read: at once from the object in the storage version, or, where
//! another version has them and only a webhook converts, from the object in that version ("late").

use std::sync::Arc;

use api::Value;
use apimachinery::{GroupVersion, Status};
use compact_str::CompactString;

use crate::catalog::Serve;

/// One field label.
#[derive(Clone)]
pub(super) struct Label {
    pub name: String,
    /// The version that has it; None: it means the same in all versions.
    version: Option<GroupVersion>,
    late: bool,
    serve: Arc<Serve>,
}

impl Label {
    pub fn is(&self, name: &str, of: &GroupVersion) -> bool {
        self.name == name && self.version.as_ref().is_none_or(|v| v == of)
    }

    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Its values of objects that are in version `from`, in their order.
    pub async fn read_late(
        &self,
        objects: Vec<Value>,
        from: &GroupVersion,
    ) -> Result<Vec<CompactString>, Status> {
        let to = self.serve.row.gvr().group_version();
        let objects = match objects.is_empty() || *from == to {
            true => objects,
            false => self.serve.converter.convert(objects, from, &to).await?,
        };
        let read = |mut object: Value| {
            api::defaults::apply(&mut object, &self.serve.schema);
            CompactString::from(self.serve.strategy.field_value(&object, &self.name))
        };
        Ok(objects.into_iter().map(read).collect())
    }
}

/// The labels that one version brings.
pub(super) fn labels_of(serve: &Serve) -> Vec<Label> {
    let version = (!serve.converter.is_local()).then(|| serve.row.gvr().group_version());
    let late = version.as_ref().is_some_and(|gv| *serve.row.storage.api_version != *gv.to_string());
    let names = serve.row.field_labels.iter();
    let names = names.filter(|l| !matches!(&***l, "metadata.name" | "metadata.namespace"));
    let serve = Arc::new(serve.clone());
    names
        .map(|l| Label { name: l.to_string(), version: version.clone(), late, serve: serve.clone() })
        .collect()
}

/// Adds what another version brings; false: nothing new.
pub(super) fn add(labels: &mut Vec<Label>, serve: &Serve) -> bool {
    let before = labels.len();
    for label in labels_of(serve) {
        if !labels.iter().any(|l| l.name == label.name && l.version == label.version) {
            labels.push(label);
        }
    }
    labels.len() > before
}

/// The values of an object in the storage version, up to the first label that is late.
pub(super) fn read_now(labels: &[Label], object: &Value) -> Box<[CompactString]> {
    let now = labels.iter().take_while(|l| !l.late);
    now.map(|l| CompactString::from(l.serve.strategy.field_value(object, &l.name))).collect()
}
