//! The libraries: functions beyond the standard, each in its own module.

use std::sync::Arc;

pub mod authorizer;

use authorizer::{Authorizer, ResourceTarget};

/// Values of the libraries' own types.
pub enum Special {
    Authorizer(Arc<dyn Authorizer>),
    ResourceCheck(Arc<dyn Authorizer>, ResourceTarget),
}

impl Special {
    pub(crate) fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self::Authorizer(authorizer)
    }

    pub(crate) fn resource_check(authorizer: Arc<dyn Authorizer>, target: ResourceTarget) -> Self {
        Self::ResourceCheck(authorizer, target)
    }
}

impl std::fmt::Debug for Special {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("special")
    }
}
