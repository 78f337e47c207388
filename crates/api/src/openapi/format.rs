//! From pieces to bytes: how a document begins, how each path and definition is written, how it ends. Whoever wants a
//! document writes it piece by piece, so that none is ever in memory as a tree.

use serde_json::{Value as Json, json};

use super::gnostic;
use crate::proto::wire;

/// A part of a document, in the order in which documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    Paths,
    Definitions,
    /// Of v2 alone: what operations refer to.
    Parameters,
}

/// An encoding of a version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    V2,
    V2Protobuf,
    V3,
}

/// What a document says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub title: String,
    pub version: String,
    /// How callers show who they are is said too.
    pub secured: bool,
}

impl Info {
    /// Of a server's documents: its version without the patch.
    pub fn server(git_version: &str) -> Self {
        let version: Vec<&str> = git_version.trim_start_matches('v').splitn(3, '.').take(2).collect();
        Self { title: "Kubernetes".into(), version: version.join("."), secured: true }
    }

    /// Of v3's documents of custom resources.
    pub fn custom() -> Self {
        Self { title: "Kubernetes CRD Swagger".into(), version: "v0.1.0".into(), secured: false }
    }
}

const SCHEME: &str = "BearerToken";

fn scheme() -> Json {
    json!({"type": "apiKey", "name": "authorization", "in": "header"})
}

impl Format {
    pub fn sections(self) -> &'static [Section] {
        match self {
            Self::V3 => &[Section::Paths, Section::Definitions],
            _ => &[Section::Paths, Section::Definitions, Section::Parameters],
        }
    }

    /// Appends one piece. `is_first`: nothing stands before it in its section.
    pub fn piece(self, section: Section, name: &str, of: &Json, is_first: bool, out: &mut Vec<u8>) {
        if self == Self::V2Protobuf {
            return match section {
                Section::Paths => gnostic::path(out, name, of),
                Section::Definitions => gnostic::definition(out, name, of),
                Section::Parameters => gnostic::parameter(out, name, of),
            };
        }
        if !is_first {
            out.push(b',');
        }
        // Writing into memory fails for no tree.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        let _ = serde_json::to_writer(out, of);
    }

    /// What stands before the pieces of a section, which take `size` bytes: the head of the document before the first,
    /// the end of the section before it otherwise.
    pub fn open(self, section: Section, size: u64, info: &Info) -> Vec<u8> {
        match self {
            Self::V2Protobuf => open_protobuf(section, size, info),
            Self::V2 => open_json(section, "swagger", "2.0", "definitions", info),
            Self::V3 => open_json(section, "openapi", "3.0.0", "components\":{\"schemas", info),
        }
    }

    /// What stands after the last section.
    pub fn close(self, info: &Info) -> Vec<u8> {
        match self {
            Self::V2Protobuf => {
                let mut out = Vec::new();
                gnostic::requirement(&mut out, SCHEME);
                wire::message(&mut out, gnostic::SECURITY_DEFINITIONS, |out| {
                    gnostic::api_key(out, SCHEME, &scheme());
                });
                out
            }
            Self::V2 => {
                let (schemes, security) = (json!({SCHEME: scheme()}), json!([{SCHEME: []}]));
                format!("}},\"securityDefinitions\":{schemes},\"security\":{security}}}").into_bytes()
            }
            Self::V3 if !info.secured => b"}}}".to_vec(),
            Self::V3 => format!("}},\"securitySchemes\":{}}}}}", json!({SCHEME: scheme()})).into_bytes(),
        }
    }
}

fn open_json(section: Section, what: &str, version: &str, definitions: &str, info: &Info) -> Vec<u8> {
    let text = match section {
        Section::Paths => {
            let info = json!({"title": info.title, "version": info.version});
            format!("{{\"{what}\":\"{version}\",\"info\":{info},\"paths\":{{")
        }
        Section::Definitions => format!("}},\"{definitions}\":{{"),
        Section::Parameters => "},\"parameters\":{".to_owned(),
    };
    text.into_bytes()
}

fn open_protobuf(section: Section, size: u64, info: &Info) -> Vec<u8> {
    let mut out = Vec::new();
    let tag = match section {
        Section::Paths => {
            wire::bytes(&mut out, gnostic::SWAGGER, b"2.0");
            gnostic::info(&mut out, &json!({"title": info.title, "version": info.version}));
            gnostic::PATHS
        }
        Section::Definitions => gnostic::DEFINITIONS,
        Section::Parameters => gnostic::PARAMETERS,
    };
    wire::key(&mut out, tag, 2);
    wire::varint(&mut out, size);
    out
}
