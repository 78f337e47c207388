//! Claims and volumes, for pods that wait for them.

use client::Store;

use crate::views::{ClaimView, StorageClassView, VolumeView};

/// What the informers know.
#[derive(Clone, Default)]
pub struct Volumes {
    pub claims: Store<ClaimView>,
    pub volumes: Store<VolumeView>,
    pub classes: Store<StorageClassView>,
}
