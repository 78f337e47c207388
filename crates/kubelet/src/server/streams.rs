//! Exec, attach and port-forward: the runtime's streaming server does the work, bytes are only passed through,
//! whatever protocol they are upgraded to.

use std::time::Duration;

use cri::v1;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::query::Query;
use super::{Answer, Endpoints, text};
use crate::pod::PodExt;
use crate::runtime::read;
use crate::runtime::status::{Container, State};

/// A running container by name; the answer if there is none.
async fn find(
    endpoints: &Endpoints,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Container, Box<Answer>> {
    let not_found = |what: String| Box::new(text(StatusCode::NOT_FOUND, what));
    let pod = endpoints
        .cx
        .pods
        .by_name(namespace, name)
        .ok_or_else(|| not_found("pod does not exist\n".to_owned()))?;
    let runtime = read::pod(&endpoints.cx.runtime, pod.uid())
        .await
        .map_err(|error| Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))?;
    let found =
        runtime.containers.into_iter().find(|one| one.name == container && one.state == State::Running);
    found.ok_or_else(|| not_found(format!("container not found ({container:?})\n")))
}

fn internal(error: &cri::Error) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Runs a command with streams.
pub async fn exec(
    endpoints: &Endpoints,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let found = match find(endpoints, namespace, pod, container).await {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let tty = query.on(&["tty"]);
    let message = v1::ExecRequest {
        container_id: found.id,
        cmd: query.all("command").map(str::to_owned).collect(),
        tty,
        stdin: query.on(&["input", "stdin"]),
        stdout: query.on(&["output", "stdout"]),
        // a terminal has one stream only
        stderr: !tty && query.on(&["error", "stderr"]),
    };
    match endpoints.cx.runtime.exec(message).await {
        Ok(answer) => proxy(&answer.url, request).await,
        Err(error) => internal(&error),
    }
}

/// Attaches to a container's streams.
pub async fn attach(
    endpoints: &Endpoints,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let found = match find(endpoints, namespace, pod, container).await {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let spec = endpoints.cx.pods.by_name(namespace, pod);
    let spec = spec.as_ref().and_then(|pod| pod.container(container)).map(|(_, spec)| spec.into_owned());
    let tty = spec.and_then(|spec| spec.tty).unwrap_or(false);
    let message = v1::AttachRequest {
        container_id: found.id,
        tty,
        stdin: query.on(&["input", "stdin"]),
        stdout: query.on(&["output", "stdout"]),
        stderr: !tty && query.on(&["error", "stderr"]),
    };
    match endpoints.cx.runtime.attach(message).await {
        Ok(answer) => proxy(&answer.url, request).await,
        Err(error) => internal(&error),
    }
}

/// Forwards ports of a pod.
pub async fn port_forward(
    endpoints: &Endpoints,
    namespace: &str,
    name: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let Some(pod) = endpoints.cx.pods.by_name(namespace, name) else {
        return text(StatusCode::NOT_FOUND, "pod does not exist\n");
    };
    let runtime = match read::pod(&endpoints.cx.runtime, pod.uid()).await {
        Ok(runtime) => runtime,
        Err(error) => return internal(&error),
    };
    let Some(sandbox) = runtime.ready_sandbox() else {
        return text(StatusCode::NOT_FOUND, format!("pod not found ({:?})\n", pod.shown()));
    };
    let ports = query.all("port").chain(query.all("ports")).flat_map(|list| list.split(','));
    let message = v1::PortForwardRequest {
        pod_sandbox_id: sandbox.id.clone(),
        port: ports.filter_map(|port| port.parse().ok()).collect(),
    };
    match endpoints.cx.runtime.port_forward(message).await {
        Ok(answer) => proxy(&answer.url, request).await,
        Err(error) => internal(&error),
    }
}

/// Runs a command and gives its output as a whole.
pub async fn run(
    endpoints: &Endpoints,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Answer {
    let found = match find(endpoints, namespace, pod, container).await {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let command = query.get("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
    match endpoints.cx.runtime.exec_sync(&found.id, command, Duration::from_secs(60)).await {
        Ok(answer) => {
            let output = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
            let status =
                if answer.exit_code == 0 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            text(status, output)
        }
        Err(error) => internal(&error),
    }
}

/// Sends the request on to `url` and, once both sides have upgraded, passes bytes both ways.
async fn proxy(url: &str, request: Request<Incoming>) -> Answer {
    match forward(url, request).await {
        Ok(answer) => answer,
        Err(error) => text(
            StatusCode::BAD_GATEWAY,
            format!("error trying to reach the runtime's streaming server: {error}"),
        ),
    }
}

async fn forward(
    url: &str,
    mut request: Request<Incoming>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("the runtime gave no address")?.clone();
    let stream = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut onward =
        Request::builder().method(request.method()).uri(path).body(Empty::<bytes::Bytes>::new())?;
    for (name, value) in request.headers() {
        if name != http::header::AUTHORIZATION
            && name != http::header::HOST
            && name != http::header::CONTENT_LENGTH
        {
            onward.headers_mut().append(name, value.clone());
        }
    }
    onward.headers_mut().insert(http::header::HOST, authority.as_str().parse()?);
    let mut answer = sender.send_request(onward).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()));
    }
    let runtime_side = hyper::upgrade::on(&mut answer);
    let client_side = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (Ok(runtime), Ok(client)) = tokio::join!(runtime_side, client_side) else { return };
        let (mut runtime, mut client) = (TokioIo::new(runtime), TokioIo::new(client));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut runtime).await;
    });
    let (parts, _) = answer.into_parts();
    let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Ok(Answer::from_parts(parts, empty))
}
