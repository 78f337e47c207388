//! Volumes, claims, storage classes and the CSI kinds.

pub mod classes;
pub mod csi;
pub mod persistentvolume;
pub mod persistentvolumeclaim;

/// `RWO,ROX` of access modes, in kubectl's short words.
pub fn access_modes(list: &[api::Value]) -> String {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |name: &str| list.iter().any(|m| m.as_str() == Some(name));
    known.iter().filter(|(name, _)| has(name)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Access modes that objects may have.
pub const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
