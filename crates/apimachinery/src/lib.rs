//! What every part of Kubernetes shares and that knows no kind: names, group-version-kinds, labels and
//! selectors, quantities, int-or-string, times, field paths and `Status` errors.
//!
//! Deliberately absent: any object type, any I/O.

pub mod field;
pub mod fields;
pub mod generate_name;
pub mod gvk;
pub mod int_or_string;
pub mod labels;
pub mod names;
pub mod quantity;
pub mod status;
pub mod time;

pub use gvk::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use int_or_string::IntOrString;
pub use quantity::Quantity;
pub use status::{Reason, Status};
