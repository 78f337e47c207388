//! StatefulSets.

use api::{Map, Value};
use apimachinery::field::{Error, ErrorList, Path};
use apiserver::request::RequestContext;
use apiserver::strategy::Strategy;
use async_trait::async_trait;
use jiff::Timestamp;

use super::super::fields::{self, Fields};
use super::super::storage::persistentvolumeclaim;
use super::super::{cells, pod, validation};

pub struct StatefulSet;

/// Fields of the spec that an update may change.
const MUTABLE: [&str; 8] = [
    "replicas",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "podManagementPolicy",
];

const IMMUTABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

#[async_trait]
impl Strategy for StatefulSet {
    fn default(&self, _version: &str, object: &mut Map) {
        if let Some(spec) = object.sub_mut("spec") {
            spec.default("podManagementPolicy", "OrderedReady");
            let update = spec.map_mut("updateStrategy");
            update.default("type", "RollingUpdate");
            if update.text("type") == "RollingUpdate" {
                let rolling = update.map_mut("rollingUpdate");
                rolling.default("partition", 0i64);
                rolling.default("maxUnavailable", 1i64);
            }
            let retention = spec.map_mut("persistentVolumeClaimRetentionPolicy");
            retention.default("whenDeleted", "Retain");
            retention.default("whenScaled", "Retain");
            spec.default("replicas", 1i64);
            spec.default("revisionHistoryLimit", 10i64);
            for claim in spec.items_mut("volumeClaimTemplates") {
                persistentvolumeclaim::defaults(claim);
                claim.default("apiVersion", "v1");
                claim.default("kind", "PersistentVolumeClaim");
            }
        }
        pod::defaults::template_of(object);
    }

    fn prepare_for_create(&self, _cx: &RequestContext, object: &mut Map) {
        object.insert("status", Value::map());
        fields::first_generation(object);
    }

    fn prepare_for_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_status_count_spec(object, old);
    }

    fn prepare_for_status_update(&self, _cx: &RequestContext, object: &mut Map, old: &Map) {
        fields::keep_all_but_status(object, old);
    }

    fn validate(&self, _cx: &RequestContext, object: &Value) -> ErrorList {
        let mut errors = super::validate_workload(
            object,
            &super::Rules { restart: &["Always"], ..super::Rules::default() },
        );
        let (spec, path) = (fields::map_at(object, &["spec"]), Path::new("spec"));
        match spec.text("podManagementPolicy") {
            "" => errors.push(Error::required(&path.child("podManagementPolicy"), "")),
            "OrderedReady" | "Parallel" => {}
            other => errors.push(Error::invalid(
                &path.child("podManagementPolicy"),
                other,
                "must be 'OrderedReady' or 'Parallel'",
            )),
        }
        let update = path.child("updateStrategy");
        let strategy = fields::map_at(object, &["spec", "updateStrategy"]);
        match strategy.text("type") {
            "" => errors.push(Error::required(&update, "")),
            "OnDelete" if strategy.has("rollingUpdate") => {
                let number = |name: &str| {
                    cells::int_or_string(strategy.sub("rollingUpdate").and_then(|r| r.get(name)), "null")
                };
                let (partition, max) = (number("partition"), number("maxUnavailable"));
                let shown =
                    validation::Verbatim(format!("{{\"Partition\":{partition},\"MaxUnavailable\":{max}}}"));
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(Error::invalid(&update.child("rollingUpdate"), &shown, why));
            }
            "OnDelete" | "RollingUpdate" => {}
            other => {
                let shown = validation::Verbatim(format!("{{\"Type\":{other:?},\"RollingUpdate\":null}}"));
                errors.push(Error::invalid(&update, &shown, "must be 'RollingUpdate' or 'OnDelete'"));
            }
        }
        errors
    }

    fn validate_update(&self, cx: &RequestContext, object: &Value, old: &Value) -> ErrorList {
        let mut errors = self.validate(cx, object);
        let rest = |o: &Value| {
            let mut spec = fields::map_at(o, &["spec"]).clone();
            spec.retain(|k, v| !MUTABLE.contains(&k.as_str()) && !v.is_null());
            spec
        };
        for name in ["podManagementPolicy", "selector", "serviceName", "volumeClaimTemplates"] {
            errors.extend(validation::immutable(object, old, &["spec", name]));
        }
        if errors.is_empty() && rest(object) != rest(old) {
            errors.push(Error::forbidden(&Path::new("spec"), IMMUTABLE));
        }
        errors
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
        let desired = object.int_at(&["spec", "replicas"]).unwrap_or(0);
        let ready = object.int_at(&["status", "readyReplicas"]).unwrap_or(0);
        let [names, images] = cells::template_containers(object);
        Some(vec![
            cells::name(object),
            format!("{ready}/{desired}").into(),
            cells::age(object, now),
            names,
            images,
        ])
    }
}
