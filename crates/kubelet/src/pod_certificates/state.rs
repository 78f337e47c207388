//! The life of one pod certificate: asked for, waited for, held, renewed; or refused for good. Pure.

use std::time::Duration;

use client::{ObjectMeta, Time};
use jiff::Timestamp;
use serde::Deserialize;

use crate::pem;

/// A request that was made so long ago and is not shown must have been deleted.
const LOST: Duration = Duration::from_secs(600);
/// So long after it should have been renewed a certificate is overdue.
const OVERDUE: Duration = Duration::from_secs(600);
/// Longest pause between tries of a renewal.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// A PodCertificateRequest as far as its maker needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    pub spec: RequestSpec,
    pub status: RequestStatus,
}

/// Whom it is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestSpec {
    /// UID of the pod.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
}

/// What became of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestStatus {
    pub conditions: Vec<Condition>,
    /// PEM.
    pub certificate_chain: String,
    pub begin_refresh_at: Option<Time>,
    pub not_after: Option<Time>,
}

/// `Issued`, `Denied` or `Failed`; one of them is the end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub reason: String,
    pub message: String,
}

client::view!(Request);

impl Request {
    /// Whether something became of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status.conditions.iter().any(|c| matches!(&*c.kind, "Issued" | "Denied" | "Failed"))
    }
}

/// A request that was made and not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Private key, PEM.
    pub key: String,
    /// Name of the request.
    pub name: String,
    /// When to give it up if it is not shown.
    pub lost_at: Timestamp,
    /// It was shown, so that it is gone as soon as it is not.
    pub seen: bool,
}

impl Pending {
    /// Made at a time; `jitter` spreads the end of patience.
    #[must_use]
    pub fn new(key: String, name: String, made: Timestamp, jitter: Duration) -> Self {
        Self { key, name, lost_at: made + LOST + jitter, seen: false }
    }
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Private key, PEM.
    pub key: String,
    /// Certificates, PEM.
    pub chain: String,
    /// When to ask for the next one.
    pub refresh_at: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
    told_overdue: bool,
    told_expired: bool,
}

/// Why there will be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `denied` or `failed`.
    pub what: &'static str,
    pub reason: String,
    pub message: String,
}

/// What is held for one source of a volume.
#[derive(Clone, Debug, Default)]
pub struct Record {
    bundle: Option<Bundle>,
    pending: Option<Pending>,
    refusal: Option<Refusal>,
    /// Failed tries of asking, in a row.
    failures: u32,
    retry_at: Option<Timestamp>,
}

