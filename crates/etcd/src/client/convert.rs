//! The store's words to and from etcd's messages.

use super::failure::About;
use crate::proto::etcdserverpb as pb;
use crate::proto::mvccpb;
use crate::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, DeleteRangeResponse, Error, Event,
    EventFilter, EventType, KeyValue, Op, OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    Result, Txn, TxnResponse, WatchRequest,
};

/// A read.
pub fn range(request: RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        keys_only: request.keys_only,
        count_only: request.count_only,
        ..Default::default()
    }
}

fn put(request: PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: request.key,
        // etcd refuses a value beside ignore_value.
        value: if request.ignore_value { Default::default() } else { request.value },
        lease: if request.ignore_lease { 0 } else { request.lease },
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

fn delete(request: DeleteRangeRequest) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: request.key, range_end: request.range_end, prev_kv: request.prev_kv }
}

fn compare(compare: Compare) -> pb::Compare {
    use pb::compare::{CompareResult as Result, CompareTarget as Target, TargetUnion};
    let result = match compare.result {
        CompareResult::Equal => Result::Equal,
        CompareResult::Greater => Result::Greater,
        CompareResult::Less => Result::Less,
        CompareResult::NotEqual => Result::NotEqual,
    };
    let (target, union) = match compare.target {
        CompareTarget::Version(right) => (Target::Version, TargetUnion::Version(right)),
        CompareTarget::CreateRevision(right) => (Target::Create, TargetUnion::CreateRevision(right)),
        CompareTarget::ModRevision(right) => (Target::Mod, TargetUnion::ModRevision(right)),
        CompareTarget::Value(right) => (Target::Value, TargetUnion::Value(right)),
        CompareTarget::Lease(right) => (Target::Lease, TargetUnion::Lease(right)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key,
        range_end: compare.range_end,
        target_union: Some(union),
    }
}

fn op(op: Op) -> pb::RequestOp {
    use pb::request_op::Request;
    let request = match op {
        Op::Range(request) => Request::RequestRange(range(request)),
        Op::Put(request) => Request::RequestPut(put(request)),
        Op::DeleteRange(request) => Request::RequestDeleteRange(delete(request)),
    };
    pb::RequestOp { request: Some(request) }
}

/// A transaction.
pub fn txn(txn: Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compares.into_iter().map(compare).collect(),
        success: txn.success.into_iter().map(op).collect(),
        failure: txn.failure.into_iter().map(op).collect(),
    }
}

/// What errors of a transaction are about.
pub fn about(txn: &Txn) -> About {
    let mut about = About { ops: txn.success.len().max(txn.failure.len()), ..About::default() };
    for op in txn.success.iter().chain(&txn.failure) {
        if let Op::Put(put) = op {
            about.size += put.key.len() + put.value.len();
            about.lease = if put.lease == 0 { about.lease } else { put.lease };
        }
    }
    about
}

/// The revision of a header.
pub fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

fn pair(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

fn pairs(kvs: Vec<mvccpb::KeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(pair).collect()
}

/// The answer of a read.
pub fn range_response(answer: pb::RangeResponse) -> RangeResponse {
    let revision = revision(answer.header.as_ref());
    RangeResponse { revision, kvs: pairs(answer.kvs), more: answer.more, count: answer.count }
}

fn op_response(answer: pb::ResponseOp, at: i64) -> Result<OpResponse> {
    use pb::response_op::Response;
    let or_at = |revision: i64| if revision == 0 { at } else { revision };
    match answer.response {
        Some(Response::ResponseRange(range)) => {
            let range = range_response(range);
            Ok(OpResponse::Range(RangeResponse { revision: or_at(range.revision), ..range }))
        }
        Some(Response::ResponsePut(put)) => Ok(OpResponse::Put(PutResponse {
            revision: or_at(revision(put.header.as_ref())),
            prev_kv: put.prev_kv.map(pair),
        })),
        Some(Response::ResponseDeleteRange(delete)) => Ok(OpResponse::DeleteRange(DeleteRangeResponse {
            revision: or_at(revision(delete.header.as_ref())),
            deleted: delete.deleted,
            prev_kvs: pairs(delete.prev_kvs),
        })),
        _ => Err(Error::Refused { reason: "an operation was answered with something else".into() }),
    }
}

/// The answer of a transaction.
pub fn txn_response(answer: pb::TxnResponse) -> Result<TxnResponse> {
    let at = revision(answer.header.as_ref());
    let responses = answer.responses.into_iter().map(|answer| op_response(answer, at));
    let responses = responses.collect::<Result<_>>()?;
    Ok(TxnResponse { revision: at, succeeded: answer.succeeded, responses })
}

/// A watch, from a revision on.
pub fn watch(request: &WatchRequest, watch_id: i64, start_revision: i64) -> pb::WatchRequest {
    use pb::watch_create_request::FilterType;
    let filter = |filter: &EventFilter| match filter {
        EventFilter::NoPut => FilterType::Noput.into(),
        EventFilter::NoDelete => FilterType::Nodelete.into(),
    };
    let create = pb::WatchCreateRequest {
        key: request.key.clone(),
        range_end: request.range_end.clone(),
        start_revision,
        progress_notify: request.progress_notify,
        filters: request.filters.iter().map(filter).collect(),
        prev_kv: request.prev_kv,
        watch_id,
        fragment: true,
    };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}

/// The events of a watch.
pub fn events(events: Vec<mvccpb::Event>) -> Vec<Event> {
    let event = |event: mvccpb::Event| Event {
        kind: match event.r#type() {
            mvccpb::event::EventType::Put => EventType::Put,
            mvccpb::event::EventType::Delete => EventType::Delete,
        },
        kv: event.kv.map(pair).unwrap_or_default(),
        prev_kv: event.prev_kv.map(pair),
    };
    events.into_iter().map(event).collect()
}
