//! What lies between an object's encoding and the store: encryption at rest hooks in here.

/// Turns encoded objects into what is stored, and back. `key` is the full key in the store, which encryption binds
/// the value to.
pub trait Transformer: Send + Sync {
    /// The encoding, and whether it was stored in an outdated way and should be written anew.
    fn transform_from_storage(
        &self,
        key: &str,
        stored: &bytes::Bytes,
    ) -> Result<(bytes::Bytes, bool), TransformError>;

    fn transform_to_storage(&self, key: &str, encoded: Vec<u8>) -> Result<Vec<u8>, TransformError>;
}

/// Why a stored value cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TransformError(pub String);

/// Stores objects as they are encoded.
pub struct Identity;

impl Transformer for Identity {
    fn transform_from_storage(
        &self,
        _: &str,
        stored: &bytes::Bytes,
    ) -> Result<(bytes::Bytes, bool), TransformError> {
        Ok((stored.clone(), false))
    }

    fn transform_to_storage(&self, _: &str, encoded: Vec<u8>) -> Result<Vec<u8>, TransformError> {
        Ok(encoded)
    }
}