/// A warning about the pod: reason and message.
pub type News = (&'static str, String);

impl Record {
    /// The request that is waited for.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Takes notice of the request, as it is shown or not, and of the time. Gives what is to be told.
    pub fn advance(&mut self, shown: Option<&Request>, now: Timestamp, jitter: Duration) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(pending) = &mut self.pending {
            match shown {
                Some(request) => {
                    pending.seen = true;
                    news.extend(self.decide(request, jitter));
                }
                None if pending.seen || now > pending.lost_at => self.pending = None,
                None => {}
            }
        }
        news.extend(self.bundle.as_mut().into_iter().flat_map(|bundle| bundle.complain(now)));
        news
    }

    fn decide(&mut self, request: &Request, jitter: Duration) -> Option<News> {
        for condition in &request.status.conditions {
            let what = match condition.kind.as_str() {
                "Denied" => ("Denied", "denied", "was denied"),
                "Failed" => ("Failed", "failed", "failed"),
                "Issued" => {
                    let pending = self.pending.take()?;
                    self.bundle = Bundle::issued(pending.key, request, jitter);
                    return None;
                }
                _ => continue,
            };
            let (reason, message) = (condition.reason.clone(), condition.message.clone());
            let name = format!("{}/{}", request.metadata.namespace, request.metadata.name);
            let told =
                format!("PodCertificateRequest {name} {}, reason={reason:?}, message={message:?}", what.2);
            *self = Self { refusal: Some(Refusal { what: what.1, reason, message }), ..Self::default() };
            return Some((what.0, told));
        }
        None
    }

    /// Whether it is time to make a request.
    #[must_use]
    pub fn wants_request(&self, now: Timestamp) -> bool {
        let due = self.bundle.as_ref().is_none_or(|bundle| bundle.refresh_at <= now);
        let patient = self.retry_at.is_some_and(|retry| now < retry);
        due && self.pending.is_none() && self.refusal.is_none() && !(patient && self.bundle.is_some())
    }

    /// A request was made.
    pub fn asked(&mut self, pending: Pending) {
        (self.pending, self.failures, self.retry_at) = (Some(pending), 0, None);
    }

    /// A request could not be made.
    pub fn not_asked(&mut self, now: Timestamp) {
        self.retry_at = Some(now + Duration::from_secs(1 << self.failures.min(10)).min(MAX_RETRY));
        self.failures += 1;
    }

    /// The certificate, and when to look again; or why there is none.
    ///
    /// # Errors
    /// The words of the event about the volume.
    pub fn bundle(&self, now: Timestamp) -> Result<(&Bundle, Timestamp), String> {
        if let Some(Refusal { what, reason, message }) = &self.refusal {
            return Err(format!(
                "PodCertificateRequest was permanently {what}: reason={reason:?} message={message:?}"
            ));
        }
        let bundle = self.bundle.as_ref().ok_or("credential bundle is not issued yet")?;
        let next = match (&self.pending, self.retry_at) {
            (Some(pending), _) => bundle.next_complaint(now).unwrap_or(pending.lost_at).min(pending.lost_at),
            (None, Some(retry)) => retry,
            (None, None) => bundle.refresh_at,
        };
        Ok((bundle, next))
    }

    /// Upstream's word for the state in metrics.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (&self.refusal, &self.bundle) {
            (Some(refusal), _) => refusal.what,
            (None, None) => "not_yet_issued",
            (None, Some(bundle)) if now > bundle.not_after => "expired",
            (None, Some(bundle)) if now > bundle.refresh_at + OVERDUE => "overdue_for_refresh",
            (None, Some(_)) => "fresh",
        }
    }
}

impl Bundle {
    fn issued(key: String, request: &Request, jitter: Duration) -> Option<Self> {
        let status = &request.status;
        let mut chain = String::new();
        pem::blocks(&status.certificate_chain)
            .iter()
            .for_each(|block| pem::push(&mut chain, "CERTIFICATE", block));
        Some(Self {
            key,
            chain,
            refresh_at: status.begin_refresh_at?.0 + jitter,
            not_after: status.not_after?.0,
            told_overdue: false,
            told_expired: false,
        })
    }

    fn complain(&mut self, now: Timestamp) -> Vec<News> {
        let mut news = Vec::new();
        if now > self.refresh_at + OVERDUE && !std::mem::replace(&mut self.told_overdue, true) {
            news.push(("CertificateOverdueForRefresh", "PodCertificate refresh overdue".to_owned()));
        }
        if now > self.not_after && !std::mem::replace(&mut self.told_expired, true) {
            news.push(("CertificateExpired", "PodCertificate expired".to_owned()));
        }
        news
    }

