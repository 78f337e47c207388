//! Addresses of a node's range, one file an address, named by it and holding who has it: what the runtime started
//! twice at once must agree on. A lock on the folder keeps two plugins apart. The next address is tried first, so
//! that one that was given back rests for as long as the range allows.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};

use crate::{During, Error};

/// A locked range; the lock goes with it.
pub struct Range {
    folder: PathBuf,
    subnet: Ipv4Net,
    _lock: Flock<File>,
}

const LAST: &str = "last";

impl Range {
    /// Waits for its turn.
    pub fn open(folder: &Path, subnet: Ipv4Net) -> Result<Self, Error> {
        if subnet.prefix_len() > 30 {
            return Err(Error::Failed(format!("the pod range {subnet} has no room for a pod")));
        }
        fs::create_dir_all(folder).during(format!("making {}", folder.display()))?;
        let file = File::create(folder.join("lock")).during("opening the lock")?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e).during("waiting for the lock")?;
        Ok(Self { folder: folder.into(), subnet, _lock: lock })
    }

    /// The node's own address towards its pods: the first of the range.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.network()) + 1)
    }

    fn file(&self, address: Ipv4Addr) -> PathBuf {
        self.folder.join(address.to_string())
    }

    /// The address that a holder has already, or the next free one.
    pub fn take(&self, holder: &str) -> Result<Ipv4Addr, Error> {
        if let Some(held) = self.held_by(holder)? {
            return Ok(held);
        }
        let first = u32::from(self.gateway()) + 1;
        let count = u32::from(self.subnet.broadcast()) - first;
        let last: Option<Ipv4Addr> =
            fs::read_to_string(self.folder.join(LAST)).ok().and_then(|t| t.trim().parse().ok());
        let start = last.map_or(0, |l| u32::from(l).wrapping_sub(first).wrapping_add(1) % count);
        for offset in 0..count {
            let address = Ipv4Addr::from(first + (start + offset) % count);
            if !self.file(address).exists() {
                fs::write(self.file(address), holder).during(format!("taking {address}"))?;
                fs::write(self.folder.join(LAST), address.to_string()).during("noting the last address")?;
                return Ok(address);
            }
        }
        Err(Error::Failed(format!("all {count} addresses of {} are taken", self.subnet)))
    }

    pub fn held_by(&self, holder: &str) -> Result<Option<Ipv4Addr>, Error> {
        Ok(self.all()?.into_iter().find(|(_, h)| h == holder).map(|(a, _)| a))
    }

    pub fn holders(&self) -> Result<Vec<String>, Error> {
        Ok(self.all()?.into_iter().map(|(_, h)| h).collect())
    }

    pub fn give_back(&self, holder: &str) -> Result<(), Error> {
        for (address, _) in self.all()?.into_iter().filter(|(_, h)| h == holder) {
            fs::remove_file(self.file(address)).during(format!("giving {address} back"))?;
        }
        Ok(())
    }

    fn all(&self) -> Result<Vec<(Ipv4Addr, String)>, Error> {
        let entries = fs::read_dir(&self.folder).during(format!("reading {}", self.folder.display()))?;
        let addresses = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<Ipv4Addr>().ok());
        Ok(addresses.filter_map(|a| Some((a, fs::read_to_string(self.file(a)).ok()?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(folder: &Path, subnet: &str) -> Range {
        Range::open(folder, subnet.parse().unwrap()).unwrap()
    }

    #[test]
    fn addresses_are_taken_in_turn_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let range = range(dir.path(), "10.244.1.0/29");
        assert_eq!(range.gateway().to_string(), "10.244.1.1");
        let taken: Vec<String> =
            (0..5).map(|i| range.take(&format!("c{i} eth0")).unwrap().to_string()).collect();
        assert_eq!(taken, ["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6"]);
        assert!(range.take("c9 eth0").unwrap_err().to_string().contains("are taken"));
        assert_eq!(range.take("c1 eth0").unwrap().to_string(), "10.244.1.3", "a second ADD gets the same");
        range.give_back("c1 eth0").unwrap();
        range.give_back("c1 eth0").unwrap();
        assert_eq!(range.take("c9 eth0").unwrap().to_string(), "10.244.1.3");
    }

    #[test]
    fn one_that_was_given_back_rests() {
        let dir = tempfile::tempdir().unwrap();
        let range = range(dir.path(), "10.244.1.0/28");
        range.take("a eth0").unwrap();
        range.give_back("a eth0").unwrap();
        assert_eq!(range.take("b eth0").unwrap().to_string(), "10.244.1.3");
    }

    #[test]
    fn a_range_without_room_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Range::open(dir.path(), "10.0.0.0/31".parse().unwrap()).is_err());
    }
}
