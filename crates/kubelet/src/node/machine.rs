//! What the machine is: processors, memory, disk, system. Read once at start.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// Facts of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Number of processors.
    pub cpus: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of swap.
    pub swap: i64,
    /// Bytes of the file system that holds the kubelet's folder.
    pub disk: i64,
    /// Sizes of huge pages in bytes, with the number of each.
    pub huge_pages: Vec<(i64, i64)>,
    /// `/etc/machine-id`
    pub machine_id: String,
    /// The board's UUID.
    pub system_uuid: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the distribution.
    pub os_image: String,
    /// Whether this process is in a user namespace of its own.
    pub user_namespace: bool,
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// Bytes of a `Name:  123 kB` line.
fn meminfo(content: &str, name: &str) -> i64 {
    let line = content.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<i64>().ok());
    number.unwrap_or(0) * 1024
}

/// Size and free bytes, and the same of inodes, of the file system at `path`.
#[must_use]
pub fn file_system(path: &Path) -> Option<(u64, u64, u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let block = stat.fragment_size();
    Some((stat.blocks() * block, stat.blocks_available() * block, stat.files(), stat.files_available()))
}

/// When the machine was booted.
#[must_use]
pub fn started() -> jiff::Timestamp {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let second = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    jiff::Timestamp::from_second(second.unwrap_or(0)).unwrap_or_default()
}

/// Number of processes and threads, and how many there may be.
#[must_use]
pub fn processes() -> Option<(u64, u64)> {
    let running = text("/proc/loadavg").split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    let most = |file: &str| text(file).parse::<u64>().ok();
    let limits = [most("/proc/sys/kernel/pid_max"), most("/proc/sys/kernel/threads-max")];
    Some((running, limits.into_iter().flatten().min()?))
}

fn huge_pages() -> Vec<(i64, i64)> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut sizes: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kilobytes: i64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((kilobytes * 1024, count))
        })
        .collect();
    sizes.sort_unstable();
    sizes
}

/// The processors that this process may use.
fn cpus() -> i64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let count = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    i64::try_from(count.max(1)).unwrap_or(1)
}

/// In the first user namespace every number is mapped to itself.
fn in_user_namespace(map: &str) -> bool {
    let first = map.split_whitespace().eq(["0", "0", "4294967295"]);
    !first && !map.is_empty()
}

impl Machine {
    /// Reads the machine; `root` is the kubelet's folder.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = text("/etc/os-release");
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: cpus(),
            memory: meminfo(&memory, "MemTotal"),
            swap: meminfo(&memory, "SwapTotal"),
            disk: file_system(root).map_or(0, |(size, ..)| i64::try_from(size).unwrap_or(i64::MAX)),
            huge_pages: huge_pages(),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            user_namespace: in_user_namespace(&text("/proc/self/uid_map")),
            os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        }
    }
}

/// The address of the interface with the default route.
#[must_use]
pub fn default_address() -> IpAddr {
    // connecting a datagram socket sends nothing; it only chooses the way
    let address = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    address.map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_namespace_maps_all_to_itself() {
        assert!(!in_user_namespace("         0          0 4294967295"));
        assert!(in_user_namespace("0 100000 65536"));
    }
}
