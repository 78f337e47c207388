//! One round: load, a kill at a random moment, a restart, and the comparison of all that is there with all that was
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::http::{Client, GROUP, NAMESPACE};
use crate::ledger::{Kind, Write};
use crate::load::{self, Shared};
use crate::servers::{Plan, Servers};
use crate::watcher::Watcher;
use crate::{Error, Result};

const CATCH_UP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub rounds: u64,
    pub seed: u64,
    pub writers: u64,
}

/// How many rounds went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    pub passed: u64,
    pub failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Server,
    Etcd,
    Both,
}

/// Runs all rounds and prints a line for each.
pub async fn run(plan: &Plan, settings: Settings) -> Result<Score> {
    let mut servers = Servers::new(plan)?;
    servers.start()?;
    servers.ready().await?;
    prepare(&servers.client).await?;
    let shared = Arc::new(Shared::default());
    let mut watchers = Vec::new();
    for kind in Kind::ALL {
        let (_, version) = servers.client.list(kind).await?;
        watchers.push(Watcher::start(servers.client.clone(), kind, version));
    }
    let mut score = Score::default();
    let mut rng = StdRng::seed_from_u64(settings.seed);
    for round in 1..=settings.rounds {
        let seed = rng.random();
        let (told, findings) = one(&mut servers, &shared, &mut watchers, settings.writers, seed).await?;
        if findings.is_empty() {
            score.passed += 1;
            println!("round {round}: {told}: ok");
        } else {
            score.failed += 1;
            println!("round {round}: {told}: FAILED");
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
    }
    println!("{}", summary(&shared, &watchers));
    servers.api.kill().await?;
    if let Some(etcd) = &mut servers.etcd {
        etcd.kill().await?;
    }
    Ok(score)
}

fn summary(shared: &Shared, watchers: &[Watcher]) -> String {
    let (mut resumed, mut expired) = (0, 0);
    for watcher in watchers {
        let seen = watcher.seen();
        resumed += seen.resumed;
        expired += seen.expired;
    }
    let writes = shared.acknowledged.load(Ordering::Relaxed);
    format!("{writes} writes acknowledged; watches opened {resumed} times, expired {expired} times")
}

/// The namespace and the custom kind.
async fn prepare(client: &Client) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    make(client, "/api/v1/namespaces", &namespace).await?;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "value": {"type": "string"}, "padding": {"type": "string"}}}}});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    make(client, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await?;
    // Served soon after it is established; asking is the only way to know that it is.
    let mut again = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..600 {
        again.tick().await;
        if client.get(&Kind::Custom.collection()).await.is_some_and(|a| a.code == 200) {
            return Ok(());
        }
    }
    Err(Error::Setup("the custom kind is not served after 30 s".into()))
}

async fn make(client: &Client, collection: &str, object: &Value) -> Result<()> {
    let answer = client.call(Method::POST, collection, "application/json", Some(object)).await;
    match answer {
        Some(answer) if answer.code == 201 => Ok(()),
        answer => Err(Error::Request { what: format!("POST {collection}"), answer: format!("{answer:?}") }),
    }
}

async fn one(
    servers: &mut Servers,
    shared: &Arc<Shared>,
    watchers: &mut [Watcher],
    writers: u64,
    seed: u64,
) -> Result<(String, Vec<String>)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let before = shared.acknowledged.load(Ordering::Relaxed);
    let (stop, stopped) = watch::channel(false);
    let load = tokio::spawn(load::run(shared.clone(), servers.client.clone(), writers, seed, stopped));
    let moment = Duration::from_millis(rng.random_range(20..900));
    sleep(moment).await;
    let victim = match servers.etcd {
        None => Victim::Server,
        Some(_) => [Victim::Server, Victim::Etcd, Victim::Both][rng.random_range(0..3)],
    };
    kill(servers, victim).await?;
    let _ = stop.send(true);
    restart(servers, victim, &mut rng).await?;
    if let Err(error) = load.await {
        shared.finding(format!("the load broke: {error}"));
    }
    let acknowledged = shared.acknowledged.load(Ordering::Relaxed) - before;
    let pending = shared.ledger().pending();
    let told = format!(
        "{victim:?} killed after {} ms, {acknowledged} writes acknowledged, {pending} without an answer",
        moment.as_millis()
    );
    servers.ready().await?;
    let mut findings = check(&servers.client, shared, watchers).await?;
    findings.extend(shared.take_findings());
    Ok((told, findings))
}

async fn kill(servers: &mut Servers, victim: Victim) -> Result<()> {
    if victim != Victim::Server
        && let Some(etcd) = &mut servers.etcd
    {
        etcd.kill().await?;
    }
    if victim != Victim::Etcd {
        servers.api.kill().await?;
    }
    Ok(())
}

/// Starts what was killed; one time in five the server is killed once more while it starts.
async fn restart(servers: &mut Servers, victim: Victim, rng: &mut StdRng) -> Result<()> {
    if victim != Victim::Server
        && let Some(etcd) = &mut servers.etcd
    {
        etcd.start()?;
    }
    if victim == Victim::Etcd {
        return Ok(());
    }
    servers.api.start()?;
    if rng.random_range(0..5) == 0 {
        sleep(Duration::from_millis(rng.random_range(1..400))).await;
        servers.api.kill().await?;
        servers.api.start()?;
    }
    Ok(())
}

async fn check(client: &Client, shared: &Shared, watchers: &mut [Watcher]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for kind in Kind::ALL {
        let (list, version) = client.list(kind).await?;
        findings.extend(shared.ledger().settle(kind, &list, version));
    }
    let mut fences = Vec::new();
    for watcher in watchers.iter() {
        fences.push(fence(client, shared, watcher.kind).await?);
    }
    let versions = shared.take_versions();
    for (watcher, fence) in watchers.iter_mut().zip(fences) {
        if !watcher.reaches(fence, CATCH_UP).await {
            findings.push(format!(
                "watch of {:?}: version {fence} has not come after {CATCH_UP:?}",
                watcher.kind
            ));
        }
        let mut seen = watcher.seen();
        let own = versions.iter().filter(|(kind, _)| *kind == watcher.kind).map(|(_, v)| *v);
        let missing = seen.missing(own);
        if !missing.is_empty() {
            findings.push(format!(
                "watch of {:?}: no event for the acknowledged versions {missing:?}",
                watcher.kind
            ));
        }
        findings.append(&mut seen.findings);
        seen.versions.clear();
    }
    Ok(findings)
}

/// A write after everything else: the watch that has seen it has seen all. Its version.
async fn fence(client: &Client, shared: &Shared, kind: Kind) -> Result<u64> {
    let key = (kind, "fence".to_owned());
    let newest = shared.ledger().newest;
    let write = Write::Set(shared.value());
    let Write::Set(value) = write else { return Ok(newest) };
    shared.ledger().begin(&key, write);
    let answer = client.apply(&key, value).await;
    let told = format!("{answer:?}");
    if !shared.note(&key, write, answer) {
        return Err(Error::Request { what: format!("the last write of {kind:?}"), answer: told });
    }
    let version = shared.ledger().known(&key).map_or(0, |o| o.version);
    if version <= newest {
        shared.finding(format!("a write after the restart has version {version}, {newest} was given before"));
    }
    Ok(version)
}
