//! What is known of a request before its body is read: who asks for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The identity that authentication found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The identity of the server's own calls: member of `system:masters`.
    pub fn loopback() -> Self {
        Self { name: "system:apiserver".into(), groups: vec!["system:masters".into()], ..Self::default() }
    }
}

/// What the request line says, as upstream's `RequestInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub is_resource: bool,
    pub path: String,
    /// For resources: get, list, watch, create, update, patch, delete, deletecollection, (connect is spelled by
    /// its HTTP method's verb, as upstream authorizes it). For others: the lower-case HTTP method.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// The path after the resource: [resource, name, subresource, ...rest].
    pub parts: Vec<String>,
    pub label_selector: String,
    pub field_selector: String,
}

/// One request on its way through the server. Shared by reference with strategies and admission.
#[derive(Debug)]
pub struct RequestContext {
    pub info: RequestInfo,
    pub user: Arc<UserInfo>,
    pub dry_run: bool,
    /// `fieldManager` of the request, or what upstream derives from the user agent.
    pub field_manager: String,
    pub user_agent: String,
    pub audit_id: String,
    /// When the request came; the `now` of every time that is written into its object.
    pub now: jiff::Timestamp,
    /// `Warning` headers of the answer.
    pub warnings: Warnings,
}

impl RequestContext {
    /// Of the server's own work at `now`, as its loopback user; `fieldManager` is the server's own.
    pub fn internal(now: jiff::Timestamp) -> Self {
        Self {
            info: RequestInfo::default(),
            user: Arc::new(UserInfo::loopback()),
            dry_run: false,
            field_manager: "kube-apiserver".into(),
            user_agent: String::new(),
            audit_id: String::new(),
            now,
            warnings: Warnings::default(),
        }
    }
}

/// Collects warnings for the caller; a text given twice is sent once.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut list = self.0.lock();
        if !list.contains(&text) {
            list.push(text);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}
