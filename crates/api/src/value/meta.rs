//! An object's metadata by name, where a path of strings would be noise.

use super::{Map, Value};

/// A reading view of `metadata`; "" and empty where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a>(Option<&'a Map>);

/// One entry of `ownerReferences`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerRef<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub controller: bool,
    pub block_owner_deletion: bool,
}

impl<'a> Meta<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0?.get(key)
    }

    fn text(self, key: &str) -> &'a str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn name(self) -> &'a str {
        self.text("name")
    }

    pub fn generate_name(self) -> &'a str {
        self.text("generateName")
    }

    pub fn namespace(self) -> &'a str {
        self.text("namespace")
    }

    pub fn uid(self) -> &'a str {
        self.text("uid")
    }

    pub fn resource_version(self) -> &'a str {
        self.text("resourceVersion")
    }

    /// 0 where the kind counts none.
    pub fn generation(self) -> i64 {
        self.get("generation").and_then(Value::as_int).unwrap_or(0)
    }

    /// RFC 3339.
    pub fn creation_timestamp(self) -> &'a str {
        self.text("creationTimestamp")
    }

    /// RFC 3339; None for an object that is not being deleted.
    pub fn deletion_timestamp(self) -> Option<&'a str> {
        self.get("deletionTimestamp").and_then(Value::as_str)
    }

    pub fn deletion_grace_period_seconds(self) -> Option<i64> {
        self.get("deletionGracePeriodSeconds").and_then(Value::as_int)
    }

    pub fn labels(self) -> Option<&'a Map> {
        self.get("labels").and_then(Value::as_map)
    }

    pub fn annotations(self) -> Option<&'a Map> {
        self.get("annotations").and_then(Value::as_map)
    }

    pub fn label(self, key: &str) -> Option<&'a str> {
        self.labels()?.get(key)?.as_str()
    }

    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.annotations()?.get(key)?.as_str()
    }

    pub fn finalizers(self) -> impl Iterator<Item = &'a str> {
        self.list("finalizers").iter().filter_map(Value::as_str)
    }

    pub fn has_finalizer(self, name: &str) -> bool {
        self.finalizers().any(|f| f == name)
    }

    pub fn owners(self) -> impl Iterator<Item = OwnerRef<'a>> {
        self.list("ownerReferences").iter().map(|o| OwnerRef {
            api_version: o.str_at(&["apiVersion"]),
            kind: o.str_at(&["kind"]),
            name: o.str_at(&["name"]),
            uid: o.str_at(&["uid"]),
            controller: o.bool_at(&["controller"]).unwrap_or(false),
            block_owner_deletion: o.bool_at(&["blockOwnerDeletion"]).unwrap_or(false),
        })
    }

    /// The owner that manages the object.
    pub fn controller(self) -> Option<OwnerRef<'a>> {
        self.owners().find(|o| o.controller)
    }

    pub fn managed_fields(self) -> &'a [Value] {
        self.list("managedFields")
    }

    fn list(self, key: &str) -> &'a [Value] {
        self.get(key).and_then(Value::as_list).unwrap_or_default()
    }
}

impl Value {
    pub fn meta(&self) -> Meta<'_> {
        Meta(self.get("metadata").and_then(Value::as_map))
    }

    /// `metadata`, made if it is not there.
    pub fn meta_mut(&mut self) -> &mut Map {
        self.as_map_or_make().map_mut("metadata")
    }

    pub fn name(&self) -> &str {
        self.meta().name()
    }

    pub fn namespace(&self) -> &str {
        self.meta().namespace()
    }

    pub fn uid(&self) -> &str {
        self.meta().uid()
    }

    pub fn kind(&self) -> &str {
        self.str_at(&["kind"])
    }

    pub fn api_version(&self) -> &str {
        self.str_at(&["apiVersion"])
    }
}

impl Map {
    pub fn meta(&self) -> Meta<'_> {
        Meta(self.get("metadata").and_then(Value::as_map))
    }
}
