//! Kinds that steer others: access, admission, disruption, scaling, priority, flow control.

pub mod admission;
pub mod flowcontrol;
pub mod hpa;
mod hpa_validation;
pub mod pdb;
pub mod rbac;
