//! OpenAPI v2 and v3. Documents are made when somebody asks for one, compressed while they are written, kept as long as
//! they are asked for and forgotten then.
//!
//! Deliberately absent: protobuf of v3; ranges.

mod answer;
mod documents;
mod others;
mod v2;
mod v3;

use apimachinery::Status;
use http::Response;

use super::Asked;
use crate::endpoint::Body;

pub(crate) use documents::Documents;

/// None: the path is not one of OpenAPI.
pub(super) async fn serve(asked: &Asked<'_>) -> Option<Result<Response<Body>, Status>> {
    let path = asked.cx.info.path.as_str();
    if path == "/openapi/v2" {
        return Some(v2::document(asked).await);
    }
    let rest = path.strip_prefix("/openapi/v3")?;
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some(v3::index(asked).await),
        Some("") => Some(v3::index(asked).await),
        Some(document) => Some(v3::document(asked, document).await),
        None => None,
    }
}
