//! nftables by netlink: batches of tables, chains, sets, maps, elements and rules, committed by the kernel as one
//! transaction or not at all.
//!
//! [`batch::Batch`] collects changes and encodes them at once; [`expr`] are a rule's expressions; [`Connection`]
//! sends a batch and reads the kernel's verdict. Messages and numbers are the kernel's
//! (`include/uapi/linux/netfilter/nf_tables.h`).
//!
//! [`read`] finds chains and rules in tables of others.
//!
//! Deliberately absent: the text language of `nft`, reading expressions back (who writes rules remembers them), and any knowledge of what the rules are for.

mod attr;
pub mod batch;
pub mod expr;
pub mod matches;
pub mod read;
pub mod set;
mod socket;

pub use batch::{Batch, Chain, Hook, Policy, Rule};
pub use expr::{Expr, Verdict};
pub use set::{Element, Key, Set};
pub use socket::Connection;

/// Protocol families of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Family {
    Inet = 1,
    Ip = 2,
    Arp = 3,
    Netdev = 5,
    Bridge = 7,
    Ip6 = 10,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nftables: {what}: {source}")]
    Socket { what: &'static str, source: std::io::Error },
    /// The kernel refused one message; nothing of the batch was done.
    #[error("nftables: {operation} {name}: {source}")]
    Refused { operation: &'static str, name: String, source: std::io::Error },
}

impl Error {
    /// The kernel's error number, if it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Socket { source, .. } => source.raw_os_error(),
        }
    }

    /// What was to be deleted or added to is not there.
    pub fn is_missing(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }
}
