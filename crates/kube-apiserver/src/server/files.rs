//! Files that flags name.

use super::Error;

pub fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// None for no path.
pub fn read_optional(path: &str) -> Result<Option<String>, Error> {
    if path.is_empty() { Ok(None) } else { read(path).map(Some) }
}
