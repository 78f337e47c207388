//! `kubectl cp`: a tar archive through `exec`, packed and unpacked by `tar` on both sides.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::args::Flags;
use crate::error::{Error, Result};
use crate::run::inherited;

const FLAGS: &str = "container,c= no-preserve retries=";

/// One end: `[[NAMESPACE/]POD:]PATH`.
#[derive(Debug, PartialEq, Eq)]
struct End<'a> {
    namespace: &'a str,
    pod: &'a str,
    path: &'a str,
}

impl<'a> End<'a> {
    fn parse(word: &'a str) -> Result<Self> {
        // A `:` behind a `/` that begins a path is part of a local name.
        let Some((place, path)) = word.split_once(':').filter(|_| !word.starts_with(['/', '.'])) else {
            return Ok(Self { namespace: "", pod: "", path: word });
        };
        let (namespace, pod) = place.split_once('/').unwrap_or(("", place));
        if pod.is_empty() || pod.contains('/') || path.is_empty() {
            return Err(Error::plain(
                "filespec must match the canonical format: [[namespace/]pod:]file/path",
            ));
        }
        Ok(Self { namespace, pod, path })
    }
}

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("cp", FLAGS, arguments)?;
    let [from, to] = flags.words.as_slice() else {
        return Err(Error::plain("source and destination are required"));
    };
    let (from, to) = (End::parse(from)?, End::parse(to)?);
    match (from.pod.is_empty(), to.pod.is_empty()) {
        (true, false) => into_pod(&flags, &from, &to),
        (false, true) => out_of_pod(&flags, &from, &to),
        (true, true) => Err(Error::plain("one of src or dest must be a remote file specification")),
        (false, false) => Err(Error::plain("one of src or dest must be a local file specification")),
    }
}

/// This program again, as `kubectl exec` in the pod of an end.
fn exec(flags: &Flags, end: &End<'_>, stdin: bool, command: &[&str]) -> Result<Command> {
    let mut program = Command::new(std::env::current_exe()?);
    // Called as a word of keelson, or by its own name.
    if std::env::args().nth(1).is_some_and(|word| word == "kubectl") {
        program.arg("kubectl");
    }
    program.arg("exec").args(inherited(flags));
    let namespace = if end.namespace.is_empty() { flags.text("namespace") } else { end.namespace };
    if !namespace.is_empty() {
        program.arg(format!("--namespace={namespace}"));
    }
    if flags.given("container") {
        program.arg(format!("--container={}", flags.text("container")));
    }
    if stdin {
        program.arg("-i");
    }
    program.arg(end.pod).arg("--").args(command);
    Ok(program)
}

/// A path's folder and last part.
fn parts(path: &str) -> (&str, &str) {
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => (".", path),
    }
}

fn into_pod(flags: &Flags, from: &End<'_>, to: &End<'_>) -> Result<()> {
    if !Path::new(from.path).exists() {
        return Err(Error::Plain(format!("{} doesn't exist in local filesystem", from.path)));
    }
    // Into a folder that is there, else as that name.
    let probe = exec(flags, to, false, &["test", "-d", to.path])?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let (folder, name) = parts(from.path);
    let (into, rename) = if probe.success() { (to.path, name) } else { parts(to.path) };
    let mut pack = Command::new("tar");
    pack.args(["-C", folder, "-cf", "-"]);
    if rename != name {
        pack.arg(format!("--transform=s,^{},{},", regex_quoted(name), rename.replace([',', '&', '\\'], "_")));
    }
    let mut pack = pack.arg(name).stdout(Stdio::piped()).spawn()?;
    let unpack = ["tar", if flags.on("no-preserve") { "-xmof" } else { "-xmf" }, "-", "-C", into];
    let out = pack.stdout.take().ok_or_else(|| Error::plain("tar has no output"))?;
    let unpack = exec(flags, to, true, &unpack)?.stdin(Stdio::from(out)).spawn()?;
    both(pack, unpack)
}

fn out_of_pod(flags: &Flags, from: &End<'_>, to: &End<'_>) -> Result<()> {
    let (folder, name) = parts(from.path);
    let mut pack =
        exec(flags, from, false, &["tar", "-C", folder, "-cf", "-", name])?.stdout(Stdio::piped()).spawn()?;
    let target = Path::new(to.path);
    let (into, rename) = if target.is_dir() { (to.path, name) } else { parts(to.path) };
    std::fs::create_dir_all(into)?;
    let mut unpack = Command::new("tar");
    unpack.args(["-xmf", "-", "-C", into, "--no-same-owner"]);
    if rename != name {
        unpack.arg(format!(
            "--transform=s,^{},{},",
            regex_quoted(name),
            rename.replace([',', '&', '\\'], "_")
        ));
    }
    let out = pack.stdout.take().ok_or_else(|| Error::plain("exec has no output"))?;
    let unpack = unpack.stdin(Stdio::from(out)).spawn()?;
    both(pack, unpack)
}

/// A name in tar's transform expression.
fn regex_quoted(name: &str) -> String {
    name.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c != '_' && c != '-').then_some('\\').into_iter().chain([c]))
        .collect()
}

fn both(mut first: Child, mut second: Child) -> Result<()> {
    let (second, first) = (second.wait()?, first.wait()?);
    match [first, second].into_iter().find(|s| !s.success()) {
        None => Ok(()),
        Some(status) => Err(Error::Plain(format!("tar ended with {}", status.code().unwrap_or(-1)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_their_parts() {
        let end = |namespace, pod, path| End { namespace, pod, path };
        assert_eq!(End::parse("ns/pod:/a/b").unwrap(), end("ns", "pod", "/a/b"));
        assert_eq!(End::parse("pod:a").unwrap(), end("", "pod", "a"));
        assert_eq!(End::parse("/tmp/a:b").unwrap(), end("", "", "/tmp/a:b"));
        assert!(End::parse("pod:").is_err());
        assert_eq!([parts("/a/b/"), parts("/a"), parts("a")], [("/a", "b"), ("/", "a"), (".", "a")]);
        assert_eq!(regex_quoted("a.b-c"), "a\\.b-c");
    }
}
