//! Which numbers of the node stand for a pod's users and groups (`hostUsers: false`, KEP-127): a range of its own for
//! each pod, remembered in the pod's folder in upstream's form, so that it outlives the kubelet.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use cri::v1;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::paths::Paths;
use crate::pod::PodExt;

/// The file in a pod's folder.
const FILE: &str = "userns";
/// Ranges are made of whole units, and the first unit is the node's own.
const UNIT: u32 = 65_536;

/// Why a pod gets no range.
#[derive(Debug, thiserror::Error)]
pub enum UserNamespaceError {
    /// All are taken.
    #[error("user namespace: no range of ids is left")]
    Full,
    /// The pod's file cannot be used.
    #[error("user namespace: {path}: {message}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// The configuration makes no sense.
    #[error(
        "userNamespaces.idsPerPod: Invalid value: {0}: must be a multiple of 65536 and less than 4294967296"
    )]
    Length(i64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// The ranges of the node's pods.
pub struct UserNamespaces {
    paths: Paths,
    /// Ids a pod.
    length: u32,
    /// First id of each pod that has a range.
    taken: Mutex<HashMap<String, u32>>,
}

/// Whether a pod's users are its own.
#[must_use]
pub fn wanted(pod: &Pod) -> bool {
    pod.spec().host_users == Some(false)
}

impl UserNamespaces {
    /// With the ranges of pods that an earlier kubelet left.
    ///
    /// # Errors
    /// [`UserNamespaceError::Length`]
    pub fn new(paths: &Paths, ids_per_pod: Option<i64>) -> Result<Self, UserNamespaceError> {
        let ids = ids_per_pod.unwrap_or(i64::from(UNIT));
        let length = u32::try_from(ids).ok().filter(|length| *length > 0 && length.is_multiple_of(UNIT));
        let length = length.ok_or(UserNamespaceError::Length(ids))?;
        let found = Self { paths: paths.clone(), length, taken: Mutex::default() };
        for entry in fs::read_dir(paths.pods()).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            match found.read(&uid) {
                Ok(Some(first)) => drop(found.taken.lock().insert(uid, first)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the pod will get another range"),
            }
        }
        Ok(found)
    }

    fn file(&self, uid: &str) -> PathBuf {
        self.paths.pod(uid).join(FILE)
    }

    /// The first id of a pod's range, if it has one.
    fn read(&self, uid: &str) -> Result<Option<u32>, UserNamespaceError> {
        let path = self.file(uid);
        let wrong = |message: String| UserNamespaceError::File { path: path.display().to_string(), message };
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| wrong(error.to_string()))?,
        };
        let stored: Stored = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let first = stored.uid_mappings.first().map(|mapping| mapping.host_id);
        let fits = |mapping: &Mapping| {
            Some(mapping.host_id) == first && mapping.container_id == 0 && mapping.length == self.length
        };
        let all = [&stored.uid_mappings, &stored.gid_mappings];
        if all.iter().all(|list| list.len() == 1 && list.iter().all(fits)) {
            return Ok(first.filter(|first| *first >= UNIT));
        }
        Err(wrong("not one mapping of users and the same of groups".to_owned()))
    }

    fn write(&self, uid: &str, first: u32) -> Result<(), UserNamespaceError> {
        let path = self.file(uid);
        let one = vec![Mapping { host_id: first, container_id: 0, length: self.length }];
        let stored = Stored { uid_mappings: one.clone(), gid_mappings: one };
        let text = serde_json::to_vec(&stored).unwrap_or_default();
        fs::write(&path, text).map_err(|error| UserNamespaceError::File {
            path: path.display().to_string(),
            message: error.to_string(),
        })
    }

    /// The namespace of a pod that wants one, with a range that nobody else has. The pod's folder is there.
    ///
    /// # Errors
    /// [`UserNamespaceError`]
    pub fn of(&self, pod: &Pod) -> Result<Option<v1::UserNamespace>, UserNamespaceError> {
        if !wanted(pod) {
            return Ok(None);
        }
        let mut taken = self.taken.lock();
        let first = match taken.get(pod.uid()) {
            Some(first) => *first,
            None => {
                let first = self.choose(&taken).ok_or(UserNamespaceError::Full)?;
                self.write(pod.uid(), first)?;
                taken.insert(pod.uid().to_owned(), first);
                first
            }
        };
        let mapping = vec![v1::IdMapping { host_id: first, container_id: 0, length: self.length }];
        Ok(Some(v1::UserNamespace {
            mode: v1::NamespaceMode::Pod as i32,
            uids: mapping.clone(),
            gids: mapping,
        }))
    }

    /// A free range, at random, so that nodes on one machine rarely choose the same.
    fn choose(&self, taken: &HashMap<String, u32>) -> Option<u32> {
        let slots = u32::MAX / self.length;
        let begin = rand::random_range(0..slots.saturating_sub(1).max(1));
        let slot = |step: u32| 1 + (begin + step) % slots.saturating_sub(1).max(1);
        let mut firsts = (0..slots.saturating_sub(1)).map(|step| slot(step) * self.length);
        firsts.find(|first| !taken.values().any(|other| other == first))
    }

    /// The pod and its folder are gone.
    pub fn release(&self, uid: &str) {
        self.taken.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, own: bool) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"uid": uid}, "spec": {"hostUsers": !own, "containers": []}}),
        )
        .unwrap()
    }

    #[test]
    fn each_pod_has_a_range_of_its_own_that_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&dir.path().display().to_string(), "/logs");
        for uid in ["a", "b"] {
            fs::create_dir_all(paths.pod(uid)).unwrap();
        }
        let all = UserNamespaces::new(&paths, None).unwrap();
        assert!(all.of(&pod("a", false)).unwrap().is_none());
        let first = |all: &UserNamespaces, uid| {
            let space = all.of(&pod(uid, true)).unwrap().unwrap();
            assert_eq!((space.uids[0].length, &space.uids), (65_536, &space.gids));
            space.uids[0].host_id
        };
        let (a, b) = (first(&all, "a"), first(&all, "b"));
        assert!(a != b && a >= UNIT && a.is_multiple_of(UNIT) && a.checked_add(UNIT - 1).is_some());
        assert_eq!(first(&all, "a"), a);
        assert_eq!(first(&UserNamespaces::new(&paths, None).unwrap(), "b"), b, "after a restart");
        fs::remove_dir_all(paths.pod("a")).unwrap();
        all.release("a");
        assert_eq!(all.taken.lock().len(), 1);
    }

    #[test]
    fn lengths_are_whole_units() {
        let paths = Paths::new("/nowhere", "/logs");
        assert!(UserNamespaces::new(&paths, Some(131_072)).is_ok());
        for wrong in [0, 1000, 1 << 32] {
            assert!(UserNamespaces::new(&paths, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
