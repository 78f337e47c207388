//! Transactions.

use etcd::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, Op, OpResponse, PutRequest,
    RangeRequest, SharedStore, Txn,
};

use crate::{put, text};

fn put_op(key: &'static str, value: impl Into<bytes::Bytes>) -> Op {
    Op::Put(PutRequest::new(key, value))
}

fn get_op(key: &'static str) -> Op {
    Op::Range(RangeRequest::key(key))
}

pub async fn only_one_creator_wins(store: SharedStore) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            let txn = Txn {
                compares: vec![Compare::mod_revision("/a", 0)],
                success: vec![put_op("/a", n.to_string())],
                failure: vec![get_op("/a")],
            };
            (n, store.txn(txn).await.unwrap())
        });
    }
    let answers = tasks.join_all().await;
    let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.succeeded).collect();
    assert_eq!(won.len(), 1);
    let wanted = format!("/a={}", won[0].0);
    for (_, lost) in answers.iter().filter(|(_, answer)| !answer.succeeded) {
        let OpResponse::Range(seen) = &lost.responses[0] else { panic!("{lost:?}") };
        assert_eq!(text(&seen.kvs), std::slice::from_ref(&wanted));
    }
    assert_eq!(store.status().await.unwrap().revision, 2, "losers change nothing");
}

pub async fn updates_compare_the_revision(store: SharedStore) {
    let one = put(&store, "/a", "1").await;
    let update = |revision, value: &'static str| Txn {
        compares: vec![Compare::mod_revision("/a", revision)],
        success: vec![put_op("/a", value)],
        failure: vec![get_op("/a")],
    };
    let done = store.txn(update(one, "2")).await.unwrap();
    assert_eq!((done.succeeded, done.revision), (true, one + 1));
    let refused = store.txn(update(one, "3")).await.unwrap();
    assert_eq!((refused.succeeded, refused.revision), (false, one + 1));
    let OpResponse::Range(seen) = &refused.responses[0] else { panic!("{refused:?}") };
    assert_eq!((text(&seen.kvs), seen.kvs[0].mod_revision), (vec!["/a=2".into()], one + 1));
}

pub async fn operations_see_those_before_them(store: SharedStore) {
    let begun = put(&store, "/a", "1").await;
    let delete = DeleteRangeRequest { key: "/x".into(), range_end: "/y".into(), prev_kv: false };
    let txn = Txn {
        success: vec![
            get_op("/a"),
            Op::Put(PutRequest { prev_kv: true, ..PutRequest::new("/a", "2") }),
            get_op("/a"),
            put_op("/b", "1"),
            Op::Range(RangeRequest::prefix("/")),
            Op::DeleteRange(delete.clone()),
        ],
        ..Txn::default()
    };
    let answer = store.txn(txn).await.unwrap();
    assert_eq!(answer.revision, begun + 1);
    let ranges: Vec<_> = answer
        .responses
        .iter()
        .filter_map(|response| match response {
            OpResponse::Range(range) => Some(text(&range.kvs)),
            _ => None,
        })
        .collect();
    assert_eq!(ranges, [vec!["/a=1"], vec!["/a=2"], vec!["/a=2", "/b=1"]]);
    let OpResponse::Put(put) = &answer.responses[1] else { panic!("{answer:?}") };
    assert_eq!(text(put.prev_kv.as_slice()), ["/a=1"]);
    let kvs = store.range(RangeRequest::prefix("/")).await.unwrap().kvs;
    assert!(kvs.iter().all(|kv| kv.mod_revision == begun + 1), "all at one revision: {kvs:?}");
}

pub async fn all_compares(store: SharedStore) {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{CreateRevision, Lease, ModRevision, Value, Version};
    let lease = store.lease_grant(60, 77).await.unwrap().id;
    let create = put(&store, "/a", "m").await;
    let modified = store.put(PutRequest { lease, ..PutRequest::new("/a", "m") }).await.unwrap().revision;
    put(&store, "/b", "z").await;
    let mut wrong = Vec::new();
    for (key, result, target, holds) in [
        ("/a", Equal, ModRevision(modified), true),
        ("/a", Less, ModRevision(modified), false),
        ("/a", Less, ModRevision(modified + 1), true),
        ("/a", Greater, CreateRevision(create - 1), true),
        ("/a", NotEqual, CreateRevision(create), false),
        ("/a", Equal, Version(2), true),
        ("/a", Equal, Lease(lease), true),
        ("/a", NotEqual, Lease(lease), false),
        ("/a", Equal, Value("m".into()), true),
        ("/a", Greater, Value("a".into()), true),
        ("/a", Less, Value("a".into()), false),
        ("/no", Equal, ModRevision(0), true),
        ("/no", Greater, CreateRevision(0), false),
        ("/no", Equal, Version(0), true),
        ("/no", Equal, Lease(0), true),
        ("/no", Equal, Value("".into()), false),
        ("/no", NotEqual, Value("x".into()), false),
    ] {
        let compare = Compare::new(key, result, target);
        let txn = Txn { compares: vec![compare.clone()], ..Txn::default() };
        if store.txn(txn).await.unwrap().succeeded != holds {
            wrong.push(compare);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let interval =
        |result| Compare { range_end: "/c".into(), ..Compare::new("/a", result, Value("y".into())) };
    for (result, holds) in [(Less, false), (NotEqual, true)] {
        let txn = Txn { compares: vec![interval(result)], ..Txn::default() };
        assert_eq!(store.txn(txn).await.unwrap().succeeded, holds, "{result:?}");
    }
}

pub async fn bad_transactions_change_nothing(store: SharedStore) {
    let begun = put(&store, "/a", "1").await;
    let missing_lease = PutRequest { lease: 4711, ..PutRequest::new("/b", "1") };
    let delete_all = DeleteRangeRequest { key: "/".into(), range_end: "0".into(), prev_kv: false };
    let future = RangeRequest { revision: begun + 10, ..RangeRequest::key("/a") };
    for (ops, wanted) in [
        (vec![put_op("/b", "1"), put_op("/b", "2")], Error::DuplicateKey),
        (vec![Op::DeleteRange(delete_all), put_op("/b", "2")], Error::DuplicateKey),
        (vec![put_op("/a", "2"), Op::Put(missing_lease)], Error::LeaseNotFound { id: 4711 }),
        (vec![put_op("/a", "2"), Op::Range(future)], Error::FutureRevision),
    ] {
        let error = store.txn(Txn { success: ops, ..Txn::default() }).await.unwrap_err();
        match (&error, &wanted) {
            (Error::LeaseNotFound { .. }, Error::LeaseNotFound { .. }) => {}
            _ => assert_eq!(error, wanted),
        }
    }
    let many = vec![get_op("/a"); 200];
    let error = store.txn(Txn { success: many, ..Txn::default() }).await.unwrap_err();
    assert!(matches!(error, Error::TooManyOps { .. }), "{error:?}");
    let answer = store.range(RangeRequest::prefix("/")).await.unwrap();
    assert_eq!((answer.revision, text(&answer.kvs)), (begun, vec!["/a=1".into()]));
}
