//! Whether the NoExecute taints of a node end a pod, and when.

use crate::views::{Taint, Toleration};

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// So many seconds after the taints were seen.
    Ends(u64),
}

/// The fate of a pod under the taints (those of effect NoExecute).
pub fn fate(taints: &[&Taint], tolerations: &[Toleration]) -> Fate {
    let mut shortest: Option<u64> = None;
    for taint in taints {
        let mut seconds: Option<Option<i64>> = None;
        for toleration in tolerations.iter().filter(|t| t.tolerates(taint)) {
            // Of several that tolerate it the shortest counts; one without a time tolerates it for ever.
            seconds = Some(match (seconds.flatten(), toleration.toleration_seconds) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            });
        }
        match seconds {
            None => return Fate::Ends(0),
            Some(None) => {}
            Some(Some(limit)) => {
                let limit = u64::try_from(limit).unwrap_or(0);
                shortest = Some(shortest.map_or(limit, |s| s.min(limit)));
            }
        }
    }
    shortest.map_or(Fate::Stays, Fate::Ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: key.into(),
            operator: "Exists".into(),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn fates() {
        let (a, b) = (Taint::new("a", "NoExecute"), Taint::new("b", "NoExecute"));
        for (taints, tolerations, expected) in [
            (vec![], vec![], Fate::Stays),
            (vec![&a], vec![], Fate::Ends(0)),
            (vec![&a], vec![toleration("a", None)], Fate::Stays),
            (vec![&a], vec![toleration("a", Some(300))], Fate::Ends(300)),
            (vec![&a, &b], vec![toleration("a", Some(300)), toleration("b", Some(5))], Fate::Ends(5)),
            (vec![&a, &b], vec![toleration("a", Some(300))], Fate::Ends(0)),
            (vec![&a], vec![toleration("a", Some(-1))], Fate::Ends(0)),
        ] {
            assert_eq!(fate(&taints, &tolerations), expected, "{taints:?} {tolerations:?}");
        }
    }
}
