//! One webhook of a configuration: what it wants to hear of, and where it is.

use api::Value;
use policy::Conditions;

use super::call::Target;
use crate::admission::criteria::Criteria;
use crate::authn::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideEffects {
    None,
    NoneOnDryRun,
    Other,
}

fn strings(value: &Value, field: &str) -> Vec<String> {
    value.list_at(&[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A mutating, validating or conversion webhook.
#[derive(Debug)]
pub struct Hook {
    pub name: String,
    /// Of the configuration object.
    pub configuration: String,
    /// Which requests it wants.
    pub criteria: Criteria,
    /// Which of these are meant.
    pub conditions: Conditions,
    /// `failurePolicy: Ignore`.
    pub ignore_failure: bool,
    pub side_effects: SideEffects,
    /// `reinvocationPolicy: IfNeeded`.
    pub reinvoke: bool,
    pub timeout: std::time::Duration,
    /// The first of `admissionReviewVersions` that we speak.
    pub review_version: Option<String>,
    pub target: Target,
}

impl Hook {
    fn of(configuration: &str, webhook: &Value) -> Result<Self, Error> {
        let spoken = |v: &&String| matches!(v.as_str(), "v1" | "v1beta1");
        let seconds = webhook.int_at(&["timeoutSeconds"]).filter(|s| (1..=30).contains(s)).unwrap_or(10);
        Ok(Self {
            name: webhook.str_at(&["name"]).to_owned(),
            configuration: configuration.to_owned(),
            criteria: Criteria::of_webhook(webhook).map_err(Error::Config)?,
            conditions: Conditions::compile(webhook.list_at(&["matchConditions"]), false),
            ignore_failure: webhook.str_at(&["failurePolicy"]) == "Ignore",
            side_effects: match webhook.str_at(&["sideEffects"]) {
                "None" => SideEffects::None,
                "NoneOnDryRun" => SideEffects::NoneOnDryRun,
                _ => SideEffects::Other,
            },
            reinvoke: webhook.str_at(&["reinvocationPolicy"]) == "IfNeeded",
            timeout: std::time::Duration::from_secs(seconds.unsigned_abs()),
            review_version: strings(webhook, "admissionReviewVersions").iter().find(spoken).cloned(),
            target: Target::of(webhook.get("clientConfig").unwrap_or(&Value::Null)),
        })
    }

    /// The hooks of a configuration; those that cannot be understood are left out with a warning.
    pub fn all_of(configuration: &Value) -> Vec<Self> {
        let name = configuration.name();
        let hook = |webhook: &Value| {
            Self::of(name, webhook)
                .inspect_err(|error| tracing::warn!(configuration = name, %error, "a webhook is left out"))
                .ok()
        };
        configuration.list_at(&["webhooks"]).iter().filter_map(hook).collect()
    }
}
