//! One door to the encodings: bytes of a media type to the canonical tree of a type and back.
//!
//! Choosing among what a client accepts is the HTTP layer's.

use crate::canonical::{CanonError, DecodeError, Found};
use crate::schema::Type;
use crate::value::Value;
use crate::{cbor, json, proto, yaml};

/// The encodings of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
    Cbor,
}

impl Media {
    /// By media type without parameters; None for one that no object is encoded in.
    pub fn parse(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/json" => Self::Json,
            "application/yaml" => Self::Yaml,
            "application/vnd.kubernetes.protobuf" => Self::Protobuf,
            "application/cbor" => Self::Cbor,
            _ => return None,
        })
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
            Self::Cbor => "application/cbor",
        }
    }

    /// By how the bytes begin, as upstream recognizes stored values.
    pub fn recognize(bytes: &[u8]) -> Self {
        if bytes.starts_with(proto::MAGIC) {
            Self::Protobuf
        } else if bytes.starts_with(&cbor::MAGIC) {
            Self::Cbor
        } else {
            Self::Json
        }
    }
}

/// `apiVersion` and `kind` that the bytes themselves name; "" where they name none.
pub fn type_meta(bytes: &[u8], media: Media) -> Result<(String, String), DecodeError> {
    Ok(match media {
        Media::Json => {
            let meta = json::type_meta(bytes)?;
            (meta.api_version, meta.kind)
        }
        Media::Protobuf => {
            let envelope = proto::decode_envelope(bytes)?;
            (envelope.api_version.to_owned(), envelope.kind.to_owned())
        }
        Media::Yaml => of_tree(&yaml::parse(bytes)?),
        Media::Cbor => of_tree(&cbor::parse(bytes)?),
    })
}

fn of_tree(tree: &Value) -> (String, String) {
    (tree.api_version().to_owned(), tree.kind().to_owned())
}

/// The canonical tree of an object of that type.
pub fn decode(bytes: &[u8], media: Media, of: &Type) -> Result<(Value, Found), DecodeError> {
    match media {
        Media::Json => json::decode(bytes, of),
        Media::Yaml => yaml::decode(bytes, of),
        Media::Cbor => cbor::decode(bytes, of),
        Media::Protobuf => {
            let envelope = proto::decode_envelope(bytes)?;
            let value = proto::decode(envelope.raw, of, envelope.api_version, envelope.kind)?;
            Ok((value, Found::default()))
        }
    }
}

/// The message of the 400 for a body that cannot be decoded: what is no object at all is unrecognized, what is one
/// of other types cannot be handled as the kind.
pub fn refusal(error: &DecodeError, body: &[u8], version: &str, kind: &str) -> String {
    let unrecognized = |why: String| {
        format!("the object provided is unrecognized (must be of type {kind}): {why} ({})", summary(body))
    };
    match error {
        DecodeError::Json(e) => unrecognized(format!("couldn't get version/kind; json parse error: {e}")),
        DecodeError::Type(CanonError::Type { got, place, .. }) if place == "value" => {
            let wanted = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
            let e = format!("json: cannot unmarshal {got} into Go value of type {wanted}");
            unrecognized(format!("couldn't get version/kind; json parse error: {e}"))
        }
        DecodeError::Type(e) => cannot_be_handled(version, kind, e),
        DecodeError::Yaml(e) => {
            unrecognized(e.trim_start_matches("error converting YAML to JSON: ").to_owned())
        }
        other => unrecognized(other.to_string()),
    }
}

/// The message of the 400 for a body that is no object of the kind; `why` may be [`Found::strict_error`].
pub fn cannot_be_handled(version: &str, kind: &str, why: impl std::fmt::Display) -> String {
    format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}")
}

/// The beginning of a body, as text if it looks like JSON, else in hexadecimal digits.
fn summary(body: &[u8]) -> String {
    const MAX: usize = 30;
    let start = &body[..body.len().min(MAX)];
    let text = match body.first() {
        None => return "<empty>".into(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|b| format!("{b:02x}")).collect(),
    };
    if body.len() > MAX { format!("{text} ...") } else { text }
}

/// A body of that media type. Fails only for protobuf of a type that has no message.
pub fn encode(value: &Value, media: Media, of: &Type) -> Result<Vec<u8>, proto::ProtoError> {
    Ok(match media {
        Media::Json => json::encode(value, of),
        Media::Protobuf => return proto::encode_envelope(value, of),
        Media::Cbor => cbor::encode(value, of),
        Media::Yaml => {
            let mut text = Vec::new();
            json::write(&mut text, value, of);
            yaml::to_string(&json::parse(&text).unwrap_or_default()).into_bytes()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_upstreams_words() {
        let of = crate::schema::by_gvk("apps", "v1", "Deployment").unwrap();
        let message = |body: &str| {
            let error = decode(body.as_bytes(), Media::Json, &of).unwrap_err();
            refusal(&error, body.as_bytes(), "v1", "Deployment")
        };
        assert_eq!(
            message("{\"spec\":"),
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"spec\":)"
        );
        assert!(message("[]").ends_with(r#"Kind string "json:\"kind,omitempty\"" } (5b5d)"#));
        assert!(message("").ends_with("(<empty>)"));
        assert!(
            message("{\"spec\":[1]}")
                .starts_with("Deployment in version \"v1\" cannot be handled as a Deployment: json: ")
        );
    }

    #[test]
    fn every_encoding_gives_the_same_tree() {
        let of = crate::schema::by_gvk("apps", "v1", "Deployment").unwrap();
        let text = br#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a","labels":{"b":"yes"},"creationTimestamp":"2024-01-01T00:00:00Z"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1500m"}},"livenessProbe":{"httpGet":{"port":"http"}}}]}},"strategy":{"rollingUpdate":{"maxSurge":1}}}}"#;
        let (tree, found) = decode(text, Media::Json, &of).unwrap();
        assert!(found.is_empty());
        let order = json::to_string(&tree);
        for media in [Media::Json, Media::Yaml, Media::Protobuf, Media::Cbor] {
            let bytes = encode(&tree, media, &of).unwrap();
            assert_eq!(type_meta(&bytes, media).unwrap(), ("apps/v1".to_owned(), "Deployment".to_owned()));
            let (again, found) = decode(&bytes, media, &of).unwrap();
            assert!(found.is_empty(), "{media:?}");
            assert_eq!(json::to_string(&again), order, "{media:?}");
            assert!(media == Media::Yaml || Media::recognize(&bytes) == media);
        }
    }
}
