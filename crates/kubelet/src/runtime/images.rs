//! Images: pull policies, pulls at most once at a time an image, back-off after failures, credentials.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::security::ImageUser;
use crate::events::{Events, Kind as EventKind};
use crate::objects::Data;
use crate::pod::PodExt;

const BACKOFF_INITIAL: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Why an image is not there: the reason of the container's waiting state, and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, `InvalidImageName`, `ImageInspectError`.
    pub reason: &'static str,
    /// For the user.
    pub message: String,
    /// When to try again.
    pub retry: Option<Duration>,
}

/// An image that is there.
#[derive(Clone, Debug)]
pub struct Image {
    /// The runtime's id.
    pub id: String,
    /// The user that it runs as.
    pub user: ImageUser,
}

/// Pulls and checks images.
pub struct Images {
    runtime: cri::Runtime,
    events: Events,
    parallel: Option<Semaphore>,
    backoffs: Mutex<HashMap<String, (Duration, Instant)>>,
}

impl Images {
    /// `parallel` limits pulls at one time; `None` is no limit.
    #[must_use]
    pub fn new(runtime: cri::Runtime, events: Events, parallel: Option<usize>) -> Self {
        Self { runtime, events, parallel: parallel.map(Semaphore::new), backoffs: Mutex::default() }
    }

    /// Makes sure that a container's image is there, by its pull policy.
    ///
    /// # Errors
    /// [`ImageError`] with the words of the waiting state.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        secrets: &[Arc<Data>],
        sandbox_config: &v1::PodSandboxConfig,
    ) -> Result<Image, ImageError> {
        let name = with_tag(container.image.as_deref().unwrap_or_default())?;
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let path = crate::events::container_path(pod, &container.name);
        let present = if policy == "Always" { None } else { self.inspect(&name).await? };
        if let Some(image) = present {
            let message =
                format!("Container image {name:?} already present on machine and can be accessed by the pod");
            self.events.emit(pod, EventKind::Normal, "Pulled", &message, &path);
            return Ok(image);
        }
        if policy == "Never" {
            let message = format!("Container image {name:?} is not present with pull policy of Never");
            self.events.emit(pod, EventKind::Warning, "ErrImageNeverPull", &message, &path);
            return Err(ImageError { reason: "ErrImageNeverPull", message, retry: None });
        }
        let key = format!("{}_{name}", pod.uid());
        if let Some(left) = self.backing_off(&key) {
            let message = format!("Back-off pulling image {name:?}");
            self.events.emit(pod, EventKind::Normal, "BackOff", &message, &path);
            return Err(ImageError { reason: "ImagePullBackOff", message, retry: Some(left) });
        }
        self.pull(pod, &name, &key, secrets, sandbox_config, &path).await
    }

    async fn inspect(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let spec = v1::ImageSpec { image: name.to_owned(), ..Default::default() };
        match self.runtime.image_status(spec).await {
            Ok(image) => Ok(image.map(image_of)),
            Err(error) => Err(ImageError {
                reason: "ImageInspectError",
                message: format!("Failed to inspect image {name:?}: {error}"),
                retry: Some(BACKOFF_INITIAL),
            }),
        }
    }

    fn backing_off(&self, key: &str) -> Option<Duration> {
        let backoffs = self.backoffs.lock();
        let (delay, since) = backoffs.get(key)?;
        delay.checked_sub(since.elapsed()).filter(|left| !left.is_zero())
    }

    async fn pull(
        &self,
        pod: &Pod,
        name: &str,
        key: &str,
        secrets: &[Arc<Data>],
        sandbox_config: &v1::PodSandboxConfig,
        path: &str,
    ) -> Result<Image, ImageError> {
        let waited = Instant::now();
        let _permit = match &self.parallel {
            Some(semaphore) => semaphore.acquire().await.ok(),
            None => None,
        };
        self.events.emit(pod, EventKind::Normal, "Pulling", &format!("Pulling image {name:?}"), path);
        let started = Instant::now();
        match self.pull_any(name, secrets, sandbox_config).await {
            Ok(reference) => {
                self.backoffs.lock().remove(key);
                let image = self.inspect(&reference).await?;
                let (took, total) = (rounded(started.elapsed()), rounded(waited.elapsed()));
                let message =
                    format!("Successfully pulled image {name:?} in {took} ({total} including waiting).");
                self.events.emit(pod, EventKind::Normal, "Pulled", &message, path);
                Ok(image.unwrap_or_else(|| Image { id: reference, user: ImageUser::default() }))
            }
            Err(error) => {
                let message = format!("failed to pull image {name:?}: {}", error.message());
                let shown = format!("Failed to pull image {name:?}: {error}");
                self.events.emit(pod, EventKind::Warning, "Failed", &shown, path);
                let retry = self.count_failure(key);
                Err(ImageError { reason: "ErrImagePull", message, retry: Some(retry) })
            }
        }
    }

    fn count_failure(&self, key: &str) -> Duration {
        let mut backoffs = self.backoffs.lock();
        backoffs.retain(|_, (delay, since)| since.elapsed() < *delay + BACKOFF_MAX * 2);
        let next = backoffs.get(key).map_or(BACKOFF_INITIAL, |(delay, _)| (*delay * 2).min(BACKOFF_MAX));
        backoffs.insert(key.to_owned(), (next, Instant::now()));
        next
    }

    /// Tries each credential that fits, or none.
    async fn pull_any(
        &self,
        name: &str,
        secrets: &[Arc<Data>],
        sandbox_config: &v1::PodSandboxConfig,
    ) -> Result<String, cri::Error> {
        let spec = v1::ImageSpec {
            image: name.to_owned(),
            user_specified_image: name.to_owned(),
            ..Default::default()
        };
        let mut credentials: Vec<Option<v1::AuthConfig>> =
            secrets.iter().filter_map(|secret| credential(secret, name)).map(Some).collect();
        if credentials.is_empty() {
            credentials.push(None);
        }
        let mut last = None;
        for auth in credentials {
            match self.runtime.pull_image(spec.clone(), auth, Some(sandbox_config.clone())).await {
                Ok(reference) => return Ok(reference),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| cri::Error::Endpoint(name.to_owned())))
    }
}

