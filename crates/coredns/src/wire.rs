//! Questions and answers as bytes (RFC 1035, EDNS of RFC 6891), by `hickory-proto`.

use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record as WireRecord, RecordType};

use crate::zone::{Data, Kind, Meaning, Record, TTL};

/// A datagram without EDNS holds this much (RFC 1035, 2.3.4).
const PLAIN_LIMIT: usize = 512;
/// The most that we send in one datagram, whatever the client offers (DNS flag day 2020).
const OUR_LIMIT: u16 = 1232;

/// A question that can be answered.
pub struct Question {
    pub message: Message,
    pub query: Query,
    /// In lower case, without the final dot.
    pub name: String,
    pub kind: Kind,
}

/// Reads a query. Err is the answer to send instead; None: not worth one.
pub fn read(bytes: &[u8]) -> Result<Question, Option<Vec<u8>>> {
    let message = Message::from_vec(bytes).map_err(|_| malformed(bytes))?;
    if message.metadata.message_type != MessageType::Query {
        return Err(None);
    }
    if message.metadata.op_code != OpCode::Query {
        return Err(encode(&reply(&message, ResponseCode::NotImp)));
    }
    let [query] = message.queries.as_slice() else {
        return Err(encode(&reply(&message, ResponseCode::FormErr)));
    };
    if query.query_class() != DNSClass::IN {
        return Err(encode(&reply(&message, ResponseCode::Refused)));
    }
    let query = query.clone();
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let kind = kind(query.query_type());
    Ok(Question { message, query, name, kind })
}

fn malformed(bytes: &[u8]) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
    encode(&Message::error_msg(id, OpCode::Query, ResponseCode::FormErr))
}

fn kind(wire: RecordType) -> Kind {
    match wire {
        RecordType::A => Kind::A,
        RecordType::AAAA => Kind::Aaaa,
        RecordType::CNAME => Kind::Cname,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        RecordType::SOA => Kind::Soa,
        RecordType::NS => Kind::Ns,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

/// An answer without records.
pub fn reply(message: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(message.metadata.id, message.metadata.op_code);
    answer.metadata.recursion_desired = message.metadata.recursion_desired;
    answer.metadata.response_code = code;
    answer.add_queries(message.queries.iter().cloned());
    if message.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(OUR_LIMIT);
        answer.set_edns(edns);
    }
    answer
}

/// The answer to a question of our zone. `more` are records that a forwarder found for an external name.
pub fn answer(question: &Question, domain: &str, meaning: &Meaning, more: Vec<WireRecord>) -> Message {
    let code = if *meaning == Meaning::NoSuchName { ResponseCode::NXDomain } else { ResponseCode::NoError };
    let mut answer = reply(&question.message, code);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_available = true;
    let empty = Vec::new();
    let (records, extra) = match meaning {
        Meaning::Records(records, extra) => (records.as_slice(), extra.as_slice()),
        Meaning::External(record) => (std::slice::from_ref(record), empty.as_slice()),
        Meaning::NoSuchName | Meaning::Elsewhere => (empty.as_slice(), empty.as_slice()),
    };
    answer.add_answers(records.iter().filter_map(|r| wire_record(r, domain, Some(question))));
    answer.add_answers(more);
    answer.add_additionals(extra.iter().filter_map(|r| wire_record(r, domain, None)));
    if answer.answers.is_empty()
        && let Some(soa) = wire_record(&Record { name: domain.into(), data: Data::Soa }, domain, None)
    {
        answer.add_authority(soa);
    }
    answer
}

/// Answers repeat the question's spelling, which resolvers check that mix the case of letters.
fn wire_record(record: &Record, domain: &str, question: Option<&Question>) -> Option<WireRecord> {
    let owner = match question {
        Some(question) if question.name == record.name => question.query.name().clone(),
        _ => name(&record.name)?,
    };
    Some(WireRecord::from_rdata(owner, TTL, rdata(&record.data, domain)?))
}

fn rdata(data: &Data, domain: &str) -> Option<RData> {
    Some(match data {
        Data::Address(IpAddr::V4(a)) => RData::A(A(*a)),
        Data::Address(IpAddr::V6(a)) => RData::AAAA(AAAA(*a)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Ns(target) => RData::NS(NS(name(target)?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, name(target)?))
        }
        Data::Soa => {
            let (ns, mail) = (name(&format!("ns.dns.{domain}"))?, name(&format!("hostmaster.{domain}"))?);
            RData::SOA(SOA::new(ns, mail, 1, 7200, 1800, 86400, TTL))
        }
    })
}

/// None where a label is too long to be one.
pub fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_str(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

pub fn encode(message: &Message) -> Option<Vec<u8>> {
    message.to_vec().ok()
}

/// The answer for a datagram: whole if the client takes that much, else cut with the truncation mark, at which the
/// client asks again over TCP.
pub fn encode_datagram(question: &Message, answer: &Message) -> Option<Vec<u8>> {
    let limit =
        question.edns.as_ref().map_or(PLAIN_LIMIT, |e| usize::from(e.max_payload().clamp(512, OUR_LIMIT)));
    let bytes = encode(answer)?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    let mut cut = answer.clone();
    cut.additionals.clear();
    while !cut.answers.is_empty() {
        cut.answers.pop();
        cut.metadata.truncation = true;
        let bytes = encode(&cut)?;
        if bytes.len() <= limit {
            return Some(bytes);
        }
    }
    None
}

/// An address as a record of its own name, for the target of a CNAME.
pub fn address_record(record: &Record) -> Option<WireRecord> {
    wire_record(record, "", None)
}
