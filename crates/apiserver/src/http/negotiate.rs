//! Content negotiation: which form an answer takes (Accept), and which a body has (Content-Type).

use apimachinery::Status;
use http::{HeaderMap, header};

use crate::endpoint::Query;
use crate::form::Media;

/// `as=` of a media type.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum As {
    #[default]
    Object,
    /// meta.k8s.io Table, in that version.
    Table(String),
    /// meta.k8s.io PartialObjectMetadata (of a list: its items).
    Metadata(String),
    /// apidiscovery.k8s.io in that version.
    Discovery(String),
}

/// What the caller wants to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub media: Media,
    pub shape: As,
    pub pretty: bool,
    /// `Accept-Encoding` takes gzip.
    pub gzip: bool,
}

/// What an endpoint can answer.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub protobuf: bool,
    pub table: bool,
    pub metadata: bool,
    pub discovery: bool,
    /// Lists may be watched.
    pub stream: bool,
}

impl Offer {
    /// Plain objects in all encodings.
    pub const PLAIN: Self =
        Self { protobuf: true, table: false, metadata: false, discovery: false, stream: false };
    /// Stored objects.
    pub const STORED: Self =
        Self { protobuf: true, table: true, metadata: true, discovery: false, stream: false };
    pub const DISCOVERY: Self =
        Self { protobuf: true, table: false, metadata: false, discovery: true, stream: false };
}

struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut list: Vec<Clause<'_>> = accept
        .split(',')
        .filter(|c| !c.trim().is_empty())
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|p| p.split_once('=')).collect();
            let quality =
                parameters.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Clause { media, parameters, quality }
        })
        .collect();
    list.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    list
}

fn media_of(text: &str, offer: Offer) -> Option<Media> {
    match text {
        "application/json" | "*/*" => Some(Media::Json),
        "application/yaml" => Some(Media::Yaml),
        "application/vnd.kubernetes.protobuf" if offer.protobuf => Some(Media::Protobuf),
        _ => None,
    }
}

fn shape_of(parameters: &[(&str, &str)], offer: Offer) -> Option<As> {
    let get = |key: &str| parameters.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| *v);
    let version = get("v").to_owned();
    match (get("as"), get("g")) {
        ("", _) => Some(As::Object),
        ("Table", "meta.k8s.io") if offer.table && matches!(get("v"), "v1" | "v1beta1") => {
            Some(As::Table(version))
        }
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io")
            if offer.metadata && matches!(get("v"), "v1" | "v1beta1") =>
        {
            Some(As::Metadata(version))
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io")
            if offer.discovery && matches!(get("v"), "v2" | "v2beta1") =>
        {
            Some(As::Discovery(version))
        }
        _ => None,
    }
}

/// Chooses among what is offered; 406 in upstream's words when nothing fits.
pub fn wanted(headers: &HeaderMap, query: &Query, offer: Offer) -> Result<Wanted, Status> {
    let accept =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(",");
    let pretty = is_pretty(headers, query);
    let gzip = accepts_gzip(headers);
    if accept.trim().is_empty() {
        return Ok(Wanted { media: Media::Json, shape: As::Object, pretty, gzip });
    }
    let mut known = false;
    for clause in clauses(&accept) {
        known |= media_of(clause.media, offer).is_some();
        if let (Some(media), Some(shape)) =
            (media_of(clause.media, offer), shape_of(&clause.parameters, offer))
        {
            if media == Media::Protobuf && matches!(shape, As::Table(_)) {
                continue;
            }
            return Ok(Wanted { media, shape, pretty: pretty && media == Media::Json, gzip });
        }
    }
    Err(not_acceptable(offer, known))
}

/// `known`: a media type is, but not with these parameters.
fn not_acceptable(offer: Offer, known: bool) -> Status {
    let plain = if offer.protobuf { MEDIA_TYPES } else { &MEDIA_TYPES[..2] };
    let list = plain.join(", ");
    if known {
        return Status::not_acceptable(format!("only the following media types are accepted: {list}"));
    }
    let streams = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
    let streams = if offer.stream { &streams[..if offer.protobuf { 2 } else { 1 }] } else { &[] };
    let list = [plain, streams].concat().join(", ");
    Status::not_acceptable(format!("406: Not Acceptable\n\nAvailable representations: {list}"))
        .with_details(apimachinery::status::Details::default())
}

const MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

fn is_pretty(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("pretty") {
        Some(value) if !value.is_empty() => !matches!(value, "0" | "false" | "f" | "F" | "False" | "FALSE"),
        _ => {
            let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
            ["curl", "Wget", "Mozilla/5.0"].iter().any(|p| agent.starts_with(p))
        }
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let value = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(',').any(|e| e.trim().split(';').next() == Some("gzip"))
}

/// The encoding of a request's body; 415 in upstream's words.
pub fn body_media(headers: &HeaderMap) -> Result<Media, Status> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" => Ok(Media::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Media::Protobuf),
        _ => Err(Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            MEDIA_TYPES.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &str) -> Option<(Media, As)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        wanted(&headers, &Query::default(), Offer::STORED).ok().map(|w| (w.media, w.shape))
    }

    #[test]
    fn accept() {
        let table = || As::Table("v1".into());
        for (accept, expected) in [
            ("*/*", Some((Media::Json, As::Object))),
            ("application/yaml", Some((Media::Yaml, As::Object))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Media::Protobuf, As::Object))),
            ("application/json;q=0.5, application/yaml;q=0.9", Some((Media::Yaml, As::Object))),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some((Media::Json, table()))),
            (
                "application/json;as=Table;g=meta.k8s.io;v=v9,application/json",
                Some((Media::Json, As::Object)),
            ),
            ("application/json;stream=watch", Some((Media::Json, As::Object))),
            ("text/html", None),
            ("application/json;as=Other;v=v1;g=meta.k8s.io", None),
        ] {
            assert_eq!(choose(accept), expected, "{accept}");
        }
    }
}
