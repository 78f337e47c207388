//! Who may use a volume's files: the pod's `fsGroup`.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;

const READ_ONLY: u32 = 0o440;
const READ_WRITE: u32 = 0o660;
const EXECUTE: u32 = 0o110;
const SET_GID: u32 = 0o2000;

/// The group that owns the pod's volumes.
#[must_use]
pub fn group(pod: &Pod) -> Option<u32> {
    pod.spec().security_context.as_ref()?.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// The user of all containers, if it is one and the same.
#[must_use]
pub fn common_user(pod: &Pod) -> Option<u32> {
    let default = pod.spec().security_context.as_ref().and_then(|sc| sc.run_as_user);
    let all = pod.init_containers().iter().chain(pod.containers());
    let mut users =
        all.map(|container| container.security_context.as_ref().and_then(|sc| sc.run_as_user).or(default));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

/// Gives everything below `path` to `group`, with the bits that it needs.
///
/// # Errors
/// What the system said.
pub fn give(path: &Path, group: u32, read_only: bool) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    lchown(path, Some(metadata.uid()), Some(group))?;
    if metadata.file_type().is_symlink() {
        return Ok(());
    }
    let mut mask = if read_only { READ_ONLY } else { READ_WRITE };
    if metadata.is_dir() {
        mask |= SET_GID | EXECUTE;
    }
    fs::set_permissions(path, fs::Permissions::from_mode((metadata.mode() & 0o7777) | mask))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), group, read_only)?;
        }
    }
    Ok(())
}
