//! Names outside the cluster: asked of the servers in a resolv.conf, in their order, over UDP and, for an answer that
//! was cut, TCP. The file is read again when it has changed, which is looked at before each question.

use std::fs::{self, Metadata};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// What one server gets to answer in.
const PATIENCE: Duration = Duration::from_secs(2);

/// The servers that are asked.
#[derive(Debug, Default)]
pub struct Forwarder {
    file: Option<File>,
    known: Mutex<Known>,
}

/// Where the servers stand.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Never asked: our own addresses.
    not: Vec<IpAddr>,
}

#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    servers: Arc<[SocketAddr]>,
}

/// What changes with a file's content: its number, size and time of change.
type Stamp = (u64, u64, i64, i64);

fn stamp(file: &Metadata) -> Stamp {
    (file.ino(), file.size(), file.ctime(), file.ctime_nsec())
}

impl Forwarder {
    /// The `nameserver` lines of a file, less `not`. Without a file nobody is asked.
    pub fn from_file(path: Option<PathBuf>, not: &[IpAddr]) -> Self {
        let file = path.map(|path| File { path, not: not.to_vec() });
        Self { file, known: Mutex::default() }
    }

    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { file: None, known: Mutex::new(Known { stamp: None, servers: servers.into() }) }
    }

    pub fn is_empty(&self) -> bool {
        self.servers().is_empty()
    }

    /// The servers as the file has them now; as it had them, if it is gone or cannot be read.
    fn servers(&self) -> Arc<[SocketAddr]> {
        let mut known = self.known.lock();
        if let Some(file) = &self.file
            && let Ok(found) = fs::metadata(&file.path)
            && known.stamp != Some(stamp(&found))
            && let Ok(text) = fs::read_to_string(&file.path)
        {
            let servers = servers(&text, &file.not);
            if known.stamp.is_some() {
                tracing::info!(file = %file.path.display(), ?servers, "names outside the cluster are asked of others");
            }
            *known = Known { stamp: Some(stamp(&found)), servers: servers.into() };
        }
        known.servers.clone()
    }

    /// The first answer to a query; None when every server is silent. `whole`: over TCP at once.
    pub async fn ask(&self, query: &[u8], whole: bool) -> Option<Vec<u8>> {
        for server in &*self.servers() {
            let found = if whole { by_tcp(*server, query).await } else { by_udp(*server, query).await };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

fn servers(text: &str, not: &[IpAddr]) -> Vec<SocketAddr> {
    let addresses =
        text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    // A loopback address is the host's, which a node's network does not reach; `cluster::network::resolver` sees to
    // it that a node's file names another.
    addresses.filter(|a| !a.is_loopback() && !not.contains(a)).map(|a| SocketAddr::new(a, 53)).collect()
}

async fn by_udp(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(query).await.ok()?;
    let answered = async {
        let mut buffer = vec![0u8; 4096];
        loop {
            let length = socket.recv(&mut buffer).await.ok()?;
            // An answer to another question is somebody else's or a forgery.
            if length >= 12 && buffer[..2] == query[..2] {
                buffer.truncate(length);
                return Some(buffer);
            }
        }
    };
    timeout(PATIENCE, answered).await.ok().flatten()
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        stream.write_u16(u16::try_from(query.len()).ok()?).await.ok()?;
        stream.write_all(query).await.ok()?;
        let length = stream.read_u16().await.ok()?;
        let mut buffer = vec![0u8; usize::from(length)];
        stream.read_exact(&mut buffer).await.ok()?;
        Some(buffer)
    };
    timeout(PATIENCE, exchange).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_and_loopback_servers_are_not_asked() {
        let text =
            "search a\nnameserver 127.0.0.53\nnameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver bad\n";
        let found = servers(text, &["10.96.0.10".parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))]);
        assert_eq!(found, [SocketAddr::from(([192, 0, 2, 1], 53))]);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let forwarder = Forwarder::from_file(Some(path.clone()), &[]);
        let asked = || forwarder.servers().iter().map(|s| s.ip().to_string()).collect::<Vec<_>>();
        assert_eq!(asked(), [""; 0]);
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(asked(), ["192.0.2.1"]);
        // as tools do it that write such files
        let fresh = dir.path().join("fresh");
        fs::write(&fresh, "nameserver 192.0.2.2\n").unwrap();
        fs::rename(&fresh, &path).unwrap();
        assert_eq!(asked(), ["192.0.2.2"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(asked(), ["192.0.2.2"], "what is gone for a moment is not forgotten");
    }
}
