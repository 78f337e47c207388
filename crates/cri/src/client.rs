//! The calls. Each takes and gives the message's interesting part, so that callers hold no envelopes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::v1;
use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;

/// Largest message either way: upstream's limit, for hosts with many containers.
const MAX_MESSAGE: usize = 16 << 20;

/// The stream of container events.
pub type Events = tonic::Streaming<v1::ContainerEventResponse>;

/// Which images to list: one by reference, or all.
pub type ImageFilter = Option<String>;

/// A connection to one container runtime. Cloning is cheap and shares the connection.
#[derive(Clone)]
pub struct Runtime {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    timeout: Duration,
    /// The runtime's name, once it was asked.
    name: Arc<OnceCell<Arc<str>>>,
    observer: Option<Observer>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("timeout", &self.timeout).field("name", &self.name).finish()
    }
}

/// The socket's path of `unix:///run/x.sock` or `/run/x.sock`.
fn socket_path(endpoint: &str) -> Result<PathBuf, Error> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    if path.starts_with('/') { Ok(PathBuf::from(path)) } else { Err(Error::Endpoint(endpoint.to_owned())) }
}

/// Told of each call when it ends: its name, how long it took, and whether it failed.
pub type Observer = Arc<dyn Fn(&'static str, Duration, bool) + Send + Sync>;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $rpc:ident . $client:ident ( $request:ty ) -> $response:ty;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// What the runtime answered, or `DeadlineExceeded` after the client's time limit.
            pub async fn $name(&self, message: $request) -> Result<$response, Error> {
                let mut request = Request::new(message);
                request.set_timeout(self.timeout);
                let mut client = self.$client.clone();
                self.answer(stringify!($rpc), client.$name(request)).await
            }
        )*
    };
}