    /// A moment after which there is something to tell that was not told.
    fn next_complaint(&self, now: Timestamp) -> Option<Timestamp> {
        let second = Duration::from_secs(1);
        let times = [(self.told_overdue, self.refresh_at + OVERDUE), (self.told_expired, self.not_after)];
        times.iter().filter(|(told, time)| !told && *time >= now).map(|(_, time)| *time + second).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ZERO: Duration = Duration::ZERO;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(status: serde_json::Value) -> Request {
        let metadata = json!({"namespace": "n", "name": "req-1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"podUID": "u"}, "status": status}))
            .unwrap()
    }

    fn issued() -> Request {
        let mut chain = "# mine\n".to_owned();
        pem::push(&mut chain, "CERTIFICATE", b"leaf");
        request(json!({"conditions": [{"type": "Issued", "status": "True"}], "certificateChain": chain,
            "beginRefreshAt": at(3000).to_string(), "notAfter": at(5000).to_string()}))
    }

    fn waiting(made: i64) -> Record {
        let mut record = Record::default();
        assert!(record.wants_request(at(made)));
        record.asked(Pending::new("key".into(), "req-1".into(), at(made), ZERO));
        assert!(!record.wants_request(at(made)));
        record
    }

    fn fresh() -> Record {
        let mut record = waiting(0);
        assert!(record.advance(Some(&request(json!({}))), at(1), ZERO).is_empty());
        assert_eq!(record.bundle(at(1)).unwrap_err(), "credential bundle is not issued yet");
        assert_eq!(record.state(at(1)), "not_yet_issued");
        assert!(record.advance(Some(&issued()), at(2), Duration::from_secs(7)).is_empty());
        record
    }

    #[test]
    fn issued_then_renewed_while_the_old_one_serves() {
        let mut record = fresh();
        let (bundle, next) = record.bundle(at(2)).unwrap();
        assert_eq!((bundle.key.as_str(), next), ("key", at(3007)));
        assert!(bundle.chain.starts_with("-----BEGIN CERTIFICATE"));
        assert!(!record.wants_request(at(3006)) && record.wants_request(at(3007)));
        record.asked(Pending::new("key2".into(), "req-2".into(), at(3007), ZERO));
        assert_eq!(record.bundle(at(3008)).unwrap().0.key, "key");
        record.advance(Some(&issued()), at(3010), ZERO);
        assert_eq!(record.bundle(at(3010)).unwrap().0.key, "key2");
    }

    #[test]
    fn a_refusal_is_told_once_and_holds() {
        let mut record = waiting(0);
        let denied =
            request(json!({"conditions": [{"type": "Denied", "reason": "Bad", "message": "no \"x\""}]}));
        let told = record.advance(Some(&denied), at(1), ZERO);
        let words = "PodCertificateRequest n/req-1 was denied, reason=\"Bad\", message=\"no \\\"x\\\"\"";
        assert_eq!(told, [("Denied", words.to_owned())]);
        assert!(record.advance(Some(&denied), at(2), ZERO).is_empty());
        assert!(!record.wants_request(at(9999)));
        let error = record.bundle(at(2)).unwrap_err();
        assert!(error.starts_with("PodCertificateRequest was permanently denied: reason=\"Bad\""), "{error}");
        assert_eq!(record.state(at(2)), "denied");
    }

    #[test]
    fn a_request_that_is_gone_is_made_again() {
        let mut never_shown = waiting(0);
        never_shown.advance(None, at(600), ZERO);
        assert!(never_shown.pending().is_some());
        never_shown.advance(None, at(601), ZERO);
        assert!(never_shown.wants_request(at(601)));
        let mut deleted = waiting(0);
        deleted.advance(Some(&request(json!({}))), at(1), ZERO);
        deleted.advance(None, at(2), ZERO);
        assert!(deleted.wants_request(at(2)));
    }

    #[test]
    fn late_renewals_are_told_once_each() {
        let mut record = fresh();
        record.not_asked(at(3007));
        assert_eq!(record.bundle(at(3007)).unwrap().1, at(3008));
        assert!(!record.wants_request(at(3007)) && record.wants_request(at(3008)));
        record.asked(Pending::new("key2".into(), "req-2".into(), at(3008), Duration::from_secs(9999)));
        assert_eq!(record.bundle(at(3008)).unwrap().1, at(3608));
        assert_eq!(record.advance(None, at(3608), ZERO)[0].0, "CertificateOverdueForRefresh");
        assert_eq!(record.state(at(3608)), "overdue_for_refresh");
        assert_eq!(record.bundle(at(3608)).unwrap().1, at(5001));
        let told = record.advance(None, at(5001), ZERO);
        assert_eq!(told, [("CertificateExpired", "PodCertificate expired".to_owned())]);
        assert_eq!(record.state(at(5001)), "expired");
        assert_eq!(record.bundle(at(5001)).unwrap().0.key, "key");
    }
}
