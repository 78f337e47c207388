//! How a daemon tells `up` that it is ready: one datagram with its name to the cluster's socket, so that nobody
//! asks again and again.

use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::process::Process;
use crate::{During, Error};

/// How long a daemon may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The receiving end; removed with this value.
pub struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
    ready: Mutex<Vec<String>>,
    /// Who says so in the words of sd_notify(3), which has no names.
    service: String,
}

impl Notifications {
    pub fn bind(path: &Path) -> Result<Self, Error> {
        let _ = std::fs::remove_file(path);
        let socket = UnixDatagram::bind(path).during(format!("binding {}", path.display()))?;
        Ok(Self { socket, path: path.into(), ready: Mutex::default(), service: String::new() })
    }

    /// For one service that knows sd_notify(3).
    pub fn of_service(path: &Path, name: String) -> Result<Self, Error> {
        let mut notifications = Self::bind(path)?;
        notifications.service = name;
        Ok(notifications)
    }

    fn said(&self, text: &str) {
        let ready = text.lines().any(|l| l == "READY=1");
        self.already(if ready { &self.service } else { text });
    }

    /// Notes one that was ready before.
    pub fn already(&self, name: &str) {
        if let Ok(mut ready) = self.ready.lock() {
            ready.push(name.into());
        }
    }

    fn missing(&self, names: &[String]) -> Vec<String> {
        let ready = self.ready.lock().map(|r| r.clone()).unwrap_or_default();
        names.iter().filter(|n| !ready.contains(n)).cloned().collect()
    }

    /// Waits until all of `names` have said so; fails as soon as one of `processes` ends.
    pub async fn wait(&self, names: &[String], processes: &[Process], logs: &Path) -> Result<(), Error> {
        let said = async {
            let mut buffer = [0u8; 256];
            while !self.missing(names).is_empty() {
                let length = self.socket.recv(&mut buffer).await.during("waiting for readiness")?;
                self.said(&String::from_utf8_lossy(&buffer[..length]));
            }
            Ok(())
        };
        let ended = async {
            if processes.is_empty() {
                return std::future::pending().await;
            }
            let waits = processes.iter().map(|p| Box::pin(p.wait(Duration::from_secs(86_400))));
            futures::future::select_all(waits).await;
        };
        tokio::select! {
            result = said => result,
            () = ended => Err(Error::Failed(format!("{} ended; see {}", self.missing(names).join(", "), logs.display()))),
            () = tokio::time::sleep(LIMIT) => {
                let missing = self.missing(names).join(", ");
                Err(Error::Failed(format!("waited {} s in vain for {missing}; see {}", LIMIT.as_secs(), logs.display())))
            }
        }
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Called by the daemon. Nobody listening is fine: then nobody waits.
pub fn ready(path: &Path, name: &str) {
    if let Ok(socket) = StdDatagram::unbound() {
        let _ = socket.send_to(name.as_bytes(), path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_name_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let notifications = Notifications::bind(&path).unwrap();
        ready(&path, "a");
        notifications.already("b");
        notifications.wait(&["a".into(), "b".into()], &[], dir.path()).await.unwrap();
        drop(notifications);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_service_says_it_in_systemds_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        let notifications = Notifications::of_service(&path, "containerd".into()).unwrap();
        ready(&path, "STATUS=starting");
        ready(&path, "MAINPID=1\nREADY=1\n");
        notifications.wait(&["containerd".into()], &[], dir.path()).await.unwrap();
    }
}
