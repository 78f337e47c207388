//! `kube-controller-manager`: the controllers that bring the cluster's objects into the state that they describe.
//! One folder a controller: `plan` (pure, tested as a table), `mod` (informers, queue, requests).
//!
//! Deliberately absent: cloud controllers. Not built yet, and named in a warning when asked for: see [`manager`].

pub mod bootstrap;
pub mod certificates;
pub mod clusterroleaggregation;
pub mod context;
mod control;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod endpointslicemirroring;
pub mod garbagecollector;
mod history;
mod identity;
pub mod informers;
pub mod job;
pub mod manager;
pub mod namespace;
pub mod nodeipam;
pub mod nodelifecycle;
pub mod options;
pub mod podautoscaler;
pub mod podgc;
pub mod replicaset;
pub mod resourcequota;
pub mod rootca;
mod scales;
pub mod serviceaccount;
pub mod serviceaccounttoken;
pub mod statefulset;
pub mod tainteviction;
pub mod ttl;
pub mod ttlafterfinished;
pub mod validatingadmissionpolicystatus;
pub mod views;
pub mod volumebinder;
pub mod volumeprotection;

pub use manager::{Error, run};
pub use options::{DEFAULT_PORT, Options, UNBUILT};
