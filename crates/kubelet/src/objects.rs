//! Config maps and secrets that pods use: one informer an object, as long as a pod names it.
//!
//! A node may read only the objects that its pods name, one at a time; there is no list of all. A change wakes
//! the pods that use the object.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use client::{Api, Informer, InformerOptions, ObjectMeta, Resource};
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::pod::PodExt;
use crate::pod::view::as_container;

/// How long the first answer may take before the pod reports an error and is tried again.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Config map or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1/ConfigMap`
    ConfigMap,
    /// `v1/Secret`
    Secret,
}

impl Kind {
    /// As in messages.
    #[must_use]
    pub const fn lower(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    /// As in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    const fn resource(self) -> Resource {
        match self {
            Self::ConfigMap => Resource::of("", "v1", "configmaps", "ConfigMap", true),
            Self::Secret => Resource::of("", "v1", "secrets", "Secret", true),
        }
    }
}

/// The content of a config map or a secret.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Data {
    /// Name, version and the like.
    pub metadata: ObjectMeta,
    /// Texts of a config map, base64 of a secret.
    #[serde(deserialize_with = "null_default")]
    pub data: BTreeMap<String, String>,
    /// base64 of a config map.
    #[serde(deserialize_with = "null_default")]
    pub binary_data: BTreeMap<String, String>,
    /// A secret's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(skip)]
    decoded: std::sync::OnceLock<BTreeMap<String, Vec<u8>>>,
}

fn null_default<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

client::view!(Data);

impl Data {
    /// All values as bytes.
    pub fn all(&self) -> &BTreeMap<String, Vec<u8>> {
        self.decoded.get_or_init(|| {
            let decode =
                |text: &String| base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
            let secret = self.kind.is_some();
            let texts = self.data.iter().map(|(key, text)| {
                (key.clone(), if secret { decode(text) } else { text.clone().into_bytes() })
            });
            texts.chain(self.binary_data.iter().map(|(key, text)| (key.clone(), decode(text)))).collect()
        })
    }

    /// One value.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.all().get(key).cloned()
    }

    /// The values that are texts: of a config map those of `data`, of a secret all; `None` if it is no UTF-8.
    pub fn text(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let texts = self.all().iter().filter(|(key, _)| !self.binary_data.contains_key(*key));
        texts.map(|(key, bytes)| (key.as_str(), std::str::from_utf8(bytes).ok()))
    }
}

type Key = (Kind, String, String);

struct Watched {
    informer: Informer<Data>,
    stop: CancellationToken,
    users: HashSet<String>,
}

/// Called with the uid of a pod whose object changed.
pub type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// The objects that are in use.
pub struct Objects {
    api: Option<Api>,
    wake: Wake,
    watched: Arc<Mutex<HashMap<Key, Watched>>>,
}

/// Why an object cannot be given.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObjectError {
    /// The server does not have it.
    #[error("{} {name:?} not found", kind.lower())]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The server could not be asked.
    #[error("{0}")]
    Api(String),
}

impl Objects {
    /// `wake` is called for each pod that uses a changed object.
    #[must_use]
    pub fn new(api: Option<Api>, wake: Wake) -> Self {
        Self { api, wake, watched: Arc::default() }
    }

    /// Begins or ends watches so that exactly what the pod names is held for it.
    pub fn register(&self, pod: &Pod) {
        let Some(api) = &self.api else { return };
        let wanted = references(pod);
        let mut watched = self.watched.lock();
        Self::drop_user(&mut watched, pod.uid(), |key| wanted.contains(key));
        for key in wanted {
            let entry = watched.entry(key.clone()).or_insert_with(|| self.watch(api, &key));
            entry.users.insert(pod.uid().to_owned());
        }
    }

    /// Ends what was held for a pod.
    pub fn unregister(&self, uid: &str) {
        Self::drop_user(&mut self.watched.lock(), uid, |_| false);
    }

