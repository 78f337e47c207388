//! Bytes to objects and back: the one place where the server calls the codecs of `api`.

use api::canonical::{DecodeError, Found};
use api::schema::Type;
use api::{Value, json, proto, yaml};
use apimachinery::Status;

use crate::form::Media;

/// Reads an object of a type into its canonical form.
pub fn decode(media: Media, bytes: &[u8], of: &Type) -> Result<(Value, Found), DecodeError> {
    match media {
        Media::Json => json::decode(bytes, of),
        Media::Yaml => yaml::decode(bytes, of),
        Media::Protobuf => {
            let envelope = proto::decode_envelope(bytes)?;
            let value = proto::decode(envelope.raw, of, envelope.api_version, envelope.kind)?;
            Ok((value, Found::default()))
        }
        Media::Cbor => Err(DecodeError::Yaml(NO_CBOR.into())),
    }
}

/// Reads a request's body; 400 in upstream's words.
pub fn decode_body(
    media: Media,
    bytes: &[u8],
    of: &Type,
    kind: &str,
    version: &str,
) -> Result<(Value, Found), Status> {
    decode(media, bytes, of)
        .map_err(|error| Status::bad_request(api::codec::refusal(&error, bytes, version, kind)))
}

/// `apiVersion` and `kind` of a body, whatever its encoding.
pub fn type_meta(media: Media, bytes: &[u8]) -> Result<(String, String), Status> {
    let bad = |error: String| Status::bad_request(error);
    match media {
        Media::Json => {
            let meta = json::type_meta(bytes).map_err(|e| bad(e.to_string()))?;
            Ok((meta.api_version, meta.kind))
        }
        Media::Protobuf => {
            let envelope = proto::decode_envelope(bytes).map_err(|e| bad(e.to_string()))?;
            Ok((envelope.api_version.to_owned(), envelope.kind.to_owned()))
        }
        Media::Yaml => meta_of(&yaml::parse(bytes).map_err(|e| bad(e.to_string()))?),
        Media::Cbor => Err(bad(NO_CBOR.into())),
    }
}

fn meta_of(value: &Value) -> Result<(String, String), Status> {
    Ok((value.api_version().to_owned(), value.kind().to_owned()))
}

/// One object as a whole document (a newline ends JSON, protobuf has its envelope).
pub fn encode(media: Media, value: &Value, of: &Type) -> Result<Vec<u8>, Status> {
    match media {
        Media::Json => Ok(json::encode(value, of)),
        Media::Yaml => Ok(yaml_of(&json::encode(value, of))),
        Media::Protobuf => {
            proto::encode_envelope(value, of).map_err(|e| Status::not_acceptable(e.to_string()))
        }
        Media::Cbor => Err(Status::not_acceptable(NO_CBOR)),
    }
}

const NO_CBOR: &str = "application/cbor is not served (feature gate CBORServingAndStorage)";

/// YAML of a JSON document, fields as Go's YAML library sorts them.
pub fn yaml_of(document: &[u8]) -> Vec<u8> {
    let mut value = json::parse(document).unwrap_or_default();
    sort(&mut value);
    yaml::to_string(&value).into_bytes()
}

fn sort(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.sort_keys();
            map.iter_mut().for_each(|(_, v)| sort(v));
        }
        Value::List(list) => list.iter_mut().for_each(sort),
        _ => {}
    }
}
