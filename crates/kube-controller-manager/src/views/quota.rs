//! ResourceQuotas.

use client::{ObjectMeta, view};
use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceQuota {
    pub metadata: ObjectMeta,
    pub spec: quota::Spec,
    pub status: quota::Status,
}

view!(ResourceQuota);
