//! Priority: a pod's priority class becomes its priority and preemption policy; one class at most is the default.

use std::sync::Arc;

use api::Value;
use apimachinery::Status;
use apiserver::admission::{Attributes, Operation, Plugin};
use apiserver::resource::Objects;
use async_trait::async_trait;

use super::context::{PRIORITY_CLASSES, forbidden, is, is_pod};

pub struct Priority {
    objects: Arc<dyn Objects>,
}

struct Class {
    name: String,
    value: i64,
    policy: Option<String>,
}

impl Class {
    fn of(object: &Value) -> Self {
        let policy = object.str_at(&["preemptionPolicy"]);
        Self {
            name: object.name().to_owned(),
            value: object.int_at(&["value"]).unwrap_or(0),
            policy: (!policy.is_empty()).then(|| policy.to_owned()),
        }
    }
}

impl Priority {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// The lowest of the global defaults, as several can exist for a while.
    fn default_class(&self) -> Class {
        let classes = self.objects.list(&PRIORITY_CLASSES, "");
        let defaults = classes.iter().filter(|c| c.value.bool_at(&["globalDefault"]) == Some(true));
        let lowest = defaults.map(|c| Class::of(&c.value)).min_by_key(|c| c.value);
        lowest.unwrap_or(Class { name: String::new(), value: 0, policy: Some("PreemptLowerPriority".into()) })
    }

    async fn class(&self, a: &Attributes<'_>, name: &str) -> Result<Class, Status> {
        if name.is_empty() {
            return Ok(self.default_class());
        }
        if let Some(found) = self.objects.get(&PRIORITY_CLASSES, "", name) {
            return Ok(Class::of(&found.value));
        }
        let found = self.objects.get_latest(&PRIORITY_CLASSES, "", name).await;
        found
            .map(|c| Class::of(&c.value))
            .map_err(|_| forbidden(a, format!("no PriorityClass with name {name} was found")))
    }

    async fn create(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        let asked = a.object.as_ref().map_or("", |pod| pod.str_at(&["spec", "priorityClassName"])).to_owned();
        let class = self.class(a, &asked).await?;
        let given = |field: &str| a.object.as_ref().and_then(|pod| pod.at(&["spec", field]));
        let computed = class.value;
        if let Some(value) = given("priority").and_then(Value::as_int).filter(|v| *v != computed) {
            return Err(forbidden(
                a,
                format!(
                    "the integer value of priority ({value}) must not be provided in pod spec; priority admission controller \
                 computed {computed} from the given PriorityClass name"
                ),
            ));
        }
        if let Some(policy) = &class.policy
            && let Some(value) = given("preemptionPolicy").and_then(Value::as_str).filter(|v| v != policy)
        {
            return Err(forbidden(
                a,
                format!(
                    "the string value of PreemptionPolicy ({value}) must not be provided in pod spec; priority admission \
                     controller computed {policy} from the given PriorityClass name"
                ),
            ));
        }
        let Some(pod) = &mut a.object else { return Ok(()) };
        if asked.is_empty() && !class.name.is_empty() {
            pod.set_at(&["spec", "priorityClassName"], class.name);
        }
        pod.set_at(&["spec", "priority"], class.value);
        if let Some(policy) = class.policy {
            pod.set_at(&["spec", "preemptionPolicy"], policy);
        }
        Ok(())
    }
}

/// What was set on create stays when an update leaves it out.
fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod.at(&["spec", field]).is_none_or(Value::is_null)
            && let Some(value) = old.at(&["spec", field])
        {
            pod.set_at(&["spec", field], value.clone());
        }
    }
}

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, a: &mut Attributes<'_>) -> Result<(), Status> {
        if !is_pod(a) || a.object.is_none() {
            return Ok(());
        }
        if a.operation == Operation::Create {
            return self.create(a).await;
        }
        if let (Some(pod), Some(old)) = (&mut a.object, &a.old_object) {
            keep(pod, old);
        }
        Ok(())
    }

    async fn validate(&self, a: &Attributes<'_>) -> Result<(), Status> {
        let Some(class) = a.object.as_ref().filter(|_| is(a, "scheduling.k8s.io", "priorityclasses", ""))
        else {
            return Ok(());
        };
        if class.bool_at(&["globalDefault"]) != Some(true) {
            return Ok(());
        }
        let present = self.default_class().name;
        if present.is_empty() || present == class.name() {
            return Ok(());
        }
        Err(forbidden(
            a,
            format!("PriorityClass {present} is already marked as default. Only one default can exist"),
        ))
    }
}
