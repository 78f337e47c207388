//! `kubectl exec` and `attach`, over WebSockets with v5 of the remote command protocol (v4 of older servers, which
//! cannot end stdin).

use std::io::IsTerminal as _;

use api::Value;
use futures::StreamExt as _;
use streaming::remote_command::channel;
use streaming::websocket::{self, CLOSE, Coding, Sender};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::args::Flags;
use crate::error::{Error, Refusal, Result};
use crate::server::Ask;
use crate::{Context, pods, terminal, upgrade};

const FLAGS: &str = "stdin,i tty,t container,c= quiet,q filename,f= pod-running-timeout= detach-keys=";

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Exec,
    Attach,
}

pub async fn run(arguments: &[String], kind: Kind) -> Result<()> {
    let name = if kind == Kind::Exec { "exec" } else { "attach" };
    let flags = Flags::parse(name, FLAGS, arguments)?;
    for name in ["filename", "detach-keys"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("exec --{name}")));
        }
    }
    let (word, command) = words(&flags, kind)?;
    let context = Context::new(&flags).await?;
    let pod = pods::of_word(&context.server, &context.mapper, word, false).await?;
    let name = pod.str_at(&["metadata", "name"]);
    if matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed") {
        let phase = pod.str_at(&["status", "phase"]);
        let what = if kind == Kind::Exec { "exec into" } else { "attach" };
        return Err(Error::Plain(format!(
            "cannot {what} a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = match flags.text("container") {
        "" => pods::default_container(&pod)?,
        named => {
            pods::check_container(&pod, named)?;
            named.to_owned()
        }
    };
    let tty = wants_terminal(&flags);
    let target = target(&pod, name, kind, &container, command, flags.on("stdin"), tty);
    let config = &context.server.settings.config;
    let key = generate_key();
    let protocols = format!("{V5}, {V4}");
    let headers = [
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", key.as_str()),
        ("sec-websocket-protocol", protocols.as_str()),
    ];
    let (head, io) = upgrade::switch(config, &target, &headers).await?;
    let v5 = head.headers().get("sec-websocket-protocol").is_some_and(|p| p == V5);
    let (sender, receiver) = websocket::channels(websocket::client(io).await, Coding::Binary, true);
    session(sender, receiver, flags.on("stdin"), tty, v5).await
}

fn words(flags: &Flags, kind: Kind) -> Result<(&str, &[String])> {
    let words = flags.words.as_slice();
    if kind == Kind::Attach {
        return match words {
            [word] => Ok((word, &[])),
            _ => Err(Error::plain("POD, TYPE/NAME, or --filename must be specified")),
        };
    }
    match (words, flags.dash) {
        ([] | [_], None) => Err(Error::plain("you must specify at least one command for the container")),
        (_, None) => Err(Error::plain(
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples",
        )),
        ([word, command @ ..], Some(1)) if !command.is_empty() => Ok((word, command)),
        (_, Some(0)) => Err(Error::plain("pod, type/name or --filename must be specified")),
        (_, Some(1)) => Err(Error::plain("you must specify at least one command for the container")),
        _ => Err(Error::plain(
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples",
        )),
    }
}

fn wants_terminal(flags: &Flags) -> bool {
    if !flags.on("tty") {
        return false;
    }
    if !flags.on("stdin") || std::io::stdin().is_terminal() {
        return true;
    }
    if !flags.on("quiet") {
        eprintln!("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    false
}

fn target(
    pod: &Value,
    name: &str,
    kind: Kind,
    container: &str,
    command: &[String],
    stdin: bool,
    tty: bool,
) -> String {
    let sub = if kind == Kind::Exec { "exec" } else { "attach" };
    let mut ask =
        Ask::get(format!("/api/v1/namespaces/{}/pods/{name}/{sub}", pod.str_at(&["metadata", "namespace"])));
    for word in command {
        ask = ask.with_empty("command", word);
    }
    let on = |on: bool| if on { "true" } else { "" };
    ask.with("container", container)
        .with("stdin", on(stdin))
        .with("stdout", "true")
        .with("stderr", on(!tty))
        .with("tty", on(tty))
        .target()
}

async fn session(
    sender: Sender,
    mut receiver: websocket::Receiver,
    stdin: bool,
    tty: bool,
    v5: bool,
) -> Result<()> {
    let raw = if tty { terminal::Raw::enter() } else { None };
    if tty {
        // The command may ask for the size at once, so that it goes first.
        send_size(&sender).await;
        tokio::spawn(sizes(sender.clone()));
    }
    if stdin {
        tokio::spawn(feed(sender.clone(), v5));
    }
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    let mut status = None;
    while let Some((number, data)) = receiver.next().await {
        match number {
            channel::STDOUT => {
                let _ = out.write_all(&data).await;
                let _ = out.flush().await;
            }
            channel::STDERR => {
                let _ = err.write_all(&data).await;
                let _ = err.flush().await;
            }
            channel::ERROR => {
                status = Some(data);
                break;
            }
            _ => {}
        }
    }
    let _ = out.flush().await;
    let _ = err.flush().await;
    drop(raw);
    sender.close().await;
    match status {
        Some(status) => outcome(&status),
        None => Err(Error::plain("the connection ended before the command did")),
    }
}

/// stdin until its end, which v5 can tell the other side.
async fn feed(sender: Sender, v5: bool) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 32 << 10];
    while let Ok(n @ 1..) = stdin.read(&mut buffer).await {
        if sender.send(channel::STDIN, &buffer[..n]).await.is_err() {
            return;
        }
    }
    if v5 {
        let _ = sender.send(CLOSE, &[channel::STDIN]).await;
    }
}

/// False once the connection has ended.
async fn send_size(sender: &Sender) -> bool {
    let Some((width, height)) = terminal::size() else { return true };
    let text = format!("{{\"Width\":{width},\"Height\":{height}}}");
    sender.send(channel::RESIZE, text.as_bytes()).await.is_ok()
}

/// The terminal's size at every change.
async fn sizes(sender: Sender) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    while changed.recv().await.is_some() && send_size(&sender).await {}
}

