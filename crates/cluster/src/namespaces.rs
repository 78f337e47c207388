//! A node's namespaces: network, mounts, processes, host name and IPC of its own. Its first process is the pause
//! program: it holds them, reaps what containerd leaves behind, and whoever ends it ends all that runs in the node.
//!
//! The three `node-*` subcommands of the binary are the steps that need a process of their own: entering a process
//! namespace takes effect for children only, and mounts are made by the one who lives in them.

use std::fs;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::process::{Process, detach, own_program};
use crate::{During, Error};

const ALL: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// Makes the namespaces of a node; `pause` is the program that holds them.
pub fn make(node: &str, pause: &Path, log: &Path) -> Result<Process, Error> {
    let errors = fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .during(format!("opening {}", log.display()))?;
    let out = Command::new(own_program()?)
        .args(["node-unshare", node])
        .arg(pause)
        .stdin(Stdio::null())
        .stderr(errors)
        .current_dir("/")
        .output()
        .during(format!("making {node}'s namespaces"))?;
    let printed = String::from_utf8_lossy(&out.stdout);
    let pid = printed
        .trim()
        .parse()
        .map_err(|_| Error::Failed(format!("{node}'s namespaces; see {}", log.display())))?;
    Process::of(pid).ok_or_else(|| Error::Failed(format!("{node} ended at once; see {}", log.display())))
}

/// `node-unshare NODE PAUSE`: leaves new namespaces behind, held by a child whose pid it prints.
pub fn unshare_command(node: &str, pause: &str) -> Result<(), Error> {
    unshare(ALL).during("unsharing namespaces")?;
    let mut command = Command::new(own_program()?);
    command.args(["node-init", node, pause]).stdin(Stdio::null()).stdout(Stdio::piped());
    detach(&mut command);
    let mut child = command.spawn().during("starting the node's first process")?;
    // It closes its output when it becomes the pause program, with nothing said, or says what failed.
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut said).during("waiting for the node's first process")?;
    }
    if !said.is_empty() {
        return Err(Error::Failed(said));
    }
    print_pid(child.id())
}

/// `node-init NODE PAUSE`: the node's first process; sets up what its namespaces need and becomes the pause program.
pub fn init_command(node: &str, pause: &str) -> Result<(), Error> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).during("making mounts private")?;
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        none,
    )
    .during("mounting /proc")?;
    // Volumes with mount propagation need it, as the kubelet's documentation asks of a host.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).during("making mounts shared")?;
    nix::unistd::sethostname(node).during("setting the host name")?;
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv6/conf/all/forwarding", "1"),
    ] {
        let path = format!("/proc/sys/net/{name}");
        // Without IPv6 its settings are absent.
        if Path::new(&path).exists() {
            fs::write(&path, value).during(format!("setting {path}"))?;
        }
    }
    let mut command = Command::new(pause);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Err(command.exec()).during(format!("becoming {pause}"))
}

/// `node-enter PID PROGRAM ARGUMENTS`: starts a program in that process's namespaces, with output to the file in
/// KEELSON_LOG, and prints its pid.
pub fn enter_command(pid: i32, program: &str, arguments: &[String]) -> Result<(), Error> {
    enter(pid)?;
    let log = std::env::var_os("KEELSON_LOG").unwrap_or_else(|| "/dev/null".into());
    let output = fs::File::options().create(true).append(true).open(&log).during("opening the log")?;
    let errors = output.try_clone().during("opening the log twice")?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove("KEELSON_LOG").stdin(Stdio::null()).stdout(output).stderr(errors);
    detach(&mut command);
    let child = command.spawn().during(format!("starting {program}"))?;
    print_pid(child.id())
}

/// Runs a program in a node's namespaces with this terminal; its exit code.
pub fn run_inside(node: &Process, program: &str, arguments: &[String]) -> Result<i32, Error> {
    enter(node.pid)?;
    let status = Command::new(program).args(arguments).status().during(format!("running {program}"))?;
    Ok(status.code().unwrap_or(1))
}

/// Moves this thread, and the children of this process, into the namespaces of a process. Needs a process with
/// one thread.
fn enter(pid: i32) -> Result<(), Error> {
    // SAFETY: the call takes plain numbers, and the descriptor it returns is owned by nobody else.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error()).during(format!("opening process {pid}"));
    }
    // SAFETY: as above.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    setns(&fd, ALL).during(format!("entering the namespaces of {pid}"))
}

fn print_pid(pid: u32) -> Result<(), Error> {
    let mut out = std::io::stdout();
    writeln!(out, "{pid}").and_then(|()| out.flush()).during("printing a pid")
}