    fn drop_user(watched: &mut HashMap<Key, Watched>, uid: &str, keep: impl Fn(&Key) -> bool) {
        watched.retain(|key, entry| {
            if !keep(key) {
                entry.users.remove(uid);
            }
            if entry.users.is_empty() {
                entry.stop.cancel();
            }
            !entry.users.is_empty()
        });
    }

    fn watch(&self, api: &Api, key: &Key) -> Watched {
        let options = InformerOptions {
            namespace: key.1.clone(),
            field_selector: format!("metadata.name={}", key.2),
            ..InformerOptions::default()
        };
        let informer = Informer::<Data>::new(api.clone(), key.0.resource(), options);
        let (table, wake, changed) = (Arc::downgrade(&self.watched), self.wake.clone(), key.clone());
        informer.add_handler(move |_| {
            let Some(table) = table.upgrade() else { return };
            let users: Vec<String> = table
                .lock()
                .get(&changed)
                .map(|entry| entry.users.iter().cloned().collect())
                .unwrap_or_default();
            for user in users {
                wake(&user);
            }
        });
        let stop = CancellationToken::new();
        drop(informer.start(stop.clone()));
        Watched { informer, stop, users: HashSet::new() }
    }

    /// The current state of an object, waiting for the first answer.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] if the server has none, [`ObjectError::Api`] if it does not tell.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Data>, ObjectError> {
        let missing = || ObjectError::NotFound { kind, name: name.to_owned() };
        let Some(api) = &self.api else { return Err(missing()) };
        let informer = {
            let watched = self.watched.lock();
            watched.get(&(kind, namespace.to_owned(), name.to_owned())).map(|entry| entry.informer.clone())
        };
        if let Some(informer) = informer
            && tokio::time::timeout(FIRST_ANSWER, informer.wait_synced()).await.is_ok()
        {
            return informer.store().get(namespace, name).ok_or_else(missing);
        }
        match api.get::<Data>(&kind.resource(), namespace, name).await {
            Ok(data) => Ok(Arc::new(data)),
            Err(error) if error.is_not_found() => Err(missing()),
            Err(error) => Err(ObjectError::Api(error.to_string())),
        }
    }

    /// The object without waiting, if it is known.
    #[must_use]
    pub fn peek(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Data>> {
        let watched = self.watched.lock();
        watched.get(&(kind, namespace.to_owned(), name.to_owned()))?.informer.store().get(namespace, name)
    }
}

/// Config maps and secrets that a container's environment names.
pub fn of_environment(container: &Container) -> impl Iterator<Item = (Kind, String)> + '_ {
    let from = container.env_from.iter().flatten().filter_map(|source| {
        let map = source.config_map_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone()));
        map.or_else(|| source.secret_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())))
    });
    let each = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()).filter_map(
        |source| {
            let map = source.config_map_key_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone()));
            map.or_else(|| source.secret_key_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())))
        },
    );
    from.chain(each)
}

/// Every config map and secret that a pod names.
#[must_use]
pub fn references(pod: &Pod) -> HashSet<Key> {
    let mut names = HashSet::new();
    let ephemeral: Vec<Container> = pod.ephemeral_containers().iter().map(as_container).collect();
    for container in pod.init_containers().iter().chain(pod.containers()).chain(&ephemeral) {
        names.extend(of_environment(container));
    }
    for volume in pod.volumes() {
        if let Some(source) = &volume.config_map {
            names.insert((Kind::ConfigMap, source.name.clone()));
        }
        if let Some(name) = volume.secret.as_ref().and_then(|source| source.secret_name.clone()) {
            names.insert((Kind::Secret, name));
        }
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            names.extend(source.config_map.as_ref().map(|map| (Kind::ConfigMap, map.name.clone())));
            names.extend(source.secret.as_ref().map(|secret| (Kind::Secret, secret.name.clone())));
        }
    }
    for secret in pod.spec().image_pull_secrets.iter().flatten() {
        names.insert((Kind::Secret, secret.name.clone()));
    }
    names.into_iter().map(|(kind, name)| (kind, pod.namespace().to_owned(), name)).collect()
}