/// What the error channel says: a Status; its cause `ExitCode` is the command's exit code.
fn outcome(status: &[u8]) -> Result<()> {
    let wrong = || {
        Error::Plain(format!(
            "error stream protocol error: unknown error: {}",
            String::from_utf8_lossy(status)
        ))
    };
    let status = api::json::parse(status).map_err(|_| wrong())?;
    if status.str_at(&["status"]) == "Success" {
        return Ok(());
    }
    let causes = status.list_at(&["details", "causes"]);
    let code = causes.iter().find(|c| c.str_at(&["reason"]) == "ExitCode").map(|c| c.str_at(&["message"]));
    if status.str_at(&["reason"]) == "NonZeroExitCode"
        && let Some(code) = code.and_then(|c| c.parse().ok())
    {
        return Err(Error::Exit(code));
    }
    match Refusal::of(&status) {
        Some(refusal) if refusal.reason != "InternalError" => Err(Error::Server(Box::new(refusal))),
        _ => Err(Error::Bare(format!("error: {}", status.str_at(&["message"])))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::value;

    #[test]
    fn outcomes() {
        let of = |status: Value| outcome(&api::json::to_vec(&status));
        assert!(of(value!({"status": "Success"})).is_ok());
        let failed = value!({"kind": "Status", "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        assert_eq!(of(failed).unwrap_err().exit_code(), 7);
        let failed =
            value!({"kind": "Status", "status": "Failure", "reason": "InternalError", "message": "boom"});
        assert_eq!(of(failed).unwrap_err().lines(), ["error: boom"]);
        assert!(outcome(b"no json").is_err());
    }

    #[test]
    fn the_request_names_streams_and_words() {
        let pod = value!({"metadata": {"namespace": "ns"}});
        let words = ["sh".to_owned(), "-c".to_owned(), "echo 'a b'".to_owned(), String::new()];
        let got = target(&pod, "p", Kind::Exec, "c", &words, true, true);
        assert_eq!(
            got,
            "/api/v1/namespaces/ns/pods/p/exec?command=sh&command=-c&command=echo%20%27a%20b%27&command=&container=c&stdin=true&stdout=true&tty=true"
        );
    }
}
