//! Tables of upstream's order of criteria, and of budgets.

use serde_json::{Value, json};

use super::*;
use crate::resources::Symbols;

fn one(name: &str, priority: i32, started: &str, labels: Value) -> Arc<Pod> {
    let mut view = json!({"metadata": {"name": name, "uid": name, "namespace": "n", "labels": labels},
        "spec": {"priority": priority, "nodeName": "x", "containers": []}});
    if !started.is_empty() {
        view["status"] = json!({"startTime": format!("2026-01-01T00:00:{started}Z")});
    }
    Arc::new(crate::testing::pod(view, &mut Symbols::default()))
}

fn with(slot: Slot, violations: usize, victims: &[(i32, &str)]) -> Candidate {
    let victims = victims.iter().map(|(priority, started)| one("v", *priority, started, json!({}))).collect();
    Candidate { slot, victims, violations }
}

#[test]
fn the_best_candidate() {
    for (why, candidates, expected) in [
        ("fewest broken budgets", vec![with(0, 1, &[(1, "01")]), with(1, 0, &[(9, "01"), (9, "01")])], 1),
        ("least important", vec![with(0, 0, &[(5, "01")]), with(1, 0, &[(4, "01"), (4, "01")])], 1),
        ("smallest sum", vec![with(0, 0, &[(5, "01"), (4, "01")]), with(1, 0, &[(5, "01"), (3, "01")])], 1),
        ("fewer negative ones", vec![with(0, 0, &[(-5, "01"), (-5, "01")]), with(1, 0, &[(-5, "01")])], 1),
        ("began last", vec![with(0, 0, &[(5, "01")]), with(1, 0, &[(5, "02")])], 1),
        (
            "the earliest of the most important counts",
            vec![with(0, 0, &[(5, "03"), (4, "01")]), with(1, 0, &[(5, "02"), (4, "04")])],
            0,
        ),
        ("not begun at all is last", vec![with(0, 0, &[(5, "59")]), with(1, 0, &[(5, "")])], 1),
        ("the first of equals", vec![with(3, 0, &[(5, "01")]), with(1, 0, &[(5, "01")])], 3),
    ] {
        assert_eq!(pick(candidates).map(|c| c.slot), Some(expected), "{why}");
    }
    assert!(pick(Vec::new()).is_none());
}

#[test]
fn budgets() {
    let budget = |allowed: i32, selector: Value, disrupted: Value| -> Arc<BudgetView> {
        let view = json!({"metadata": {"name": "b", "namespace": "n"}, "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": disrupted}});
        Arc::new(serde_json::from_value(view).unwrap())
    };
    let of_a = || json!({"matchLabels": {"app": "a"}});
    let pods: Vec<_> =
        [("1", "a"), ("2", "a"), ("3", "b")].map(|(n, app)| one(n, 0, "", json!({"app": app}))).into();
    for (budgets, expected) in [
        (vec![], ""),
        (vec![budget(2, of_a(), json!({}))], ""),
        (vec![budget(1, of_a(), json!({}))], "2"),
        (vec![budget(0, of_a(), json!({}))], "12"),
        (vec![budget(0, of_a(), json!({"1": "2026-01-01T00:00:00Z"}))], "2"),
        (vec![budget(0, json!({}), json!({}))], ""),
        (
            vec![budget(1, of_a(), json!({})), budget(0, json!({"matchLabels": {"app": "b"}}), json!({}))],
            "23",
        ),
    ] {
        let (violating, others) = violating(&pods, &budgets);
        let names: String = violating.iter().map(|p| p.uid.as_str()).collect();
        assert_eq!(names, expected);
        assert_eq!(violating.len() + others.len(), 3);
    }
}