impl Runtime {
    /// Prepares a connection to `endpoint` (`unix:///path` or a path); it is made at the first call and again
    /// whenever it breaks. `timeout` limits every call that is not long by nature (`runtimeRequestTimeout`).
    ///
    /// # Errors
    /// [`Error::Endpoint`] if it is not a unix socket address.
    pub fn new(endpoint: &str, timeout: Duration) -> Result<Self, Error> {
        let path = socket_path(endpoint)?;
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        let runtime = RuntimeServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let images = ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self { runtime, images, timeout, name: Arc::default(), observer: None })
    }

    /// Has every call of this connection told to `observer`.
    #[must_use]
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    async fn answer<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let result = work.await;
        let took = begun.elapsed();
        tracing::debug!(call, micros = took.as_micros(), failed = result.is_err(), "runtime");
        if let Some(observer) = &self.observer {
            observer(call, took, result.is_err());
        }
        result.map(Response::into_inner).map_err(|status| Error::status(call, &status))
    }

    /// The runtime's own name (`containerd`, `cri-o`), which is asked for once: the scheme of container ids in the
    /// API.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn name(&self) -> Result<Arc<str>, Error> {
        let ask = async || Ok(self.version(v1::VersionRequest::default()).await?.runtime_name.into());
        self.name.get_or_try_init(ask).await.cloned()
    }

    calls! {
        /// Name and version of the runtime and of its API.
        version: Version.runtime(v1::VersionRequest) -> v1::VersionResponse;
        /// State of a sandbox.
        pod_sandbox_status: PodSandboxStatus.runtime(v1::PodSandboxStatusRequest) -> v1::PodSandboxStatusResponse;
        /// State of a container.
        container_status: ContainerStatus.runtime(v1::ContainerStatusRequest) -> v1::ContainerStatusResponse;
        /// Changes the limits of a running container.
        update_container_resources: UpdateContainerResources.runtime(v1::UpdateContainerResourcesRequest)
            -> v1::UpdateContainerResourcesResponse;
        /// Address at which a command may be run in a container.
        exec: Exec.runtime(v1::ExecRequest) -> v1::ExecResponse;
        /// Address at which a container's streams are served.
        attach: Attach.runtime(v1::AttachRequest) -> v1::AttachResponse;
        /// Address at which a sandbox's ports are served.
        port_forward: PortForward.runtime(v1::PortForwardRequest) -> v1::PortForwardResponse;
        /// Usage of containers.
        list_container_stats: ListContainerStats.runtime(v1::ListContainerStatsRequest)
            -> v1::ListContainerStatsResponse;
        /// Usage of sandboxes.
        list_pod_sandbox_stats: ListPodSandboxStats.runtime(v1::ListPodSandboxStatsRequest)
            -> v1::ListPodSandboxStatsResponse;
        /// Tells the runtime the node's pod range.
        update_runtime_config: UpdateRuntimeConfig.runtime(v1::UpdateRuntimeConfigRequest)
            -> v1::UpdateRuntimeConfigResponse;
        /// Conditions, handlers and features of the runtime.
        status: Status.runtime(v1::StatusRequest) -> v1::StatusResponse;
        /// Configuration that runtime and kubelet must share (cgroup driver).
        runtime_config: RuntimeConfig.runtime(v1::RuntimeConfigRequest) -> v1::RuntimeConfigResponse;
        /// Usage of the file system that holds images.
        image_fs_info: ImageFsInfo.images(v1::ImageFsInfoRequest) -> v1::ImageFsInfoResponse;
    }

    fn limited<T>(&self, message: T, extra: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout + extra);
        request
    }

    /// Creates and starts a sandbox; its id. Has twice the time of other calls, as it sets up the network.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn run_pod_sandbox(
        &self,
        config: v1::PodSandboxConfig,
        handler: &str,
    ) -> Result<String, Error> {
        let message = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let request = self.limited(message, self.timeout);
        Ok(self.answer("RunPodSandbox", self.runtime.clone().run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    /// Stops a sandbox and frees its network. Idempotent.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request =
            self.limited(v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() }, Duration::ZERO);
        self.answer("StopPodSandbox", self.runtime.clone().stop_pod_sandbox(request)).await.map(drop)
    }

    /// Removes a sandbox and what is left of its containers. Idempotent.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let request =
            self.limited(v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }, Duration::ZERO);
        self.answer("RemovePodSandbox", self.runtime.clone().remove_pod_sandbox(request)).await.map(drop)
    }

    /// Sandboxes that match.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn list_pod_sandbox(&self, filter: v1::PodSandboxFilter) -> Result<Vec<v1::PodSandbox>, Error> {
        let request = self.limited(v1::ListPodSandboxRequest { filter: Some(filter) }, Duration::ZERO);
        Ok(self.answer("ListPodSandbox", self.runtime.clone().list_pod_sandbox(request)).await?.items)
    }

    /// Containers that match.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn list_containers(&self, filter: v1::ContainerFilter) -> Result<Vec<v1::Container>, Error> {
        let request = self.limited(v1::ListContainersRequest { filter: Some(filter) }, Duration::ZERO);
        Ok(self.answer("ListContainers", self.runtime.clone().list_containers(request)).await?.containers)
    }

    /// Creates a container in a sandbox; its id.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let message = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let request = self.limited(message, Duration::ZERO);
        Ok(self.answer("CreateContainer", self.runtime.clone().create_container(request)).await?.container_id)
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = self.limited(v1::StartContainerRequest { container_id: id.to_owned() }, Duration::ZERO);
        self.answer("StartContainer", self.runtime.clone().start_container(request)).await.map(drop)
    }

    /// Stops a container: its stop signal, then, after `grace`, SIGKILL. Idempotent.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let seconds = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let message = v1::StopContainerRequest { container_id: id.to_owned(), timeout: seconds };
        let request = self.limited(message, grace);
        self.answer("StopContainer", self.runtime.clone().stop_container(request)).await.map(drop)
    }

    /// Removes a container, by force if it runs. Idempotent.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request =
            self.limited(v1::RemoveContainerRequest { container_id: id.to_owned() }, Duration::ZERO);
        self.answer("RemoveContainer", self.runtime.clone().remove_container(request)).await.map(drop)
    }

    /// Runs a command in a container and gives its output and exit code. A zero `limit` means none.
    ///
    /// # Errors
    /// What the runtime answered; `DeadlineExceeded` if the command took longer than `limit`.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        limit: Duration,
    ) -> Result<v1::ExecSyncResponse, Error> {
        let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        let mut request =
            Request::new(v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: seconds });
        if !limit.is_zero() {
            request.set_timeout(self.timeout + limit);
        }
        self.answer("ExecSync", self.runtime.clone().exec_sync(request)).await
    }

    /// Tells the runtime to open a container's log anew, after a rotation.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let request =
            self.limited(v1::ReopenContainerLogRequest { container_id: id.to_owned() }, Duration::ZERO);
        self.answer("ReopenContainerLog", self.runtime.clone().reopen_container_log(request)).await.map(drop)
    }

    /// Events of containers from now on. The stream ends when the connection does.
    ///
    /// # Errors
    /// `Unimplemented` where the runtime has none (containerd before 1.7).
    pub async fn container_events(&self) -> Result<Events, Error> {
        self.answer(
            "GetContainerEvents",
            self.runtime.clone().get_container_events(Request::new(v1::GetEventsRequest {})),
        )
        .await
    }

    /// Images that the runtime has.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn list_images(&self, filter: ImageFilter) -> Result<Vec<v1::Image>, Error> {
        let filter = filter
            .map(|image| v1::ImageFilter { image: Some(v1::ImageSpec { image, ..Default::default() }) });
        let request = self.limited(v1::ListImagesRequest { filter }, Duration::ZERO);
        Ok(self.answer("ListImages", self.images.clone().list_images(request)).await?.images)
    }

    /// One image, `None` if the runtime does not have it.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn image_status(&self, image: v1::ImageSpec) -> Result<Option<v1::Image>, Error> {
        let message = v1::ImageStatusRequest { image: Some(image), verbose: false };
        let request = self.limited(message, Duration::ZERO);
        Ok(self.answer("ImageStatus", self.images.clone().image_status(request)).await?.image)
    }

    /// Pulls an image and gives its reference. Has no time limit: the runtime ends a pull without progress.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn pull_image(
        &self,
        image: v1::ImageSpec,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String, Error> {
        let message = v1::PullImageRequest { image: Some(image), auth, sandbox_config };
        Ok(self.answer("PullImage", self.images.clone().pull_image(Request::new(message))).await?.image_ref)
    }

    /// Removes an image. Idempotent.
    ///
    /// # Errors
    /// What the runtime answered.
    pub async fn remove_image(&self, image: v1::ImageSpec) -> Result<(), Error> {
        let request = self.limited(v1::RemoveImageRequest { image: Some(image) }, Duration::ZERO);
        self.answer("RemoveImage", self.images.clone().remove_image(request)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_endpoints() {
        assert_eq!(socket_path("unix:///run/x.sock").ok(), Some(PathBuf::from("/run/x.sock")));
        assert_eq!(socket_path("/run/x.sock").ok(), Some(PathBuf::from("/run/x.sock")));
        assert!(socket_path("tcp://127.0.0.1:1").is_err());
        assert!(socket_path("unix://x.sock").is_err());
    }
}
