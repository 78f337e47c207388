//! Writers side by side, each with objects of its own, until one of their requests has no answer or they are told
//! to stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::http::{Answer, Client};
use crate::ledger::{Key, Kind, Ledger, Write};

/// Objects a writer has.
const OBJECTS: u64 = 6;

/// What writers share.
#[derive(Default)]
pub struct Shared {
    ledger: Mutex<Ledger>,
    /// Values are never used twice.
    values: AtomicU64,
    findings: Mutex<Vec<String>>,
    pub acknowledged: AtomicU64,
    /// Versions that answers carried since they were last taken, by kind.
    versions: Mutex<Vec<(Kind, u64)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn finding(&self, text: String) {
        lock(&self.findings).push(text);
    }

    pub fn take_findings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.findings))
    }

    pub fn take_versions(&self) -> Vec<(Kind, u64)> {
        std::mem::take(&mut lock(&self.versions))
    }

    /// Writes down the answer to a write. False: the outcome is not known.
    pub fn note(&self, key: &Key, write: Write, answer: Option<Answer>) -> bool {
        let Some(answer) = answer else { return false };
        if answer.is_refusal() {
            self.ledger().refused(key);
            // Only the writer itself writes its objects, so that no refusal is due.
            if answer.code != 429 {
                self.finding(format!(
                    "{key:?} {write:?} was refused: {} {}",
                    answer.code, answer.body["message"]
                ));
            }
            return true;
        }
        if !(200..300).contains(&answer.code) {
            return false;
        }
        let object = match write {
            Write::Delete => None,
            Write::Set(_) => match key.0.read(&answer.body) {
                Some((_, object)) => Some(object),
                None => {
                    self.finding(format!(
                        "{key:?}: the answer is not the object that was written: {}",
                        answer.body
                    ));
                    return false;
                }
            },
        };
        if let Some(object) = &object {
            lock(&self.versions).push((key.0, object.version));
        }
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        let wrong = self.ledger().acknowledged(key, object);
        wrong.into_iter().for_each(|text| self.finding(text));
        true
    }
}

/// Runs writers of both kinds until all have stopped.
pub async fn run(shared: Arc<Shared>, client: Client, writers: u64, seed: u64, stop: watch::Receiver<bool>) {
    let one = |number: u64| {
        let kind = Kind::ALL[(number % 2) as usize];
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        tokio::spawn(writer(shared.clone(), client.clone(), kind, number, rng, stop.clone()))
    };
    for ended in join_all((0..writers).map(one)).await {
        if let Err(error) = ended {
            shared.finding(format!("a writer broke: {error}"));
        }
    }
}

async fn writer(
    shared: Arc<Shared>,
    client: Client,
    kind: Kind,
    number: u64,
    mut rng: StdRng,
    stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let key = (kind, format!("w{number}-{}", rng.random_range(0..OBJECTS)));
        let exists = shared.ledger().known(&key).is_some();
        let certain = match rng.random_range(0..10) {
            0 | 1 => read(&shared, &client, &key).await,
            2 | 3 if exists => {
                shared.ledger().begin(&key, Write::Delete);
                shared.note(&key, Write::Delete, client.delete(&key).await)
            }
            choice => {
                let write = Write::Set(shared.value());
                let Write::Set(value) = write else { continue };
                shared.ledger().begin(&key, write);
                let answer = match !exists && choice < 7 {
                    true => client.create(&key, value).await,
                    false => client.apply(&key, value).await,
                };
                shared.note(&key, write, answer)
            }
        };
        if !certain {
            return;
        }
    }
}

/// Reads see the writer's own last write.
async fn read(shared: &Shared, client: &Client, key: &Key) -> bool {
    let Some(answer) = client.read(key).await else { return false };
    let found = match answer.code {
        200 => key.0.read(&answer.body).map(|(_, object)| object),
        404 => None,
        _ => return false,
    };
    let wrong = shared.ledger().check(key, found.as_ref());
    wrong.into_iter().for_each(|text| shared.finding(format!("a read while writing: {text}")));
    true
}
