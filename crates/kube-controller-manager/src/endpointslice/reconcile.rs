//! Brings the slices of one Service and address type to the wanted endpoints with few writes: endpoints stay in
//! their slice, changed slices are filled up before others, and one slice is always there, be it empty.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::{OwnerReference, StringMap};
use compact_str::CompactString;

use crate::views::EndpointSlice;
use crate::views::network::{Endpoint, EndpointPort};

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Create(EndpointSlice),
    Update(EndpointSlice),
    /// By name.
    Delete(CompactString),
}

/// What all slices of one reconciliation have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// Of the Service or the Endpoints; names are generated from it.
    pub name: CompactString,
    pub namespace: CompactString,
    pub owner: OwnerReference,
    pub labels: StringMap,
    pub annotations: StringMap,
    pub address_type: &'static str,
    pub max: usize,
    /// Keep an empty slice where there are no endpoints.
    pub placeholder: bool,
}

/// Wanted endpoints by their ports.
pub type Wanted = BTreeMap<Vec<EndpointPort>, Vec<Endpoint>>;

/// The writes that lead from `existing` (slices of this address type) to `wanted`.
pub fn reconcile(existing: &[Arc<EndpointSlice>], wanted: Wanted, common: &Common) -> Vec<Change> {
    let mut by_ports: HashMap<Vec<EndpointPort>, Vec<&EndpointSlice>> = HashMap::new();
    for slice in existing {
        by_ports.entry(sorted(&slice.ports)).or_default().push(slice);
    }
    let mut work = Writes::default();
    for (ports, endpoints) in wanted {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        group(slices, ports, endpoints, common, &mut work);
    }
    work.delete.extend(by_ports.into_values().flatten().cloned());
    work.finish(existing.len(), common)
}

#[derive(Default)]
struct Writes {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<EndpointSlice>,
}

impl Writes {
    fn finish(mut self, existing: usize, common: &Common) -> Vec<Change> {
        if common.placeholder && self.delete.len() == existing && self.create.is_empty() {
            let empty = new_slice(common, vec![], vec![]);
            match self.delete.first() {
                Some(one) if self.delete.len() == 1 && is_same(one, &empty) => self.delete.clear(),
                _ => self.create.push(empty),
            }
        }
        // A slice to delete becomes one to create.
        while let (Some(_), Some(_)) = (self.create.last(), self.delete.last()) {
            if let (Some(new), Some(mut old)) = (self.create.pop(), self.delete.pop()) {
                (old.endpoints, old.ports) = (new.endpoints, new.ports);
                dress(&mut old, common);
                self.update.push(old);
            }
        }
        let creates = self.create.into_iter().map(Change::Create);
        let updates = self.update.into_iter().map(Change::Update);
        creates
            .chain(updates)
            .chain(self.delete.into_iter().map(|s| Change::Delete(s.metadata.name)))
            .collect()
    }
}

/// The slices of one set of ports.
fn group(
    slices: Vec<&EndpointSlice>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    common: &Common,
    work: &mut Writes,
) {
    let mut wanted: HashMap<Identity, Endpoint> = endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for slice in slices {
        let kept: Vec<Endpoint> =
            slice.endpoints.iter().filter_map(|e| wanted.remove(&identity(e))).collect();
        if kept.is_empty() {
            work.delete.push(slice.clone());
        } else if kept != slice.endpoints || !is_dressed(slice, common) {
            changed.push(EndpointSlice { endpoints: kept, ..slice.clone() });
        } else {
            unchanged.push(slice);
        }
    }
    let mut left: Vec<Endpoint> = wanted.into_values().collect();
    left.sort_by(|a, b| b.addresses.cmp(&a.addresses));
    changed.sort_by_key(|s| std::cmp::Reverse(s.endpoints.len()));
    for slice in &mut changed {
        fill(&mut slice.endpoints, &mut left, common.max);
    }
    if !left.is_empty() && left.len() < common.max {
        // The fullest slice with room for all of them.
        let fits = |s: &&&EndpointSlice| s.endpoints.len() + left.len() <= common.max;
        if let Some(at) = unchanged.iter().filter(fits).max_by_key(|s| s.endpoints.len()) {
            let mut slice = EndpointSlice::clone(at);
            fill(&mut slice.endpoints, &mut left, common.max);
            changed.push(slice);
        }
    }
    while !left.is_empty() {
        let mut endpoints = Vec::new();
        fill(&mut endpoints, &mut left, common.max);
        work.create.push(new_slice(common, ports.clone(), endpoints));
    }
    for mut slice in changed {
        dress(&mut slice, common);
        work.update.push(slice);
    }
}

fn fill(endpoints: &mut Vec<Endpoint>, left: &mut Vec<Endpoint>, max: usize) {
    while endpoints.len() < max
        && let Some(next) = left.pop()
    {
        endpoints.push(next);
    }
}

type Identity = (Vec<CompactString>, Option<CompactString>, Option<(CompactString, CompactString)>);

/// What makes an endpoint the same one when its conditions change.
fn identity(endpoint: &Endpoint) -> Identity {
    let target = endpoint.target_ref.as_ref().map(|t| (t.namespace.clone(), t.name.clone()));
    (endpoint.addresses.clone(), endpoint.hostname.clone(), target)
}

pub fn sorted(ports: &[EndpointPort]) -> Vec<EndpointPort> {
    let mut ports = ports.to_vec();
    ports.sort();
    ports
}

fn is_dressed(slice: &EndpointSlice, common: &Common) -> bool {
    let meta = &slice.metadata;
    meta.labels == common.labels
        && common.annotations.is_subset_of(&meta.annotations)
        && meta.owner_references.first().is_some_and(|o| o.uid == common.owner.uid)
}

/// Labels, annotations and owner as they are to be.
fn dress(slice: &mut EndpointSlice, common: &Common) {
    let meta = &mut slice.metadata;
    meta.labels = common.labels.clone();
    meta.annotations = common.annotations.iter().fold(meta.annotations.clone(), |all, (k, v)| all.with(k, v));
    meta.owner_references = vec![common.owner.clone()];
}

fn is_same(slice: &EndpointSlice, other: &EndpointSlice) -> bool {
    slice.endpoints == other.endpoints
        && slice.ports == other.ports
        && slice.metadata.labels == other.metadata.labels
}

fn new_slice(common: &Common, ports: Vec<EndpointPort>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = EndpointSlice {
        address_type: common.address_type.into(),
        ports,
        endpoints,
        ..EndpointSlice::default()
    };
    slice.metadata.generate_name = format!("{}-", common.name).into();
    slice.metadata.namespace = common.namespace.clone();
    dress(&mut slice, common);
    slice
}
