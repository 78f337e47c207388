//! What becomes of a Secret of the type `kubernetes.io/service-account-token`.

use client::ObjectMeta;

use crate::views::{ServiceAccount, TokenSecret};

pub const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
pub const TOKEN: &str = "token";
pub const AUTHORITIES: &str = "ca.crt";
pub const NAMESPACE: &str = "namespace";

#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    Nothing,
    /// Its account is gone, or is another one by now.
    Delete,
    /// These keys of `data` are to be written, and the account's uid.
    Fill(Vec<&'static str>),
}

impl TokenSecret {
    /// The name of the account that the token is for.
    pub fn account(&self) -> Option<&str> {
        self.metadata.annotations.get(ACCOUNT_NAME).filter(|name| !name.is_empty())
    }

    /// Whether the Secret is for this account: the uid may be missing, and says more than the name where it is not.
    fn is_for(&self, account: &ObjectMeta) -> bool {
        let uid = self.metadata.annotations.get(ACCOUNT_UID).filter(|uid| !uid.is_empty());
        uid.is_none_or(|uid| account.uid == uid)
    }
}

/// `account`: the one of the Secret's name, if there is one. `authorities`: base64.
pub fn plan(secret: &TokenSecret, account: Option<&ServiceAccount>, authorities: Option<&str>) -> Plan {
    let Some(account) = account.filter(|account| secret.is_for(&account.metadata)) else {
        return Plan::Delete;
    };
    if secret.metadata.is_being_deleted() || account.metadata.is_being_deleted() {
        return Plan::Nothing;
    }
    let holds = |key: &str| secret.data.get(key).is_some_and(|value| !value.is_empty());
    let mut missing = Vec::new();
    if authorities.is_some_and(|new| secret.data.get(AUTHORITIES).is_none_or(|old| old != new)) {
        missing.push(AUTHORITIES);
    }
    missing.extend([NAMESPACE, TOKEN].into_iter().filter(|key| !holds(key)));
    if missing.is_empty() { Plan::Nothing } else { Plan::Fill(missing) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(uid: &str, data: serde_json::Value) -> TokenSecret {
        let annotations = json!({ACCOUNT_NAME: "robot", ACCOUNT_UID: uid});
        serde_json::from_value(json!({"metadata": {"name": "s", "annotations": annotations}, "data": data}))
            .unwrap()
    }

    #[test]
    fn secrets_are_filled_while_their_account_is_there() {
        let account = |uid: &str| -> ServiceAccount {
            serde_json::from_value(json!({"metadata": {"name": "robot", "uid": uid}})).unwrap()
        };
        let robot = account("1");
        let full = json!({TOKEN: "eA==", AUTHORITIES: "Q0E=", NAMESPACE: "bg=="});
        let planned = |secret: &TokenSecret, account| plan(secret, account, Some("Q0E="));
        let empty = secret("", json!({}));
        assert_eq!(planned(&empty, Some(&robot)), Plan::Fill(vec![AUTHORITIES, NAMESPACE, TOKEN]));
        assert_eq!(plan(&empty, Some(&robot), None), Plan::Fill(vec![NAMESPACE, TOKEN]));
        assert_eq!(planned(&secret("1", full.clone()), Some(&robot)), Plan::Nothing);
        let renewed = plan(&secret("1", full.clone()), Some(&robot), Some("bmV3"));
        assert_eq!(renewed, Plan::Fill(vec![AUTHORITIES]));
        assert_eq!(planned(&secret("1", full.clone()), None), Plan::Delete);
        assert_eq!(planned(&secret("1", full), Some(&account("2"))), Plan::Delete);
    }
}
