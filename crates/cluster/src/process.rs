//! Processes that outlive the command that started them: started in a session of their own, known by pid and
//! start time, so that a pid which the kernel gave to somebody else is never touched.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::{During, Error};

/// One of our processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks after boot, field 22 of `/proc/PID/stat`.
    pub start: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        let (_, start) = stat(pid)?;
        Some(Self { pid, start })
    }

    /// Zombies count as ended: their parent may be slow.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && state != 'Z')
    }

    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the check and the call, which is what was wanted.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Asks with SIGTERM, then insists with SIGKILL after `grace`.
    pub async fn stop(&self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        if !self.wait(grace).await {
            self.signal(Signal::SIGKILL);
            self.wait(Duration::from_secs(10)).await;
        }
    }

    /// True when it ended within `limit`. Waits on a pidfd, not on a timer.
    pub async fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let Ok(fd) = pidfd(self.pid) else { return !self.is_alive() };
        if !self.is_alive() {
            return true;
        }
        // SAFETY: the descriptor is owned by the value and stays open as long as it is registered.
        let Ok(fd) = (unsafe { tokio::io::unix::AsyncFd::register(fd) }) else { return false };
        let left = end.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, fd.readable()).await.is_ok() || !self.is_alive()
    }
}

fn pidfd(pid: i32) -> Result<std::os::fd::OwnedFd, std::io::Error> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: the call takes plain numbers, and the descriptor it returns is owned by nobody else.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// State letter and start time.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

/// Memory in bytes (proportional share) and CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub pss: u64,
    pub cpu: f64,
}

/// What this process and its children (containerd's shims apart) use.
pub fn usage(pid: i32) -> Usage {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let pss = rollup
        .lines()
        .find_map(|l| l.strip_prefix("Pss:"))
        .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks: u64 = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum())
        .unwrap_or_default();
    Usage { pss: pss.unwrap_or_default() * 1024, cpu: ticks as f64 / 100.0 }
}

/// Starts a program in a session of its own with its output in `log`, past the end of this command.
/// `node` enters that process's namespaces first.
pub fn spawn(
    program: &Path,
    arguments: &[String],
    log: &Path,
    node: Option<&Process>,
) -> Result<Process, Error> {
    let name = program.display().to_string();
    let mut command = match node {
        None => Command::new(program),
        Some(node) => {
            let own = own_program()?;
            let mut command = Command::new(own);
            command.arg("node-enter").arg(node.pid.to_string()).arg(program);
            command
        }
    };
    let output =
        File::options().create(true).append(true).open(log).during(format!("opening {}", log.display()))?;
    let errors = output.try_clone().during("opening a log twice")?;
    command.args(arguments).stdin(Stdio::null()).current_dir("/");
    let pid = if node.is_some() {
        // The helper prints the pid of the process that it leaves behind.
        command.env("KEELSON_LOG", log).stderr(errors).stdout(Stdio::piped());
        let out = command.output().during(format!("starting {name}"))?;
        let printed = String::from_utf8_lossy(&out.stdout);
        printed
            .trim()
            .parse()
            .map_err(|_| Error::Failed(format!("{name} did not start; see {}", log.display())))?
    } else {
        command.stdout(output).stderr(errors);
        detach(&mut command);
        command.spawn().during(format!("starting {name}"))?.id() as i32
    };
    Process::of(pid).ok_or_else(|| Error::Failed(format!("{name} ended at once; see {}", log.display())))
}

/// Makes the child the leader of a session of its own, so that no terminal's signal reaches it.
pub fn detach(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
}

/// This binary, also when the file was replaced since.
pub fn own_program() -> Result<PathBuf, Error> {
    let path = std::env::current_exe().during("finding this program")?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or(path.clone(), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_its_start_and_waited_for() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let process = Process::of(child.id() as i32).unwrap();
        assert!(process.is_alive());
        let other = Process { start: process.start + 1, ..process.clone() };
        assert!(!other.is_alive(), "the same pid with another start is somebody else");
        process.signal(Signal::SIGKILL);
        assert!(process.wait(Duration::from_secs(10)).await);
        child.wait().unwrap();
        assert!(!process.is_alive());
    }

    #[test]
    fn usage_of_this_process_is_not_nothing() {
        assert!(usage(std::process::id() as i32).pss > 100_000);
    }
}
