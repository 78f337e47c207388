//! The plugins, under upstream's names.
//!
//! Deliberately absent, as later issues bring them: the filter and score of spreading and of inter-pod affinity
//! (a pod that requires one of them is refused by [`required`]), delayed binding of volumes, their limits, zones and
//! conflicts, preempting, dynamic resource allocation, gangs.

pub mod binder;
pub mod gates;
pub mod image_locality;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources;
pub mod node_selector;
pub mod node_unschedulable;
pub mod preemption;
pub mod priority_sort;
pub mod required;
pub mod taint_toleration;
pub mod volume_binding;

#[cfg(test)]
mod tests;
