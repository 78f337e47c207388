//! What a transaction must satisfy before it is queued: pure checks, no state.

use std::collections::HashSet;

use super::index::KeyRange;
use crate::{Error, Op, Result, Txn};

/// The largest request, as etcd's default has it.
pub const MAX_REQUEST_BYTES: usize = 3 << 19;
/// The most operations of a branch, and compares, as etcd's default has it.
pub const MAX_TXN_OPS: usize = 128;

/// Checks a transaction's shape and size.
pub fn check_txn(txn: &Txn, max_bytes: usize) -> Result<()> {
    for count in [txn.compares.len(), txn.success.len(), txn.failure.len()] {
        if count > MAX_TXN_OPS {
            return Err(Error::TooManyOps { count, limit: MAX_TXN_OPS });
        }
    }
    if txn.compares.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    let size = size(txn);
    if size > max_bytes {
        return Err(Error::RequestTooLarge { size, limit: max_bytes });
    }
    check_branch(&txn.success)?;
    check_branch(&txn.failure)
}

fn size(txn: &Txn) -> usize {
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        Op::Range(range) => range.key.len() + range.range_end.len(),
        Op::Put(put) => put.key.len() + put.value.len(),
        Op::DeleteRange(delete) => delete.key.len() + delete.range_end.len(),
    });
    let compares = txn.compares.iter().map(|compare| {
        let value = match &compare.target {
            crate::CompareTarget::Value(value) => value.len(),
            _ => 8,
        };
        compare.key.len() + compare.range_end.len() + value
    });
    ops.chain(compares).sum()
}

/// No key may be empty or written twice, by puts or by a put and a delete.
fn check_branch(ops: &[Op]) -> Result<()> {
    let mut deletes = Vec::new();
    for op in ops {
        let key = match op {
            Op::Range(range) => &range.key,
            Op::Put(put) => &put.key,
            Op::DeleteRange(delete) => {
                deletes.push(KeyRange::new(&delete.key, &delete.range_end));
                &delete.key
            }
        };
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
    }
    let mut written = HashSet::new();
    for op in ops {
        if let Op::Put(put) = op
            && (!written.insert(&put.key) || deletes.iter().any(|range| range.contains(&put.key)))
        {
            return Err(Error::DuplicateKey);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compare, DeleteRangeRequest, PutRequest};

    fn put(key: &'static str) -> Op {
        Op::Put(PutRequest::new(key, "v"))
    }

    fn branch(success: Vec<Op>) -> Txn {
        Txn { success, ..Txn::default() }
    }

    #[test]
    fn shapes() {
        let delete =
            Op::DeleteRange(DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: false });
        for (txn, wanted) in [
            (branch(vec![put("a"), put("b")]), Ok(())),
            (branch(vec![put("a"), put("a")]), Err(Error::DuplicateKey)),
            (branch(vec![delete.clone(), put("b")]), Err(Error::DuplicateKey)),
            (branch(vec![delete.clone(), delete.clone(), put("c")]), Ok(())),
            (branch(vec![put("")]), Err(Error::EmptyKey)),
            (branch(vec![put("a"); 129]), Err(Error::TooManyOps { count: 129, limit: 128 })),
            (Txn { compares: vec![Compare::version("", 0)], ..Txn::default() }, Err(Error::EmptyKey)),
        ] {
            assert_eq!(check_txn(&txn, 1000), wanted, "{txn:?}");
        }
        let large = branch(vec![Op::Put(PutRequest::new("k", vec![0; 1000]))]);
        assert_eq!(check_txn(&large, 1000), Err(Error::RequestTooLarge { size: 1001, limit: 1000 }));
    }
}
