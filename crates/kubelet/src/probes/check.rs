//! One check of a container: a command in it, an HTTP request, a TCP connection, a gRPC health check. Also what lifecycle hooks do.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{grpc, http};

/// Most bytes of output in a message.
const OUTPUT_LIMIT: usize = 10 << 10;

/// What to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Run a command.
    Exec(ExecAction),
    /// Ask for a page.
    Http(HTTPGetAction),
    /// Connect.
    Tcp(TCPSocketAction),
    /// Ask a gRPC server for its health.
    Grpc(GRPCAction),
    /// Wait; of hooks only.
    Sleep(Duration),
    /// Something that is not built, or nothing.
    Unsupported(&'static str),
}

impl Action {
    /// The action of a probe.
    #[must_use]
    pub fn of_probe(probe: &Probe) -> Self {
        if let Some(exec) = &probe.exec {
            Self::Exec(exec.clone())
        } else if let Some(get) = &probe.http_get {
            Self::Http(get.clone())
        } else if let Some(tcp) = &probe.tcp_socket {
            Self::Tcp(tcp.clone())
        } else if let Some(grpc) = &probe.grpc {
            Self::Grpc(grpc.clone())
        } else {
            Self::Unsupported("probe without a handler")
        }
    }

    /// The action of a hook.
    #[must_use]
    pub fn of_hook(hook: &LifecycleHandler) -> Self {
        if let Some(exec) = &hook.exec {
            Self::Exec(exec.clone())
        } else if let Some(get) = &hook.http_get {
            Self::Http(get.clone())
        } else if let Some(sleep) = &hook.sleep {
            Self::Sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0)))
        } else {
            Self::Unsupported("hook without a handler")
        }
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Well, though not as one may have meant it; what was seen.
    Warning(String),
    /// Not well; what was seen.
    Failure(String),
    /// It could not be tried.
    Error(String),
}

/// Carries out an action for the container with id `id` in the pod at `pod_ip`.
pub async fn run(
    runtime: &cri::Runtime,
    container: &Container,
    id: &str,
    pod_ip: &str,
    action: &Action,
    timeout: Duration,
) -> Outcome {
    match action {
        Action::Exec(exec) => command(runtime, id, exec.command.clone().unwrap_or_default(), timeout).await,
        Action::Http(get) => {
            let host = get.host.clone().filter(|host| !host.is_empty());
            let Some((host, port)) = address(container, host, pod_ip, &get.port) else {
                return Outcome::Error("no address or port to probe".to_owned());
            };
            match http::get(get, &host, port, timeout).await {
                Ok((status, _)) if (200..300).contains(&status) => Outcome::Success,
                Ok((status, body)) if (300..400).contains(&status) => {
                    let body = String::from_utf8_lossy(&body);
                    Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
                }
                Ok((status, _)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
                Err(error) => Outcome::Failure(error),
            }
        }
        Action::Tcp(tcp) => {
            let host = tcp.host.clone().filter(|host| !host.is_empty());
            let Some((host, port)) = address(container, host, pod_ip, &tcp.port) else {
                return Outcome::Error("no address or port to probe".to_owned());
            };
            match http::connect(&host, port, timeout).await {
                Ok(_) => Outcome::Success,
                Err(error) => Outcome::Failure(error),
            }
        }
        Action::Grpc(action) => match u16::try_from(action.port) {
            Ok(port) if !pod_ip.is_empty() => {
                grpc::check(pod_ip, port, action.service.as_deref().unwrap_or_default(), timeout).await
            }
            _ => Outcome::Error("no address or port to probe".to_owned()),
        },
        Action::Sleep(duration) => {
            tokio::time::sleep(*duration).await;
            Outcome::Success
        }
        Action::Unsupported(what) => Outcome::Failure(format!("{what} is not supported by this kubelet")),
    }
}

async fn command(runtime: &cri::Runtime, id: &str, command: Vec<String>, timeout: Duration) -> Outcome {
    let shown = command.join(" ");
    match runtime.exec_sync(id, command, timeout).await {
        Ok(answer) if answer.exit_code == 0 => Outcome::Success,
        Ok(answer) => {
            let mut output = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
            output.truncate(output.floor_char_boundary(OUTPUT_LIMIT));
            Outcome::Failure(output)
        }
        Err(error) if error.code() == tonic::Code::DeadlineExceeded => {
            let after = component_base::flags::GoDuration(timeout);
            Outcome::Failure(format!("command timed out: {shown:?} timed out after {after}"))
        }
        Err(error) => Outcome::Error(error.to_string()),
    }
}

/// Host and port of a check; the host is the pod's address unless it is given.
fn address(
    container: &Container,
    host: Option<String>,
    pod_ip: &str,
    port: &IntOrString,
) -> Option<(String, u16)> {
    let host = host.unwrap_or_else(|| pod_ip.to_owned());
    Some((host, resolve_port(container, port)?)).filter(|(host, _)| !host.is_empty())
}

/// A port by number or by the name that the container gives it.
#[must_use]
pub fn resolve_port(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_ports() {
        let container = Container {
            ports: Some(vec![k8s_openapi::api::core::v1::ContainerPort {
                name: Some("web".into()),
                container_port: 80,
                ..Default::default()
            }]),
            ..Container::default()
        };
        assert_eq!(resolve_port(&container, &IntOrString::String("web".into())), Some(80));
        assert_eq!(resolve_port(&container, &IntOrString::Int(8080)), Some(8080));
        assert_eq!(resolve_port(&container, &IntOrString::String("none".into())), None);
        assert_eq!(resolve_port(&container, &IntOrString::Int(0)), None);
    }
}
