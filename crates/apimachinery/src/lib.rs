//! What every part of Kubernetes shares and that knows no kind: names, group-version-kinds, labels and
//! selectors, quantities, int-or-string, times, field paths and `Status` errors.
//!
//! Deliberately absent: any object type, any I/O.

pub mod field;
pub mod gvk;
pub mod status;

pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use status::{Reason, Status};
