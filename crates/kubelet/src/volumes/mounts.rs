//! Mounts that the kubelet makes on the node itself: memory file systems and sub-paths.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

/// Paths of all mounts of this mount namespace at or below `below`, the deepest first.
///
/// # Errors
/// If the kernel's list cannot be read.
pub fn below(below: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let points =
        text.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| PathBuf::from(unescape(path)));
    let mut points: Vec<_> = points.filter(|path| path.starts_with(below)).collect();
    points.reverse();
    Ok(points)
}

/// The kernel writes spaces and the like as octal numbers.
fn unescape(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(3).collect();
        let number = std::str::from_utf8(&digits).ok().and_then(|text| u8::from_str_radix(text, 8).ok());
        out.extend(number);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether something is mounted at `path`.
#[must_use]
pub fn is_mount(path: &Path) -> bool {
    below(path).is_ok_and(|points| points.iter().any(|point| point == path))
}

/// Mounts a memory file system, of `size` bytes if given.
///
/// # Errors
/// What the system said.
pub fn tmpfs(path: &Path, size: Option<u64>) -> io::Result<()> {
    let options = size.map(|size| format!("size={size}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref()).map_err(io::Error::from)
}

/// Unmounts everything at or below `path`.
///
/// # Errors
/// What the system said of the first one that failed.
pub fn unmount_below(path: &Path) -> io::Result<()> {
    for point in below(path)? {
        match umount2(&point, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens `path` below `volume` without ever leaving it, through whatever links there are.
fn open_below(volume: &Path, path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let folder = open(volume, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(&folder, path, how)?)
}

/// The text of a file of a volume, however its path is made; at most `limit` bytes.
///
/// # Errors
/// What the system said; `InvalidData` for what is longer or no text.
pub fn read_below(volume: &Path, path: &str, limit: u64) -> io::Result<String> {
    use std::io::Read;
    let fd = open_below(volume, Path::new(path))?;
    // by way of the descriptor, which does not leave the volume; never a pipe that nobody writes to
    let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    if !fs::metadata(&link)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no regular file"));
    }
    let mut text = String::new();
    fs::File::open(link)?.take(limit + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(length) if length <= limit => Ok(text),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long")),
    }
}

/// Makes the missing folders of `path` below `volume`, with the volume's permissions.
fn make_below(volume: &Path, path: &Path) -> io::Result<()> {
    let mode = fs::metadata(volume)?.permissions().mode() & 0o7777;
    let mut done = PathBuf::new();
    for part in path.components() {
        let parent_fd = if done.as_os_str().is_empty() {
            open(volume, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?
        } else {
            open_below(volume, &done)?
        };
        done.push(part);
        match open_below(volume, &done) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                nix::sys::stat::mkdirat(&parent_fd, part.as_os_str(), Mode::from_bits_truncate(mode))?;
                let here = PathBuf::from(format!("/proc/self/fd/{}", parent_fd.as_raw_fd())).join(part);
                fs::set_permissions(here, fs::Permissions::from_mode(mode))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Binds `sub` of `volume` to `target`, so that nobody can later make the path lead out of the volume.
/// A missing path becomes a folder.
///
/// # Errors
/// `InvalidInput` if the path leads out of the volume, or what the system said.
pub fn bind_subpath(volume: &Path, sub: &str, target: &Path) -> io::Result<()> {
    let path = Path::new(sub);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let outside = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subpath {sub:?} not within volume path {:?}", volume.display()),
        )
    };
    if !inside {
        return Err(outside());
    }
    let path: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let source = match open_below(volume, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_below(volume, &path)?;
            open_below(volume, &path)
        }
        other => other,
    };
    let source =
        source.map_err(|error| if error.raw_os_error() == Some(libc::EXDEV) { outside() } else { error })?;
    let link = PathBuf::from(format!("/proc/self/fd/{}", source.as_raw_fd()));
    if is_mount(target) {
        umount2(target, MntFlags::MNT_DETACH)?;
    }
    if fs::metadata(&link)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(target)?;
    }
    mount(Some(&link), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        let target = dir.path().join("t");
        for bad in ["../x", "/etc", "a/../../x", "out/passwd"] {
            assert!(bind_subpath(&volume, bad, &target).is_err(), "{bad}");
        }
        make_below(&volume, Path::new("a/b")).unwrap();
        assert!(volume.join("a/b").is_dir());
    }

    #[test]
    fn reads_the_kernels_escapes() {
        assert_eq!(unescape("/a\\040b"), "/a b");
    }
}
