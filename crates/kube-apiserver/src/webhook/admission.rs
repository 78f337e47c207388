//! x
use super::Webhooks;
use apiserver::admission::{Operation, Plugin};
use std::sync::Arc;
pub struct Mutating;
impl Mutating {
    pub fn new(_: Arc<Webhooks>) -> Self {
        Self
    }
}
impl Plugin for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }
    fn handles(&self, _: Operation) -> bool {
        false
    }
}
pub struct Validating;
impl Validating {
    pub fn new(_: Arc<Webhooks>) -> Self {
        Self
    }
}
impl Plugin for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }
    fn handles(&self, _: Operation) -> bool {
        false
    }
}
