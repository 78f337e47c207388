//! Service account tokens: signing (TokenRequest), verification, and the two discovery documents.
//!
//! Left out: signing by an external gRPC signer (`--service-account-signing-endpoint`), keys on P-521 (ring has no
//! such curve).

pub mod claims;
pub mod discovery;
pub mod issue;
pub mod verify;

pub use claims::{Claims, Private, Reference};
pub use component_base::jws::{Algorithm, Keys, PublicKey, SigningKey};
pub use issue::{Bound, Issuer, TokenRequest};
pub use verify::ServiceAccounts;

/// `system:serviceaccount:`: how the user name of a service account begins.
pub const USERNAME_PREFIX: &str = "system:serviceaccount:";

/// The user name of a service account.
pub fn username(namespace: &str, name: &str) -> String {
    format!("{USERNAME_PREFIX}{namespace}:{name}")
}

/// Namespace and name out of a service account's user name.
pub fn split_username(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(USERNAME_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests;
