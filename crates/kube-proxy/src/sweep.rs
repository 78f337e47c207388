//! Notes of which client had which endpoint, after that endpoint is gone: removed, as the rule that reads them cannot
//! know. New notes of it are no longer made by then, so one pass is enough; what a client finds until then is what an
//! open connection to that endpoint finds.
//!
//! Notes outlive the proxy: one that starts reads them and writes them into its new table.

use std::net::Ipv4Addr;

use nftables::read::FoundElement;
use nftables::{Batch, Connection, Element, Error, Key};

use crate::plan::{Backend, Frontend};
use crate::table;

/// A note may go by itself between two looks at it, which ends a whole transaction.
const ATTEMPTS: usize = 8;

/// Removes the notes that `is_current` does not know; how many there were.
pub fn sweep(
    connection: &mut Connection,
    is_current: impl Fn(Frontend, Backend) -> bool,
) -> Result<usize, Error> {
    let mut last = Ok(0);
    for _ in 0..ATTEMPTS {
        let notes = connection.elements(table::FAMILY, table::TABLE, table::AFFINITY)?;
        let old: Vec<Element> = notes
            .into_iter()
            .filter(|note| read(note).is_none_or(|(frontend, backend)| !is_current(frontend, backend)))
            .map(|note| Element::key(note.key))
            .collect();
        let mut batch = Batch::new(table::FAMILY, table::TABLE);
        batch.delete_elements(table::AFFINITY, &old);
        last = connection.commit(batch).map(|()| old.len());
        if !last.as_ref().is_err_and(Error::is_missing) {
            break;
        }
    }
    last
}

/// A note as an earlier proxy's rules made it.
pub struct Note {
    pub frontend: Frontend,
    pub backend: Backend,
    element: Element,
}

impl Note {
    /// To be added to a new table.
    pub fn element(&self) -> Element {
        self.element.clone()
    }
}

/// The notes in the kernel that have some time left; none if there is no table.
pub fn notes(connection: &mut Connection) -> Vec<Note> {
    let found = connection.elements(table::FAMILY, table::TABLE, table::AFFINITY);
    let note = |found: FoundElement| {
        let (frontend, backend) = read(&found)?;
        let life = found.life.filter(|life| life.left > 0)?;
        let element = Element::data(found.key, Key::of_bytes(&found.data)).living(life);
        Some(Note { frontend, backend, element })
    };
    found.unwrap_or_default().into_iter().filter_map(note).collect()
}

/// The frontend and endpoint of a note; see `CLIENT` and `BACKEND` of [`crate::table`].
fn read(note: &FoundElement) -> Option<(Frontend, Backend)> {
    let key = note.key.as_bytes().first_chunk::<16>()?;
    let data = note.data.first_chunk::<6>()?;
    let address = Ipv4Addr::new(key[4], key[5], key[6], key[7]);
    let frontend = Frontend {
        address: (!address.is_unspecified()).then_some(address),
        protocol: key[8],
        port: u16::from_be_bytes([key[12], key[13]]),
    };
    let backend = Backend {
        address: Ipv4Addr::new(data[0], data[1], data[2], data[3]),
        port: u16::from_be_bytes([data[4], data[5]]),
    };
    Some((frontend, backend))
}
