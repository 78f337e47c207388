//! Files that change all at once: the content lies in a dated folder, `..data` points to it, and each visible
//! name points into `..data`. A reader sees the old files or the new ones, never a mixture.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, if it is not the kubelet.
    pub owner: Option<u32>,
}

/// Files by their path below the volume.
pub type Payload = BTreeMap<String, File>;

/// The link to the folder with the files.
pub(super) const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `target` hold exactly `payload`; `own` is called on the new folder before it becomes visible.
/// Gives whether anything changed.
///
/// # Errors
/// What the system said; the old content stays visible then.
pub fn write(target: &Path, payload: &Payload, own: impl Fn(&Path) -> io::Result<()>) -> io::Result<bool> {
    check_paths(payload)?;
    let old = fs::read_link(target.join(DATA)).ok().map(|name| target.join(name));
    if let Some(old) = &old
        && unchanged(old, payload)?
        && visible(target)? == heads(payload)
    {
        return Ok(false);
    }
    let folder = dated_folder(target)?;
    let result =
        fill(&folder, payload).and_then(|()| own(&folder)).and_then(|()| publish(target, &folder, payload));
    if result.is_err() {
        let _ = fs::remove_dir_all(&folder);
    } else if let Some(old) = old {
        let _ = fs::remove_dir_all(old);
    }
    result.map(|()| true)
}

fn check_paths(payload: &Payload) -> io::Result<()> {
    for path in payload.keys() {
        let bad = path.is_empty()
            || path.starts_with('/')
            || path.starts_with("..")
            || path.split('/').any(|part| part == ".." || part.is_empty());
        if bad {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("invalid path {path:?} in a volume"),
            ));
        }
    }
    Ok(())
}

/// First parts of the paths: the names that are visible in the volume.
fn heads(payload: &Payload) -> BTreeSet<String> {
    payload.keys().map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect()
}

fn visible(target: &Path) -> io::Result<BTreeSet<String>> {
    let names = fs::read_dir(target)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with(".."))).collect()
}

fn unchanged(old: &Path, payload: &Payload) -> io::Result<bool> {
    let mut seen = 0;
    let mut folders = vec![old.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(old).unwrap_or(&path).to_string_lossy().into_owned();
            let same =
                payload.get(&name).is_some_and(|file| fs::read(&path).is_ok_and(|data| data == file.data));
            if !same {
                return Ok(false);
            }
            seen += 1;
        }
    }
    Ok(seen == payload.len())
}

/// A folder whose name begins with `..` and the time, which nothing else has.
fn dated_folder(target: &Path) -> io::Result<PathBuf> {
    let now = jiff::Zoned::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let folder = target.join(format!("{now}.{}", rand::random_range(0..u32::MAX)));
        match fs::DirBuilder::new().mode(0o755).create(&folder) {
            Ok(()) => {
                fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
                return Ok(folder);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn fill(folder: &Path, payload: &Payload) -> io::Result<()> {
    for (name, file) in payload {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            make_folders(folder, parent)?;
        }
        fs::write(&path, &file.data)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if let Some(owner) = file.owner {
            let group = fs::metadata(&path)?.gid();
            chown(&path, Some(owner), Some(group))?;
        }
    }
    Ok(())
}

fn make_folders(top: &Path, folder: &Path) -> io::Result<()> {
    let mut path = top.to_path_buf();
    for part in folder.strip_prefix(top).into_iter().flat_map(Path::components) {
        path.push(part);
        match fs::create_dir(&path) {
            Ok(()) => fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Swings `..data` over, then adds and removes visible names.
fn publish(target: &Path, folder: &Path, payload: &Payload) -> io::Result<()> {
    let new = target.join(DATA_NEW);
    let _ = fs::remove_file(&new);
    symlink(folder.file_name().unwrap_or_default(), &new)?;
    fs::rename(&new, target.join(DATA))?;
    let (wanted, present) = (heads(payload), visible(target)?);
    for name in wanted.difference(&present) {
        symlink(Path::new(DATA).join(name), target.join(name))?;
    }
    for name in present.difference(&wanted) {
        fs::remove_file(target.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |data: &str| File { data: data.into(), mode: 0o640, owner: None };
        files.iter().map(|(name, data)| ((*name).to_owned(), file(data))).collect()
    }

    #[test]
    fn writes_changes_and_removes() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path();
        let put = |files: &[(&str, &str)]| write(target, &payload(files), |_| Ok(())).unwrap();
        assert!(put(&[("a", "1"), ("d/b", "2")]));
        assert!(!put(&[("a", "1"), ("d/b", "2")]));
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        assert_eq!(fs::metadata(target.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let first = fs::read_link(target.join(DATA)).unwrap();
        assert!(put(&[("a", "3"), ("c", "4")]));
        assert!(!target.join(first).exists());
        assert_eq!(visible(target).unwrap().into_iter().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
    }

    #[test]
    fn refuses_paths_that_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["../x", "/x", "a/../../x", ""] {
            assert!(write(dir.path(), &payload(&[(bad, "1")]), |_| Ok(())).is_err(), "{bad}");
        }
    }

    #[test]
    fn keeps_the_old_content_if_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &payload(&[("a", "1")]), |_| Ok(())).unwrap();
        assert!(write(dir.path(), &payload(&[("a", "2")]), |_| Err(io::Error::other("no"))).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
    }
}
