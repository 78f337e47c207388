//! The embedded table reads in full.

use super::*;

#[test]
fn every_type_of_the_table_parses_and_finds_its_fields() {
    let mut fields = 0;
    for name in names() {
        let of = by_name(name).unwrap();
        for (at, field) in of.fields.iter().enumerate() {
            assert_eq!(of.position(&field.name), Some(at), "{name}.{}", field.name);
            assert!(
                !matches!(field.node.leaf().shape, Shape::Any) || name.ends_with("TableRow"),
                "{name}.{}",
                field.name
            );
        }
        fields += of.fields.len();
        assert!(of.field("no such field").is_none());
    }
    assert!(fields > 5000, "{fields}");
}

#[test]
fn kinds_are_found_in_their_group() {
    assert_eq!(&*by_gvk("", "v1", "Pod").unwrap().name, "io.k8s.api.core.v1.Pod");
    assert_eq!(
        &*by_gvk("apps", "v1", "DeleteOptions").unwrap().name,
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    );
    assert!(by_gvk("apps", "v9", "Deployment").is_none());
}

#[test]
fn a_field_says_how_it_is_merged_and_written() {
    let pod = by_gvk("", "v1", "Pod").unwrap();
    let containers = pod.field_at(&["spec", "containers"]).unwrap();
    assert_eq!(containers.node.list_type(), ListType::Map);
    assert_eq!(containers.node.patch_merge_key(), Some("name"));
    assert_eq!(containers.omit, Omit::Never);
    let port = pod.field_at(&["spec", "containers", "ports", "protocol"]).unwrap();
    assert_eq!(port.node.default.as_ref().unwrap().as_str(), Some("TCP"));
    let grace = pod.field_at(&["metadata", "deletionGracePeriodSeconds"]).unwrap();
    assert!(grace.node.pointer);
}

#[test]
fn every_rule_of_the_table_is_known() {
    let text = include_str!("../../table/rules.txt");
    let mut known = 0;
    for line in text.lines().filter(|l| l.starts_with("F\t") || l.starts_with("R\t")) {
        let from = if line.starts_with('F') { 2 } else { 1 };
        for rule in line.split('\t').skip(from).filter(|r| !r.starts_with("featureGate=")) {
            assert!(Rule::parse(rule.trim_start_matches(['~', '^'])).is_some(), "{rule}");
            known += 1;
        }
    }
    assert!(known > 1000, "{known}");
    assert!(by_gvk("resource.k8s.io", "v1", "ResourceClaim").unwrap().has_rules());
}
