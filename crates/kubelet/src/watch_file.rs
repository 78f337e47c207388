//! Inotify as something to wait for.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// A watch of one path.
pub struct FileWatch {
    fd: AsyncFd<Owned>,
}

struct Owned(Inotify);

impl AsFd for Owned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl FileWatch {
    /// Watches `path` for `flags`.
    ///
    /// # Errors
    /// If the path is not there, or there are too many watches.
    pub fn new(path: &Path, flags: AddWatchFlags) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(path, flags)?;
        // SAFETY: the value owns its descriptor and gives the same one until it is dropped
        let fd = unsafe { AsyncFd::register(Owned(inotify)) }?;
        Ok(Self { fd })
    }

    /// Waits for events. False if the watched path is gone.
    pub async fn changed(&self) -> bool {
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return false };
            match ready.get_inner().0.read_events() {
                Ok(events) => {
                    return !events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED));
                }
                Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                Err(_) => return false,
            }
        }
    }
}
