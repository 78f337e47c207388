//! The forms in which one object can be asked for: media type, version, projection.

use std::sync::Arc;

/// An encoding of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
    Cbor,
}

impl Media {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
            Self::Cbor => "application/cbor",
        }
    }

    /// Of the answers of watches.
    pub fn stream_content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Self::Cbor => "application/cbor-seq",
        }
    }
}

/// What of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    Whole,
    /// meta.k8s.io/v1 PartialObjectMetadata.
    Metadata,
    /// The cells of its row in a Table.
    Cells,
}

/// The key of an encoding that entries and changes keep while it is hot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub media: Media,
    pub projection: Projection,
    /// `v1` or `apps/v1`.
    pub api_version: Arc<str>,
    /// Of the schema (see [`crate::catalog::Serve::generation`]).
    pub generation: u64,
}
