//! Paths that are no resources and stand in documents: discovery, the version, the keys of service accounts' tokens.

use super::names::{camel, tag, upper_first};
use super::operations::{Answer, META, Media, OBJECTS, Operation, PathItem};

/// Documents that every server has beside those of its groups.
pub(super) const DOCUMENTS: [&str; 5] =
    [".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"];

const NOTHING: Media = &[];
const JSON: Media = &["application/json"];

struct Plain {
    path: String,
    id: String,
    tag: String,
    takes: Media,
    gives: Media,
    /// "": text.
    answer: String,
}

impl Plain {
    fn discovery(path: &str, id: String, tag: String, kind: &str) -> Self {
        let (path, answer) = (format!("/{path}/"), format!("{META}.{kind}"));
        Self { path, id, tag, takes: OBJECTS, gives: OBJECTS, answer }
    }

    fn text(path: &str, id: &str, tag: &str, gives: Media) -> Self {
        let (id, tag) = (id.to_owned(), tag.to_owned());
        Self { path: format!("/{path}/"), id, tag, takes: NOTHING, gives, answer: String::new() }
    }

    fn item(self) -> PathItem {
        let answer = if self.answer.is_empty() { Answer::Text } else { Answer::Kind(self.answer.into()) };
        let operation = Operation {
            method: "get",
            id: self.id,
            tag: self.tag.into(),
            action: "",
            kind: None,
            consumes: self.takes,
            produces: self.gives,
            parameters: Vec::new(),
            body: None,
            answer,
            codes: &[200],
        };
        PathItem::new(self.path, vec![operation])
    }
}

/// The path of one of [`DOCUMENTS`], or of `apis/GROUP`.
pub(super) fn item(document: &str) -> PathItem {
    let plain = match document {
        "api" => Plain::discovery("api", "getCoreAPIVersions".into(), "core".into(), "APIVersions"),
        "apis" => Plain::discovery("apis", "getAPIVersions".into(), "apis".into(), "APIGroupList"),
        "version" => Plain {
            path: "/version/".into(),
            id: "getCodeVersion".into(),
            tag: "version".into(),
            takes: JSON,
            gives: JSON,
            answer: "io.k8s.apimachinery.pkg.version.Info".into(),
        },
        "openid/v1/jwks" => Plain::text(
            document,
            "getServiceAccountIssuerOpenIDKeyset",
            "openid",
            &["application/jwk-set+json"],
        ),
        ".well-known/openid-configuration" => {
            Plain::text(document, "getServiceAccountIssuerOpenIDConfiguration", "WellKnown", JSON)
        }
        _ => {
            let group = document.strip_prefix("apis/").unwrap_or(document);
            let id = format!("get{}APIGroup", camel(group));
            Plain::discovery(document, id, tag(group, None), "APIGroup")
        }
    };
    plain.item()
}

/// The list of a group-version's resources.
pub(super) fn resources(group: &str, version: &str) -> PathItem {
    let id = format!("get{}{}APIResources", camel(group), upper_first(version));
    let path = super::path_of(group, version);
    Plain::discovery(&path, id, tag(group, Some(version)), "APIResourceList").item()
}
