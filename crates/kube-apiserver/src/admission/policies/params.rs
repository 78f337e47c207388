//! Parameters of policies: the kind that a policy names, found among the served ones, and the objects that a binding
//! picks. They are read from the watch caches that the server has anyway.

use std::sync::Arc;
use std::sync::OnceLock;

use api::Value;
use apimachinery::labels::{LabelSelector, Selector};
use apimachinery::{GroupVersion, GroupVersionKind, GroupVersionResource, Reason, Status};
use apiserver::resource::Objects;

/// `paramKind` of a policy.
#[derive(Debug)]
pub struct ParamKind {
    /// Err: no group and version.
    kind: Result<GroupVersionKind, String>,
    /// Found when it is first needed: the definition of a custom kind may come after the policy.
    found: OnceLock<(GroupVersionResource, bool)>,
}

/// `paramRef` of a binding.
#[derive(Debug)]
pub struct ParamRef {
    name: String,
    namespace: String,
    /// Err: why it does not parse.
    selector: Option<Result<Selector, String>>,
    deny_when_missing: bool,
}

/// One parameter; None: the expression gets null.
pub type Param = Option<Arc<Value>>;

impl ParamKind {
    pub fn of(policy: &Value) -> Option<Self> {
        let of = policy.at(&["spec", "paramKind"]).filter(|kind| !kind.is_null())?;
        let kind = GroupVersionKind::from_api_version(of.str_at(&["apiVersion"]), of.str_at(&["kind"]));
        Some(Self { kind: kind.map_err(|why| why.to_string()), found: OnceLock::new() })
    }

    /// The resource and whether it is namespaced. Errors, as upstream's: nothing of this kind is served.
    pub fn resource(&self, objects: &dyn Objects) -> Result<&(GroupVersionResource, bool), String> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let kind = self.kind.as_ref().map_err(Clone::clone)?;
        let found = objects.resource_of(kind).ok_or_else(|| {
            let GroupVersionKind { group, version, kind } = kind;
            format!("failed to find resource referenced by paramKind: '{group}/{version}, Kind={kind}'")
        })?;
        Ok(self.found.get_or_init(|| found))
    }
}

impl ParamRef {
    pub fn of(binding: &Value) -> Option<Self> {
        let of = binding.at(&["spec", "paramRef"]).filter(|r| !r.is_null())?;
        let selector = of.get("selector").filter(|s| !s.is_null()).map(|s| {
            let parsed: LabelSelector = s.view().map_err(|e| e.to_string())?;
            parsed.selector().map_err(|e| e.to_string())
        });
        Some(Self {
            name: of.str_at(&["name"]).to_owned(),
            namespace: of.str_at(&["namespace"]).to_owned(),
            selector,
            deny_when_missing: of.str_at(&["parameterNotFoundAction"]) == "Deny",
        })
    }
}

/// The parameters with which a binding asks its policy about a request in `namespace`. Errors, in upstream's words,
/// count by the failure policy.
pub async fn collect(
    objects: &dyn Objects,
    kind: Option<&ParamKind>,
    param_ref: Option<&ParamRef>,
    namespace: &str,
) -> Result<Vec<Param>, String> {
    let (Some(kind), Some(by)) = (kind, param_ref) else { return Ok(vec![None]) };
    let (resource, namespaced) = kind.resource(objects)?;
    let namespace = match (*namespaced, by.namespace.as_str(), namespace) {
        (true, "", "") => {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .into(),
            );
        }
        (true, "", of_request) => of_request,
        (true, given, _) => given,
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
    };
    let found = match (&by.selector, by.name.as_str()) {
        (None, "") => return Err("one of name or selector must be provided".into()),
        (Some(_), name) if !name.is_empty() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".into());
        }
        (None, name) => by_name(objects, resource, namespace, name).await?,
        (Some(selector), _) => {
            by_selector(objects, resource, namespace, selector.as_ref().map_err(Clone::clone)?).await?
        }
    };
    if found.is_empty() && by.deny_when_missing {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found)
}

/// From the cache; what is not there yet, from the store.
async fn by_name(
    objects: &dyn Objects,
    resource: &GroupVersionResource,
    namespace: &str,
    name: &str,
) -> Result<Vec<Param>, String> {
    let cached = objects.get(&resource.group_resource(), namespace, name);
    let found = match cached {
        Some(found) => found,
        None => match objects.get_latest(&resource.group_resource(), namespace, name).await {
            Ok(found) => found,
            Err(status) if status.is(Reason::NotFound) => return Ok(Vec::new()),
            Err(status) => return Err(status.message.clone()),
        },
    };
    Ok(vec![Some(in_version(objects, resource, found.value).await?)])
}

async fn by_selector(
    objects: &dyn Objects,
    resource: &GroupVersionResource,
    namespace: &str,
    selector: &Selector,
) -> Result<Vec<Param>, String> {
    let mut all = objects.list(&resource.group_resource(), namespace);
    all.retain(|object| selector.matches(|key| object.value.meta().label(key)));
    all.sort_by(|a, b| {
        let key = |o: &Value| (o.namespace().to_owned(), o.name().to_owned());
        key(&a.value).cmp(&key(&b.value))
    });
    let mut out = Vec::with_capacity(all.len());
    for object in all {
        out.push(Some(in_version(objects, resource, object.value).await?));
    }
    Ok(out)
}

/// As the policy names the kind, which need not be the version in which it is stored.
async fn in_version(
    objects: &dyn Objects,
    resource: &GroupVersionResource,
    object: Arc<Value>,
) -> Result<Arc<Value>, String> {
    let wanted = resource.group_version();
    let stored: Result<GroupVersion, _> = object.api_version().parse();
    match stored {
        Ok(stored) if stored != wanted => {
            let from = stored.with_resource(resource.resource.clone());
            let converted: Result<Value, Status> =
                objects.convert(&from, Arc::unwrap_or_clone(object), &wanted).await;
            converted.map(Arc::new).map_err(|status| status.message.clone())
        }
        _ => Ok(object),
    }
}
