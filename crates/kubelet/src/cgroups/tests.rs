//! Both versions on recorded file trees.

use std::fs;

use serde_json::json;

use super::*;

fn pod() -> Pod {
    serde_json::from_value(
        json!({"metadata": {"uid": "u1"}, "spec": {"containers": [{"name": "c", "resources": {
        "requests": {"cpu": "100m", "memory": "10Mi"}, "limits": {"cpu": "200m", "memory": "20Mi"}}}]}}),
    )
    .unwrap()
}

fn cgroups(mount: &Path) -> Cgroups {
    let settings = Settings { root: "/root".into(), per_qos: true, quota_period: 100_000, pids: 64 };
    Cgroups::new(detect(mount), settings)
}

#[test]
fn version_1() {
    let mount = tempfile::tempdir().unwrap();
    for controller in ["cpu", "memory", "pids", "cpuset", "cpuacct"] {
        fs::create_dir(mount.path().join(controller)).unwrap();
        fs::write(mount.path().join(controller).join("cgroup.procs"), "").unwrap();
    }
    let groups = cgroups(mount.path());
    assert_eq!(groups.version(), 1);
    assert_eq!(groups.of_pod(&pod()), "/root/kubepods/burstable/podu1");
    let below = "root/kubepods/burstable/podu1";
    fs::create_dir_all(mount.path().join("cpu").join(below)).unwrap();
    fs::create_dir_all(mount.path().join("memory").join(below)).unwrap();
    for file in [
        "cpu/{}/cpu.shares",
        "cpu/{}/cpu.cfs_period_us",
        "cpu/{}/cpu.cfs_quota_us",
        "memory/{}/memory.limit_in_bytes",
    ] {
        fs::write(mount.path().join(file.replace("{}", below)), "").unwrap();
    }
    groups.ensure_pod(&pod()).unwrap();
    let read = |file: &str| fs::read_to_string(mount.path().join(file.replace("{}", below))).unwrap();
    assert_eq!(read("cpu/{}/cpu.shares"), "102");
    assert_eq!(read("cpu/{}/cpu.cfs_quota_us"), "20000");
    assert_eq!(read("memory/{}/memory.limit_in_bytes"), (20 << 20).to_string());
    assert_eq!(groups.pods(), ["u1"]);
}

#[test]
fn version_2() {
    let mount = tempfile::tempdir().unwrap();
    fs::write(mount.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
    fs::write(mount.path().join("cgroup.subtree_control"), "").unwrap();
    let groups = cgroups(mount.path());
    assert_eq!(groups.version(), 2);
    let folder = mount.path().join("root/kubepods/burstable/podu1");
    fs::create_dir_all(&folder).unwrap();
    for file in ["cpu.weight", "cpu.max", "memory.max", "pids.max"] {
        fs::write(folder.join(file), "").unwrap();
    }
    groups.ensure_pod(&pod()).unwrap();
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!(
        fs::read_to_string(mount.path().join("cgroup.subtree_control")).unwrap(),
        "+cpu +memory +pids"
    );
    assert_eq!((read("cpu.max"), read("pids.max")), ("20000 100000".to_owned(), "64".to_owned()));
    assert_eq!(read("cpu.weight"), v2::weight(102).to_string());
    fs::write(folder.join("cpu.stat"), "usage_usec 5\n").unwrap();
    fs::write(folder.join("memory.stat"), "anon 3\nfile 4\ninactive_file 2\n").unwrap();
    fs::write(folder.join("memory.current"), "10\n").unwrap();
    fs::write(folder.join("pids.current"), "7\n").unwrap();
    let usage = groups.pod_usage(&pod()).unwrap();
    assert_eq!((usage.cpu_nanos, usage.working_set, usage.rss, usage.pids), (5000, 8, 3, 7));
}

#[test]
fn weights() {
    assert_eq!((v2::weight(2), v2::weight(1024), v2::weight(262_144)), (1, 100, 10_000));
}