fn image_of(image: v1::Image) -> Image {
    let user = ImageUser { uid: image.uid.map(|uid| uid.value), name: image.username };
    Image { id: image.id, user }
}

fn rounded(duration: Duration) -> component_base::flags::GoDuration {
    component_base::flags::GoDuration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or_default(),
    ))
}

/// The name with `:latest` where it has neither tag nor digest.
fn with_tag(image: &str) -> Result<String, ImageError> {
    let repository = image.rsplit('/').next().unwrap_or_default();
    let plain = repository.split(['@', ':']).next().unwrap_or_default();
    let bad = plain.is_empty()
        || image.contains(char::is_whitespace)
        || image
            .split(['@', ':'])
            .next()
            .is_some_and(|path| path.chars().any(|c| c.is_ascii_uppercase()) && !path.contains('/'));
    if bad {
        let message = format!(
            "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: invalid reference format"
        );
        return Err(ImageError { reason: "InvalidImageName", message, retry: None });
    }
    Ok(if repository.contains(['@', ':']) { image.to_owned() } else { format!("{image}:latest") })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    username: String,
    password: String,
    auth: String,
}

/// The login for an image's registry in a secret of either docker type.
fn credential(secret: &Data, image: &str) -> Option<v1::AuthConfig> {
    #[derive(Deserialize)]
    struct File {
        auths: HashMap<String, Login>,
    }
    let logins = match secret.bytes(".dockerconfigjson") {
        Some(bytes) => serde_json::from_slice::<File>(&bytes).ok()?.auths,
        None => serde_json::from_slice(&secret.bytes(".dockercfg")?).ok()?,
    };
    let mut fits: Vec<_> =
        logins.into_iter().filter(|(registry, _)| registry_fits(registry, image)).collect();
    fits.sort_by_key(|(registry, _)| std::cmp::Reverse(registry.len()));
    let (_, login) = fits.into_iter().next()?;
    let (mut username, mut password) = (login.username, login.password);
    if username.is_empty() && !login.auth.is_empty() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(&login.auth).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (name, secret) = text.split_once(':')?;
        (username, password) = (name.to_owned(), secret.trim_end_matches('\0').to_owned());
    }
    Some(v1::AuthConfig { username, password, auth: login.auth, ..Default::default() })
}

/// Whether the entry of a docker login is for an image: its host (with `*` for a part), and its path as a prefix.
fn registry_fits(registry: &str, image: &str) -> bool {
    let registry = registry.trim_start_matches("https://").trim_start_matches("http://");
    let registry = registry.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let (host, path) = registry.split_once('/').unwrap_or((registry, ""));
    let first = image.split('/').next().unwrap_or_default();
    let named = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let (image_host, image_path) =
        if named { image.split_once('/').unwrap_or((first, "")) } else { ("index.docker.io", image) };
    let hosts = host.split('.').count() == image_host.split('.').count()
        && host
            .split('.')
            .zip(image_host.split('.'))
            .all(|(pattern, part)| pattern == "*" || pattern == part);
    hosts && image_path.starts_with(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_tag() {
        for (image, want) in [
            ("nginx", "nginx:latest"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("a@sha256:00", "a@sha256:00"),
        ] {
            assert_eq!(with_tag(image).unwrap(), want);
        }
        for image in ["", "a b", "FAILED_IMAGE"] {
            assert_eq!(with_tag(image).unwrap_err().reason, "InvalidImageName", "{image}");
        }
    }

    #[test]
    fn matches_registries() {
        assert!(registry_fits("https://index.docker.io/v1/", "nginx"));
        assert!(registry_fits("*.example.com", "a.example.com/x"));
        assert!(registry_fits("gcr.io/team", "gcr.io/team/x"));
        assert!(!registry_fits("gcr.io/team", "gcr.io/other/x"));
        assert!(!registry_fits("gcr.io", "nginx"));
    }
}
