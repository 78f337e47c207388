//! The libraries: the standard and Kubernetes' own functions, each in its own module, and the values that only
//! they make.

pub mod authorizer;
mod conversions;
mod lists;
mod named_format;
mod network;
pub(crate) mod numbers;
mod operators;
mod optional;
mod patch;
pub mod pattern;
mod quantity;
pub(crate) mod regex;
mod semver;
mod sets;
mod string_format;
mod strings;
pub(crate) mod time;
mod url;

use std::sync::Arc;

use apimachinery::Quantity;

use crate::functions::Declared;
use crate::types::Opaque;
use authorizer::{Authorizer, Decision, ResourceTarget};

use operators::contains;
pub(crate) use patch::PREFIX as PATCHES;
pub(crate) use regex::WithPattern;
pub(crate) use string_format::check as check_format;

/// Every function of every library.
pub(crate) fn declared() -> impl Iterator<Item = &'static Declared> {
    let all: [&'static [Declared]; 16] = [
        operators::DECLARED,
        conversions::DECLARED,
        time::DECLARED,
        optional::DECLARED,
        regex::DECLARED,
        strings::DECLARED,
        string_format::DECLARED,
        lists::DECLARED,
        sets::DECLARED,
        quantity::DECLARED,
        network::DECLARED,
        semver::DECLARED,
        url::DECLARED,
        named_format::DECLARED,
        authorizer::DECLARED,
        patch::DECLARED,
    ];
    all.into_iter().flatten()
}

/// Values of the libraries' own types.
pub enum Special {
    Quantity(Quantity),
    Url(url::Url),
    Ip(std::net::IpAddr),
    Cidr(network::Cidr),
    Semver(semver::Version),
    Format(named_format::Format),
    Authorizer(authorizer::Subject),
    PathCheck(authorizer::Subject, String),
    GroupCheck(authorizer::Subject, String),
    ResourceCheck(authorizer::Subject, Box<ResourceTarget>),
    Decision(Decision),
}

impl Special {
    pub(crate) fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self::Authorizer(authorizer::Subject { authorizer, service_account: None })
    }

    pub(crate) fn resource_check(authorizer: Arc<dyn Authorizer>, target: ResourceTarget) -> Self {
        let subject = authorizer::Subject { authorizer, service_account: None };
        Self::ResourceCheck(subject, Box::new(target))
    }

    pub(crate) fn opaque(&self) -> Opaque {
        match self {
            Self::Quantity(_) => Opaque::Quantity,
            Self::Url(_) => Opaque::Url,
            Self::Ip(_) => Opaque::Ip,
            Self::Cidr(_) => Opaque::Cidr,
            Self::Semver(_) => Opaque::Semver,
            Self::Format(_) => Opaque::Format,
            Self::Authorizer(_) => Opaque::Authorizer,
            Self::PathCheck(..) => Opaque::PathCheck,
            Self::GroupCheck(..) => Opaque::GroupCheck,
            Self::ResourceCheck(..) => Opaque::ResourceCheck,
            Self::Decision(_) => Opaque::Decision,
        }
    }

    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a == b,
            (Self::Format(a), Self::Format(b)) => a == b,
            (Self::Decision(a), Self::Decision(b)) => a == b,
            _ => false,
        }
    }

    /// Elements for the cost of what goes through it.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(ip) => {
                if ip.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Cidr(cidr) => u64::from(cidr.bits.div_ceil(8)),
            _ => 1,
        }
    }
}

impl std::fmt::Debug for Special {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quantity(q) => write!(f, "{q}"),
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Cidr(cidr) => write!(f, "{cidr}"),
            other => f.write_str(other.opaque().name()),
        }
    }
}
