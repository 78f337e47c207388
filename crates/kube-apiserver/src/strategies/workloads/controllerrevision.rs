//! ControllerRevisions: history of StatefulSets and DaemonSets.

use api::Value;
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::cells;
use super::super::fields::{Fields, map_at};

pub struct ControllerRevision;

#[async_trait]
impl Strategy for ControllerRevision {
    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        if object.get("data").is_none_or(Value::is_null) {
            errors.push(Error::required(&Path::new("data"), "data is mandatory"));
        }
        super::super::validation::non_negative(
            &mut errors,
            object.int_at(&["revision"]).unwrap_or(0),
            &Path::new("revision"),
        );
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(cx, object);
        errors.extend(super::super::validation::immutable(object, old, &["data"]));
        errors
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let controller =
            map_at(object, &["metadata"]).items("ownerReferences").find(|o| o.flag("controller"));
        let owner = match controller {
            Some(o) => {
                let group =
                    o.text("apiVersion").rsplit_once('/').map(|(g, _)| format!(".{g}")).unwrap_or_default();
                format!("{}{group}/{}", o.text("kind").to_lowercase(), o.text("name"))
            }
            None => "<none>".into(),
        };
        Some(vec![
            cells::name(object),
            owner.into(),
            cells::int(object, &["revision"]).clone(),
            cells::age(object, now),
        ])
    }
}
