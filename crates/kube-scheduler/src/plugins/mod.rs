//! The plugins, under upstream's names.
//!
//! Deliberately absent, as later issues bring them: limits of volumes a node (NodeVolumeLimits), conflicts of the
//! in-tree disks, dynamic resource allocation, gangs.

pub mod binder;
pub mod dynamic_resources;
pub mod gates;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources;
pub mod node_selector;
pub mod node_unschedulable;
pub mod preemption;
pub mod priority_sort;
pub mod taint_toleration;
pub mod topology_spread;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
