//! What was written, Service by Service, and the difference that a change makes: one batch that deletes, adds and
//! nothing else. Things that Services share (chains by number of endpoints, cluster IPs, hairpins) are counted.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::Ipv4Addr;

use client::ObjectKey;
use nftables::{Batch, Element, Key, Verdict};

use crate::conntrack::Stale;
use crate::plan::{Allowed, Backend, Balance, Frontend, Plan, Scope};
use crate::sweep;
use crate::table::spread::{Note, Shared, Spread};
use crate::table::{self, Fixed};

/// Above so many bytes a cold start goes in several transactions, with what dispatches packets in the last.
const TRANSACTION: usize = 4 << 20;

/// A map or set and the elements to write to it.
type Elements = HashMap<&'static str, Vec<Element>>;

/// Uses of something that several Services need.
struct Counts<K>(HashMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Counts<K> {
    /// True at the first use.
    fn take(&mut self, key: K) -> bool {
        let count = self.0.entry(key).or_default();
        *count += 1;
        *count == 1
    }

    /// True after the last.
    fn give(&mut self, key: &K) -> bool {
        match self.0.get_mut(key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => self.0.remove(key).is_some(),
            None => false,
        }
    }
}

/// The rules as the kernel has them.
pub struct State {
    fixed: Fixed,
    plans: HashMap<ObjectKey, Plan>,
    /// Whose frontend it is: two Services may claim one external address.
    owners: HashMap<(Frontend, Scope), ObjectKey>,
    /// Whose source ranges hold at a frontend.
    guards: HashMap<Frontend, ObjectKey>,
    chains: Counts<Shared>,
    cluster_ips: Counts<Ipv4Addr>,
    hairpins: Counts<Ipv4Addr>,
    no_local: [u32; 2],
}

/// What a change comes to.
pub struct Changed {
    pub batch: Batch,
    /// Tracked connections that lead nowhere after it.
    pub stale: Vec<Stale>,
    /// Clients are noted at endpoints that are gone after it; see [`crate::sweep`].
    pub sweep: bool,
}

/// Elements and chains to add and to delete.
#[derive(Default)]
struct Difference {
    add: Elements,
    delete: Elements,
    new_chains: Vec<Shared>,
    old_chains: Vec<Shared>,
}

impl State {
    pub fn new(fixed: Fixed) -> Self {
        Self {
            fixed,
            plans: HashMap::new(),
            owners: HashMap::new(),
            guards: HashMap::new(),
            chains: Counts::default(),
            cluster_ips: Counts::default(),
            hairpins: Counts::default(),
            no_local: [0; 2],
        }
    }

    /// Ports with policy Local and endpoints on other nodes only; see [`Plan`].
    pub fn no_local(&self) -> [u32; 2] {
        self.no_local
    }

    pub fn services(&self) -> usize {
        self.plans.len()
    }

    /// Everything anew, in place of what is there: one batch, or several when there is much.
    pub fn rebuild(&mut self, plans: Vec<(ObjectKey, Plan)>, notes: &[sweep::Note]) -> Vec<Batch> {
        *self = Self::new(self.fixed.clone());
        let mut difference = Difference::default();
        for (key, plan) in plans {
            self.enter(&key, plan, &mut difference);
        }
        let mut batch = Batch::new(table::FAMILY, table::TABLE);
        batch.add_table();
        batch.delete_table();
        table::add(&mut batch, &self.fixed);
        for chain in difference.new_chains {
            chain.add(&mut batch, &self.fixed);
        }
        let mut batches = Vec::new();
        let dispatching =
            [table::SERVICES, table::OUTSIDE_SERVICES, table::NODE_PORTS, table::OUTSIDE_NODE_PORTS];
        let (last, first): (Vec<_>, Vec<_>) =
            difference.add.into_iter().partition(|(set, _)| dispatching.contains(set));
        for (set, elements) in first.into_iter().chain(last) {
            for part in elements.chunks(16 << 10) {
                batch.add_elements(set, part);
                if batch.len() > TRANSACTION {
                    batches.push(std::mem::replace(&mut batch, Batch::new(table::FAMILY, table::TABLE)));
                }
            }
        }
        let kept = notes.iter().filter(|note| self.is_noted(note.frontend, note.backend));
        batch.add_elements(table::AFFINITY, &kept.map(sweep::Note::element).collect::<Vec<_>>());
        table::add_hooks(&mut batch, &self.fixed);
        batches.push(batch);
        batches
    }

    /// Whether a frontend with affinity leads to this endpoint.
    pub fn is_noted(&self, frontend: Frontend, backend: Backend) -> bool {
        [Scope::All, Scope::Outside].into_iter().any(|scope| {
            let plan = self.owners.get(&(frontend, scope)).and_then(|owner| self.plans.get(owner));
            let balance =
                plan.and_then(|p| p.balances.iter().find(|b| (b.frontend, b.scope) == (frontend, scope)));
            balance.is_some_and(|b| b.affinity.is_some() && b.backends.contains(&backend))
        })
    }

    /// What turns the rules that are there into what these Services are now.
    pub fn change(&mut self, plans: Vec<(ObjectKey, Plan)>) -> Changed {
        let (mut difference, mut stale, mut sweep) = (Difference::default(), Vec::new(), false);
        let changed: Vec<_> = plans
            .into_iter()
            .filter(|(key, plan)| self.plans.get(key).map_or(*plan != Plan::default(), |old| old != plan))
            .collect();
        for (key, plan) in &changed {
            if let Some(old) = self.plans.get(key) {
                stale.extend(stale_connections(old, plan));
                sweep |= leaves_notes(old, plan);
            }
        }
        for (key, _) in &changed {
            self.leave(key, &mut difference);
        }
        for (key, plan) in changed {
            self.enter(&key, plan, &mut difference);
        }
        Changed { batch: self.batch(difference), stale, sweep }
    }

    fn batch(&self, difference: Difference) -> Batch {
        let mut batch = Batch::new(table::FAMILY, table::TABLE);
        let Difference { mut add, mut delete, mut new_chains, mut old_chains } = difference;
        // What is both deleted and added as it was is neither.
        for (set, deleted) in &mut delete {
            if let Some(added) = add.get_mut(set) {
                cancel(deleted, added);
            }
        }
        let again: HashSet<Shared> = old_chains.iter().filter(|c| new_chains.contains(c)).copied().collect();
        new_chains.retain(|chain| !again.contains(chain));
        old_chains.retain(|chain| !again.contains(chain));
        for chain in &new_chains {
            chain.add(&mut batch, &self.fixed);
        }
        for (set, elements) in delete.iter().filter(|(_, e)| !e.is_empty()) {
            batch.delete_elements(set, elements);
        }
        for (set, elements) in add.iter().filter(|(_, e)| !e.is_empty()) {
            batch.add_elements(set, elements);
        }
        for chain in &old_chains {
            batch.flush_chain(&chain.chain());
            batch.delete_chain(&chain.chain());
        }
        batch
    }

    fn enter(&mut self, key: &ObjectKey, mut plan: Plan, difference: &mut Difference) {
        if plan == Plan::default() {
            return;
        }
        // The first Service that claims a frontend keeps it.
        plan.balances
            .retain(|b| self.owners.entry((b.frontend, b.scope)).or_insert_with(|| key.clone()) == key);
        for ip in plan.cluster_ips.iter().filter(|ip| self.cluster_ips.take(**ip)) {
            difference.add.entry(table::CLUSTER_IPS).or_default().push(Element::key(Key::new().ipv4(*ip)));
        }
        for balance in &plan.balances {
            for (set, element) in elements(balance) {
                difference.add.entry(set).or_default().push(element);
            }
            difference.new_chains.extend(shared(balance).filter(|chain| self.chains.take(*chain)));
            for backend in balance.backends.iter().filter(|b| self.hairpins.take(b.address)) {
                difference.add.entry(table::HAIRPIN).or_default().push(hairpin(backend));
            }
        }
        plan.allowed.retain(|a| self.guards.entry(a.frontend).or_insert_with(|| key.clone()) == key);
        for (set, element) in plan.allowed.iter().flat_map(guard) {
            difference.add.entry(set).or_default().push(element);
        }
        for (sum, n) in self.no_local.iter_mut().zip(plan.no_local) {
            *sum += n;
        }
        self.plans.insert(key.clone(), plan);
    }

    fn leave(&mut self, key: &ObjectKey, difference: &mut Difference) {
        let Some(plan) = self.plans.remove(key) else { return };
        for (sum, n) in self.no_local.iter_mut().zip(plan.no_local) {
            *sum -= n;
        }
        for ip in plan.cluster_ips.iter().filter(|ip| self.cluster_ips.give(ip)) {
            difference.delete.entry(table::CLUSTER_IPS).or_default().push(Element::key(Key::new().ipv4(*ip)));
        }
        for balance in &plan.balances {
            self.owners.remove(&(balance.frontend, balance.scope));
            for (set, element) in elements(balance) {
                difference.delete.entry(set).or_default().push(element);
            }
            difference.old_chains.extend(shared(balance).filter(|chain| self.chains.give(chain)));
            for backend in balance.backends.iter().filter(|b| self.hairpins.give(&b.address)) {
                difference.delete.entry(table::HAIRPIN).or_default().push(hairpin(backend));
            }
        }
        for allowed in &plan.allowed {
            self.guards.remove(&allowed.frontend);
            for (set, element) in guard(allowed) {
                difference.delete.entry(set).or_default().push(element);
            }
        }
    }
}

/// Removes from both what is in both. A set has one element of a key.
fn cancel(deleted: &mut Vec<Element>, added: &mut Vec<Element>) {
    let again: HashSet<Key> = {
        let added: HashMap<&Key, &Element> = added.iter().map(|e| (&e.key, e)).collect();
        let same = deleted.iter().filter(|d| added.get(&d.key) == Some(d));
        same.map(|d| d.key.clone()).collect()
    };
    deleted.retain(|e| !again.contains(&e.key));
    added.retain(|e| !again.contains(&e.key));
}

fn hairpin(backend: &Backend) -> Element {
    Element::key(Key::new().ipv4(backend.address).ipv4(backend.address))
}

fn spread(balance: &Balance) -> Option<Spread> {
    let endpoints = u32::try_from(balance.backends.len()).ok().filter(|n| *n > 0)?;
    Some(Spread {
        node_port: balance.frontend.address.is_none(),
        scope: balance.scope,
        masquerade: balance.masquerade,
        affinity: balance.affinity.is_some(),
        endpoints,
    })
}

/// The chain that notes a frontend's clients, once for both scopes.
fn note(balance: &Balance) -> Option<Note> {
    let noted = balance.scope == Scope::All && !balance.backends.is_empty();
    let seconds = balance.affinity.filter(|_| noted)?;
    Some(Note { node_port: balance.frontend.address.is_none(), seconds })
}

fn shared(balance: &Balance) -> impl Iterator<Item = Shared> {
    spread(balance).map(Shared::Spread).into_iter().chain(note(balance).map(Shared::Note))
}

/// Who may come to a frontend.
fn guard(allowed: &Allowed) -> Vec<(&'static str, Element)> {
    let Some(address) = allowed.frontend.address else { return Vec::new() };
    let key = || Key::new().ipv4(address).protocol(allowed.frontend.protocol).port(allowed.frontend.port);
    let range =
        |net: &ipnet::Ipv4Net| Element::between(key().ipv4(net.network()), key().ipv4(net.broadcast()));
    let sources = allowed.sources.iter().map(|net| (table::SOURCE_RANGES, range(net)));
    std::iter::once((table::FIREWALL, Element::key(key()))).chain(sources).collect()
}

/// The elements of one frontend.
fn elements(balance: &Balance) -> Vec<(&'static str, Element)> {
    let frontend = balance.frontend;
    let key = match frontend.address {
        Some(address) => Key::new().ipv4(address).protocol(frontend.protocol).port(frontend.port),
        None => Key::new().protocol(frontend.protocol).port(frontend.port),
    };
    let node_port = frontend.address.is_none();
    let Some(spread) = spread(balance) else {
        let set = match (balance.scope, node_port) {
            (Scope::All, false) => table::NO_ENDPOINT_SERVICES,
            (Scope::All, true) => table::NO_ENDPOINT_NODE_PORTS,
            (Scope::Outside, false) => table::NO_LOCAL_ENDPOINTS,
            (Scope::Outside, true) => table::NO_LOCAL_NODE_PORTS,
        };
        return vec![(set, Element::key(key))];
    };
    let map = match (balance.scope, node_port) {
        (Scope::All, false) => table::SERVICES,
        (Scope::All, true) => table::NODE_PORTS,
        (Scope::Outside, false) => table::OUTSIDE_SERVICES,
        (Scope::Outside, true) => table::OUTSIDE_NODE_PORTS,
    };
    let mut all = vec![(map, Element::verdict(key.clone(), Verdict::Goto(spread.chain())))];
    let base = Key::new()
        .ipv4(frontend.address.unwrap_or(Ipv4Addr::UNSPECIFIED))
        .protocol(frontend.protocol)
        .port(frontend.port);
    for (number, backend) in (spread.first_number()..).zip(&balance.backends) {
        let key = base.clone().number(number);
        all.push((table::ENDPOINTS, Element::data(key, Key::new().ipv4(backend.address).port(backend.port))));
    }
    if let Some(note) = note(balance) {
        let map = if node_port { table::NODE_PORT_NOTES } else { table::NOTES };
        all.push((map, Element::verdict(key, Verdict::Jump(note.chain()))));
    }
    all
}

/// UDP knows no end of a connection: clients of an endpoint that is gone would go on sending to it, and clients that
/// found nobody would never find the first endpoint.
fn stale_connections(old: &Plan, new: &Plan) -> Vec<Stale> {
    let mut found = Vec::new();
    for before in old.balances.iter().filter(|b| b.frontend.protocol == conntrack_udp()) {
        let after = new.balances.iter().find(|b| (b.frontend, b.scope) == (before.frontend, before.scope));
        let kept = after.map(|a| a.backends.as_slice()).unwrap_or_default();
        let gone = before.backends.iter().filter(|b| !kept.contains(b));
        found.extend(gone.map(|b| Stale { frontend: before.frontend, backend: Some(*b) }));
        if before.backends.is_empty() && !kept.is_empty() {
            found.push(Stale { frontend: before.frontend, backend: None });
        }
    }
    found
}

/// Whether clients of these Services may be noted at endpoints that they have no more.
fn leaves_notes(old: &Plan, new: &Plan) -> bool {
    old.balances.iter().filter(|b| b.affinity.is_some()).any(|before| {
        let after = new.balances.iter().find(|b| (b.frontend, b.scope) == (before.frontend, before.scope));
        let kept = after.filter(|a| a.affinity.is_some()).map(|a| a.backends.as_slice()).unwrap_or_default();
        before.backends.iter().any(|b| !kept.contains(b))
    })
}

const fn conntrack_udp() -> u8 {
    17
}

#[cfg(test)]
mod packets;
#[cfg(test)]
mod tests;
