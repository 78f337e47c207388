//! Authorization: who may do what. `--authorization-mode` names RBAC, Node, AlwaysAllow and AlwaysDeny; members
//! of `system:masters` may everything.
//!
//! Left out: ABAC and Webhook modes and structured authorization configuration; asking for them is an error.

pub mod node;
pub mod rbac;

use std::sync::Arc;

use apiserver::auth::{Attributes, Authorizer, Decision};
use apiserver::request::UserInfo;
use apiserver::resource::Objects;
use async_trait::async_trait;

/// The group whose members no authorizer is asked about.
pub const SUPERUSERS: &str = "system:masters";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unknown authorization mode {0:?} specified")]
    UnknownMode(String),
    #[error("authorization mode {0} is not supported yet")]
    Unsupported(&'static str),
    #[error("authorization-mode {0:?} has mode specified more than once")]
    Duplicate(String),
    #[error("at least one authorization-mode must be passed")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    AlwaysAllow,
    AlwaysDeny,
    Rbac,
    Node,
}

/// The modes of the flag, in their order.
pub fn parse_modes<S: AsRef<str>>(names: &[S]) -> Result<Vec<Mode>, Error> {
    let mut modes = Vec::new();
    for name in names {
        let mode = match name.as_ref() {
            "AlwaysAllow" => Mode::AlwaysAllow,
            "AlwaysDeny" => Mode::AlwaysDeny,
            "RBAC" => Mode::Rbac,
            "Node" => Mode::Node,
            "ABAC" => return Err(Error::Unsupported("ABAC")),
            "Webhook" => return Err(Error::Unsupported("Webhook")),
            other => return Err(Error::UnknownMode(other.into())),
        };
        if modes.contains(&mode) {
            return Err(Error::Duplicate(name.as_ref().into()));
        }
        modes.push(mode);
    }
    if modes.is_empty() { Err(Error::None) } else { Ok(modes) }
}

enum Part {
    AlwaysAllow,
    AlwaysDeny,
    Rbac,
    Node(Arc<node::NodeAuthorizer>),
}

/// The union of the configured modes.
pub struct Authorization {
    parts: Vec<Part>,
    rbac: Arc<rbac::Rbac>,
}

/// What a user may do in a namespace, for SelfSubjectRulesReview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRules {
    pub rules: Vec<rbac::Rule>,
    /// Some authorizer cannot list its rules; its words.
    pub incomplete: Option<String>,
}

impl Authorization {
    /// Starts to watch what the modes need; [`Self::synced`] tells when they know all.
    pub fn new(modes: &[Mode], objects: &Arc<dyn Objects>) -> Arc<Self> {
        // The rules are indexed in any mode: writes of roles are checked against them.
        let rbac = rbac::Rbac::start(objects);
        let part = |mode: &Mode| match mode {
            Mode::AlwaysAllow => Part::AlwaysAllow,
            Mode::AlwaysDeny => Part::AlwaysDeny,
            Mode::Rbac => Part::Rbac,
            Mode::Node => Part::Node(node::NodeAuthorizer::start(objects)),
        };
        Arc::new(Self { parts: modes.iter().map(part).collect(), rbac })
    }

    pub fn rbac(&self) -> &Arc<rbac::Rbac> {
        &self.rbac
    }

    /// Returns when every index holds what was stored at the start.
    pub async fn synced(&self) {
        self.rbac.synced().await;
        for part in &self.parts {
            if let Part::Node(node) = part {
                node.synced().await;
            }
        }
    }

    /// Without waiting for anything: all authorizers work on memory.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group(SUPERUSERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for part in &self.parts {
            let (name, decision) = match part {
                Part::AlwaysAllow => ("alwaysallow", Decision::Allow(String::new())),
                Part::AlwaysDeny => ("alwaysdeny", Decision::NoOpinion("Everything is forbidden.".into())),
                Part::Rbac => ("rbac", self.rbac.decide(attributes)),
                Part::Node(node) => ("node", node.decide(attributes)),
            };
            match decision {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(format!("{name}: {reason}")),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        matches!(self.decide(attributes), Decision::Allow(_))
    }

    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> UserRules {
        let mut out = UserRules::default();
        for part in &self.parts {
            match part {
                Part::AlwaysAllow => out.rules.extend(rbac::Rule::everything()),
                Part::AlwaysDeny => {}
                Part::Rbac => out.rules.extend(self.rbac.rules_for(user, namespace)),
                // Only nodes have permissions that no rule says.
                Part::Node(_) if user.in_group("system:nodes") && user.name.starts_with("system:node:") => {
                    out.incomplete = Some("node authorizer does not support user rule resolution".into());
                }
                Part::Node(_) => {}
            }
        }
        out
    }
}

#[async_trait]
impl Authorizer for Authorization {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.decide(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(parse_modes(&["Node", "RBAC"]).unwrap(), [Mode::Node, Mode::Rbac]);
        assert!(matches!(parse_modes(&["ABAC"]), Err(Error::Unsupported("ABAC"))));
        assert!(matches!(parse_modes(&["Rbac"]), Err(Error::UnknownMode(_))));
        assert!(matches!(parse_modes(&["RBAC", "RBAC"]), Err(Error::Duplicate(_))));
        assert!(matches!(parse_modes::<&str>(&[]), Err(Error::None)));
    }
}
