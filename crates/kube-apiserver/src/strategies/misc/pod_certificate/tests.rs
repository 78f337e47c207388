//! Requests and answers of one signer, made with rcgen.

use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::testing::value;

const NOW: i64 = 1_800_000_000;

fn csr(key: &rcgen::KeyPair) -> Vec<u8> {
    rcgen::CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn spec(stub: &[u8]) -> serde_json::Value {
    json!({"signerName": "e.com/s", "podName": "p", "podUID": "1", "serviceAccountName": "a",
        "serviceAccountUID": "2", "nodeName": "n", "nodeUID": "3", "maxExpirationSeconds": 86400,
        "stubPKCS10Request": STANDARD.encode(stub)})
}

fn refused(spec: serde_json::Value) -> Vec<String> {
    let (spec, mut errors) = (value(spec), ErrorList::new());
    create(spec.as_map().unwrap(), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn requests_name_everything_and_prove_their_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let stub = csr(&key);
    assert_eq!(refused(spec(&stub)), [""; 0]);
    let with = |name: &str, is: serde_json::Value| {
        let mut spec = spec(&stub);
        spec[name] = is;
        refused(spec)
    };
    assert_eq!(with("podUID", json!("")), ["spec.podUID: Invalid value: \"\": must not be empty"]);
    assert_eq!(
        with("nodeUID", json!("x".repeat(129))),
        ["spec.nodeUID: Too long: may not be more than 128 bytes"]
    );
    let range = "spec.maxExpirationSeconds: Invalid value: 60: must be in the range [3600, 7862400]";
    assert_eq!(with("maxExpirationSeconds", json!(60)), [range]);
    assert_eq!(
        with("maxExpirationSeconds", json!(null)),
        ["spec.maxExpirationSeconds: Required value: must be set"]
    );
    assert_eq!(
        with("stubPKCS10Request", json!("AAAA")),
        ["spec.stubPKCS10Request: Invalid value: must be a valid PKCS#10 CSR"]
    );
    let mut forged = stub.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        with("stubPKCS10Request", json!(STANDARD.encode(forged))),
        ["spec.stubPKCS10Request: Invalid value: invalid signature"]
    );
    assert!(with("stubPKCS10Request", json!(null))[0].starts_with("spec: Invalid value: exactly one of"));
}

/// Made by openssl: an empty request of a P-521 key.
const P521_REQUEST: &str = include_str!("p521.txt");
/// Made by openssl: one of an RSA key with 2048 bits.
const RSA2048_REQUEST: &str = include_str!("rsa2048.txt");

#[test]
fn other_keys() {
    let of =
        |text: &str| refused(spec(&STANDARD.decode(text.split_whitespace().collect::<String>()).unwrap()));
    assert_eq!(of(P521_REQUEST), [""; 0]);
    assert_eq!(
        of(RSA2048_REQUEST),
        [
            "spec.stubPKCS10Request: Invalid value: \"2048-bit modulus\": RSA keys must have modulus size 3072 or 4096"
        ]
    );
}

struct Answer {
    key: rcgen::KeyPair,
    begin: i64,
    end: i64,
    refresh: i64,
    status: serde_json::Value,
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

impl Answer {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        Self { key, begin: NOW, end: NOW + 7200, refresh: NOW + 3600, status: json!({}) }
    }

    fn chain(&self) -> String {
        let mut params = rcgen::CertificateParams::new(vec!["a.b".to_owned()]).unwrap();
        let at = |second: i64| std::time::UNIX_EPOCH + Duration::from_secs(second.unsigned_abs());
        (params.not_before, params.not_after) = (at(self.begin).into(), at(self.end).into());
        params.self_signed(&self.key).unwrap().pem()
    }

    fn issued(&self) -> serde_json::Value {
        let condition =
            json!({"type": "Issued", "status": "True", "reason": "R", "lastTransitionTime": time(NOW)});
        let mut status = json!({"conditions": [condition], "certificateChain": self.chain(),
            "notBefore": time(self.begin), "notAfter": time(self.end), "beginRefreshAt": time(self.refresh)});
        for (name, is) in self.status.as_object().unwrap() {
            status[name] = is.clone();
        }
        status
    }

    fn refused(&self, old: serde_json::Value, new: serde_json::Value) -> Vec<String> {
        let object = |status| value(json!({"spec": spec(&csr(&self.key)), "status": status}));
        let mut errors = ErrorList::new();
        status(&object(new), &object(old), Timestamp::from_second(NOW).unwrap(), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn first(&self) -> Vec<String> {
        self.refused(json!({}), self.issued())
    }
}

#[test]
fn an_issued_chain_fits_its_request() {
    assert_eq!(Answer::new().first(), [""; 0]);
    let other = Answer { status: json!({"certificateChain": Answer::new().chain()}), ..Answer::new() };
    assert!(other.first()[0].ends_with("leaf certificate was not issued to the requested public key"));
    let early = Answer { begin: NOW - 300, ..Answer::new() };
    assert!(early.first()[0].ends_with("must be set to within 5 minutes of kube-apiserver's current time"));
    let short = Answer { end: NOW + 3599, refresh: NOW + 1800, ..Answer::new() };
    assert_eq!(
        short.first(),
        ["status.certificateChain: Invalid value: 59m59s: leaf certificate lifetime must be >= 1 hour"]
    );
    let long = Answer { end: NOW + 86_401, ..Answer::new() };
    assert!(long.first()[0].ends_with("must be <= spec.maxExpirationSeconds (86400)"));
    let late = Answer { refresh: NOW + 6601, ..Answer::new() };
    assert_eq!(
        late.first(),
        [
            "status.beginRefreshAt: Invalid value: 2027-01-15 09:50:01 +0000 UTC: must be at least 10 minutes before status.notAfter"
        ]
    );
    let timeless = Answer { status: json!({"notAfter": null}), ..Answer::new() };
    assert_eq!(
        timeless.first(),
        ["status.notAfter: Required value: must be present and consistent with the issued certificate"]
    );
    let none = Answer { status: json!({"certificateChain": "text"}), ..Answer::new() };
    assert!(none.first()[0].contains("must contain at least one certificate"));
}

#[test]
fn one_answer_holds() {
    let answer = Answer::new();
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "reason": "R", "lastTransitionTime": time(NOW)});
    let denied = json!({"conditions": [condition("Denied")]});
    assert_eq!(answer.refused(json!({}), denied.clone()), [""; 0]);
    assert_eq!(answer.refused(denied.clone(), denied.clone()), [""; 0]);
    assert_eq!(
        answer.refused(denied.clone(), answer.issued()),
        ["status: Invalid value: immutable after PodCertificateRequest is issued, denied, or failed"]
    );
    let mut more = denied.clone();
    more["notAfter"] = json!(time(NOW));
    assert!(
        answer.refused(json!({}), more)[0].starts_with("status: Invalid value: non-condition status fields")
    );
    assert!(
        answer.refused(json!({}), json!({"notAfter": time(NOW)}))[0].contains("status is immutable unless")
    );
    let two = json!({"conditions": [condition("Denied"), condition("Failed")]});
    assert_eq!(answer.refused(json!({}), two).len(), 1);
    let other = json!({"conditions": [condition("Approved")]});
    assert!(
        answer.refused(json!({}), other)[0].contains("supported values: \"Denied\", \"Failed\", \"Issued\"")
    );
}
