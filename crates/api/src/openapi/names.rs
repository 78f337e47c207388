//! Names in documents: what operations and tags are called.

pub(super) fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Letters and digits alone; each sign in between makes the next letter great. A digit does not begin it.
fn identifier(text: &str, mut great: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.chars().enumerate() {
        if !(c.is_alphabetic() || c == '_' || at != 0 && c.is_numeric()) {
            great = true;
        } else if std::mem::take(&mut great) {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn own(group: &str) -> &str {
    if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) }
}

/// A group in ids: `Apps`, `Core`, `RbacAuthorization`, `ExampleCom`.
pub(super) fn camel(group: &str) -> String {
    identifier(own(group), true)
}

/// `apps_v1`, `core_v1`, `rbacAuthorization_v1`; of a group alone `apps`.
pub(super) fn tag(group: &str, version: Option<&str>) -> String {
    let group = identifier(own(group), false);
    version.map_or(group.clone(), |v| format!("{group}_{}", identifier(v, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        for (group, great, small) in [
            ("", "Core", "core_v1"),
            ("apps", "Apps", "apps_v1"),
            ("flowcontrol.apiserver.k8s.io", "FlowcontrolApiserver", "flowcontrolApiserver_v1"),
            ("e2e-test-7.example.com", "E2eTest7ExampleCom", "e2eTest7ExampleCom_v1"),
        ] {
            assert_eq!((camel(group).as_str(), tag(group, Some("v1")).as_str()), (great, small));
        }
    }
}
