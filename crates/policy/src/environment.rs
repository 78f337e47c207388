//! The variables that admission declares: `object`, `oldObject`, `request`, `namespaceObject`, and where they are
//! asked for `params`, `authorizer` and the types of patches. What they hold is untyped but for the two structs.

use std::sync::LazyLock;

use cel::{Builder, Environment, Kind, Object, Opaque, Schema, Type};

/// Which variables an expression may use beside those that are always there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`.
    pub authorizer: bool,
    /// `Object`, `JSONPatch` and `jsonpatch.escapeKey`.
    pub patch: bool,
}

impl Declared {
    fn index(self) -> usize {
        usize::from(self.params) | usize::from(self.authorizer) << 1 | usize::from(self.patch) << 2
    }

    fn of_index(index: usize) -> Self {
        Self { params: index & 1 != 0, authorizer: index & 2 != 0, patch: index & 4 != 0 }
    }
}

static UNTYPED: LazyLock<[Environment; 8]> =
    LazyLock::new(|| std::array::from_fn(|index| untyped_of(Declared::of_index(index))));

/// With untyped objects and parameters, as requests are judged.
pub(crate) fn untyped(declared: Declared) -> &'static Environment {
    &UNTYPED[declared.index()]
}

fn untyped_of(declared: Declared) -> Environment {
    let mut builder = structs().variable("object", Schema::any()).variable("oldObject", Schema::any());
    if declared.params {
        builder = builder.variable("params", Schema::any());
    }
    if declared.authorizer {
        builder = builder
            .variable("authorizer", Type::Opaque(Opaque::Authorizer))
            .variable("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck));
    }
    if declared.patch {
        builder = builder.patches();
    }
    builder.build()
}

/// With the types of what a policy is about; None where a type is not known. `params` is declared where the outer
/// option says so.
pub(crate) fn typed(object: Option<&Schema>, params: Option<Option<&Schema>>) -> Environment {
    let or_any = |schema: Option<&Schema>| schema.cloned().unwrap_or_else(Schema::any);
    let mut builder = structs().variable("object", or_any(object)).variable("oldObject", or_any(object));
    if let Some(params) = params {
        builder = builder.variable("params", or_any(params));
    }
    builder.variable("authorizer", Type::Opaque(Opaque::Authorizer)).build()
}

fn structs() -> Builder {
    Environment::builder()
        .variable("request", Schema::object(request()))
        .variable("namespaceObject", Schema::object(namespace()))
}

fn texts(name: &str, fields: &[&'static str]) -> Schema {
    Schema::object(Object::new(name, fields.iter().map(|field| (*field, Schema::string()))))
}

fn list() -> Schema {
    Schema::list(Schema::string())
}

fn request() -> Object {
    let kind = || texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = || texts("kubernetes.GroupVersionResource", &["group", "version", "resource"]);
    let user = Object::new(
        "kubernetes.UserInfo",
        [
            ("username", Schema::string()),
            ("uid", Schema::string()),
            ("groups", list()),
            ("extra", Schema::map(list())),
        ],
    );
    Object::new(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", Schema::string()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", Schema::string()),
            ("name", Schema::string()),
            ("namespace", Schema::string()),
            ("operation", Schema::string()),
            ("userInfo", Schema::object(user)),
            ("dryRun", Schema::new(Kind::Bool)),
            ("options", Schema::any()),
        ],
    )
}

fn namespace() -> Object {
    let time = || Schema::new(Kind::Timestamp);
    let condition = Object::new(
        "kubernetes.NamespaceCondition",
        [
            ("status", Schema::string()),
            ("type", Schema::string()),
            ("lastTransitionTime", time()),
            ("message", Schema::string()),
            ("reason", Schema::string()),
        ],
    );
    let status = Object::new(
        "kubernetes.NamespaceStatus",
        [("conditions", Schema::list(Schema::object(condition))), ("phase", Schema::string())],
    );
    Object::new(
        "kubernetes.Namespace",
        [
            ("metadata", Schema::object(namespace_metadata())),
            ("spec", Schema::object(Object::new("kubernetes.NamespaceSpec", [("finalizers", list())]))),
            ("status", Schema::object(status)),
        ],
    )
}

fn namespace_metadata() -> Object {
    let (time, text) = (|| Schema::new(Kind::Timestamp), Schema::string);
    Object::new(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", Schema::map(text())),
            ("annotations", Schema::map(text())),
            ("UID", text()),
            ("creationTimestamp", time()),
            ("deletionGracePeriodSeconds", Schema::new(Kind::Int)),
            ("deletionTimestamp", time()),
            ("generation", Schema::new(Kind::Int)),
            ("resourceVersion", text()),
            ("finalizers", list()),
        ],
    )
}
