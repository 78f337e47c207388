//! What informers know of claims, volumes and namespaces, for the pods that these matter to.

use client::Store;

use crate::views::{ClaimView, NamespaceView, StorageClassView, VolumeView};

/// Clones share what is known.
#[derive(Clone, Default)]
pub struct Volumes {
    pub claims: Store<ClaimView>,
    pub volumes: Store<VolumeView>,
    pub classes: Store<StorageClassView>,
    pub namespaces: Store<NamespaceView>,
}
