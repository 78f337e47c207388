//! CBOR (KEP-4222).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("x")]
    X,
}
