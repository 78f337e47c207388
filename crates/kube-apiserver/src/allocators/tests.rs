//! Families of Services by policy and cluster, and ports that two protocols share.

use super::*;
use crate::strategies::fields::{map, one};

fn service(spec: Map) -> Map {
    one("spec", spec)
}

#[test]
fn families_follow_policy_and_cluster() {
    let v4 = [Family::V4];
    let dual = [Family::V4, Family::V6];
    let plain = service(one("type", "ClusterIP"));
    let plan = |s: &Map, c: &[Family]| plan_families(s, None, c).unwrap().unwrap();
    assert_eq!(plan(&plain, &v4), ("SingleStack".into(), vec![Family::V4]));
    let prefer = service(map([("type", "ClusterIP".into()), ("ipFamilyPolicy", "PreferDualStack".into())]));
    assert_eq!(plan(&prefer, &v4), ("PreferDualStack".into(), vec![Family::V4]));
    assert_eq!(plan(&prefer, &dual), ("PreferDualStack".into(), vec![Family::V4, Family::V6]));
    let headless = service(map([("type", "ClusterIP".into()), ("clusterIP", "None".into())]));
    assert_eq!(plan(&headless, &v4), ("RequireDualStack".into(), vec![Family::V4, Family::V6]));
    let require = service(map([("type", "ClusterIP".into()), ("ipFamilyPolicy", "RequireDualStack".into())]));
    assert!(plan_families(&require, None, &v4).is_err());
    let external = service(one("type", "ExternalName"));
    assert_eq!(plan_families(&external, None, &v4).unwrap(), None);
}

#[test]
fn a_second_protocol_shares_the_port() {
    let port = |protocol: &str| map([("port", 53i64.into()), ("protocol", protocol.into())]);
    let ports = [port("UDP"), port("TCP")];
    assert_eq!(shared_number(&ports, &[30000], 1), Some(30000));
    assert_eq!(shared_number(&[port("UDP"), port("UDP")], &[30000], 1), None);
}
