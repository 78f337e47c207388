//! `kubectl port-forward`: local ports to a pod's, over SPDY. Deliberately absent: Services' port names.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use api::Value;
use http::{HeaderMap, HeaderValue};
use streaming::spdy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::server::Ask;
use crate::{Context, output, pods, upgrade};

const FLAGS: &str = "address= pod-running-timeout=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("port-forward", FLAGS, arguments)?;
    let [word, ports @ ..] = flags.words.as_slice() else {
        return Err(Error::plain(
            "TYPE/NAME and list of ports are required for port-forward\nSee 'kubectl port-forward -h' for help and examples",
        ));
    };
    if ports.is_empty() {
        return Err(Error::plain(
            "TYPE/NAME and list of ports are required for port-forward\nSee 'kubectl port-forward -h' for help and examples",
        ));
    }
    let context = Context::new(&flags).await?;
    let pairs = pairs(&context, word, ports).await?;
    let pod = pods::of_word(&context.server, &context.mapper, word, false).await?;
    if pod.str_at(&["status", "phase"]) != "Running" {
        return Err(Error::Plain(format!(
            "unable to forward port because pod is not running. Current status={}",
            pod.str_at(&["status", "phase"])
        )));
    }
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/portforward",
        pod.str_at(&["metadata", "namespace"]),
        pod.str_at(&["metadata", "name"])
    );
    let headers =
        [("upgrade", spdy::NAME), (streaming::upgrade::STREAM_PROTOCOL, streaming::port_forward::PROTOCOL)];
    let (_, io) =
        upgrade::switch(&context.server.settings.config, &Ask::get(path).target(), &headers).await?;
    let (connection, _incoming) = spdy::Connection::client(io);
    serve(&flags, &pairs, connection).await
}

/// Local and remote ports. A Service's port is the pod's target port.
async fn pairs(context: &Context, word: &str, ports: &[String]) -> Result<Vec<(u16, u16)>> {
    let mut pairs = ports.iter().map(|p| pair(p)).collect::<Result<Vec<_>>>()?;
    let words = [word.to_owned()];
    let is_service = word.contains('/')
        && crate::targets::of_words(&context.mapper, &words, &context.server.settings.namespace, false)?
            .first()
            .is_some_and(|t| t.resource.kind == "Service");
    if is_service {
        let target =
            crate::targets::of_words(&context.mapper, &words, &context.server.settings.namespace, false)?
                .remove(0);
        let service = context.server.value(&Ask::get(target.path())).await?;
        for (_, remote) in &mut pairs {
            *remote = target_port(&service, *remote)?;
        }
    }
    Ok(pairs)
}

fn target_port(service: &Value, port: u16) -> Result<u16> {
    let found = service.list_at(&["spec", "ports"]).iter().find(|p| p.int_at(&["port"]) == Some(port.into()));
    let found = found.ok_or_else(|| {
        Error::Plain(format!(
            "Service {} does not have a service port {port}",
            service.str_at(&["metadata", "name"])
        ))
    })?;
    match found.get("targetPort") {
        Some(Value::Int(n)) => u16::try_from(*n).map_err(|e| Error::Plain(e.to_string())),
        Some(Value::String(name)) => {
            Err(Error::not_built(format!("port-forward to a Service's named target port ({name})")))
        }
        _ => Ok(port),
    }
}

fn pair(text: &str) -> Result<(u16, u16)> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let local = if local.is_empty() { "0" } else { local };
    match (local.parse(), remote.parse()) {
        (Ok(local), Ok(remote)) if remote > 0 => Ok((local, remote)),
        _ => Err(Error::Plain(format!("invalid port format '{text}'"))),
    }
}

async fn serve(flags: &Flags, pairs: &[(u16, u16)], connection: spdy::Connection) -> Result<()> {
    let addresses = addresses(flags);
    let next = Rc::new(AtomicU32::new(0));
    let tasks = tokio::task::LocalSet::new();
    for (local, remote) in pairs {
        let mut first = 0;
        for address in &addresses {
            // The second port of localhost is the one that the first got.
            let port = if *local == 0 { first } else { *local };
            let listener = match TcpListener::bind((address.as_str(), port)).await {
                Ok(listener) => listener,
                // A machine without IPv6 has half a localhost.
                Err(_) if address == "::1" => continue,
                Err(error) => return Err(Error::Plain(format!("unable to listen on port {port}: {error}"))),
            };
            first = listener.local_addr()?.port();
            output::say(format!("Forwarding from {} -> {remote}", listener.local_addr()?));
            tasks.spawn_local(accept(listener, *remote, connection.clone(), next.clone()));
        }
    }
    tasks.run_until(connection.closed()).await;
    Err(Error::plain("lost connection to pod"))
}

/// Where to listen; localhost is both of its addresses.
fn addresses(flags: &Flags) -> Vec<String> {
    let mut given = flags.list("address");
    if given.is_empty() {
        given.push("localhost".into());
    }
    let split = |address: String| match address.as_str() {
        "localhost" => vec!["127.0.0.1".to_owned(), "::1".to_owned()],
        _ => vec![address],
    };
    given.into_iter().flat_map(split).collect()
}

async fn accept(listener: TcpListener, port: u16, connection: spdy::Connection, next: Rc<AtomicU32>) {
    while let Ok((client, _)) = listener.accept().await {
        eprintln!("Handling connection for {}", listener.local_addr().map_or(0, |a| a.port()));
        let id = next.fetch_add(1, Ordering::Relaxed);
        let connection = connection.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = forward(client, port, id, &connection).await {
                eprintln!("error: an error occurred forwarding to port {port}: {error}");
            }
        });
    }
}

async fn forward(mut client: TcpStream, port: u16, id: u32, connection: &spdy::Connection) -> Result<()> {
    let mut errors = connection.open(headers("error", port, id)).await?;
    errors.shutdown().await?;
    let mut data = connection.open(headers("data", port, id)).await?;
    let copied = tokio::io::copy_bidirectional(&mut client, &mut data).await;
    let mut said = String::new();
    errors.read_to_string(&mut said).await?;
    if said.is_empty() {
        copied?;
        return Ok(());
    }
    Err(Error::Plain(said))
}

fn headers(kind: &'static str, port: u16, id: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("streamtype", HeaderValue::from_static(kind));
    headers.insert("port", port.into());
    headers.insert("requestid", id.into());
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn ports() {
        assert_eq!(pair("8080:80").unwrap(), (8080, 80));
        assert_eq!(pair(":80").unwrap(), (0, 80));
        assert_eq!(pair("80").unwrap(), (80, 80));
        assert!(pair("x").is_err() && pair("1:0").is_err());
        let service = value!({"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81}]}});
        assert_eq!((target_port(&service, 80).unwrap(), target_port(&service, 81).unwrap()), (8080, 81));
        assert!(target_port(&service, 82).is_err());
    }
}
