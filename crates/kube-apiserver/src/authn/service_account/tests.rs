//! A token and key made by the Go API server, and round trips of our own.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::testing::Fake;

const GO_KEY: &str = include_str!("testdata/go.pub");
const GO_TOKEN: &str = include_str!("testdata/go.token");
const GO_KID: &str = "o40-3OEZvhLB44AMKEDohoS6dM8bZWPLTUm3HMT1vNQ";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const UID: &str = "a3d4a04c-b02a-4e60-9892-b9e54caf0345";

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn cluster() -> Arc<Fake> {
    Fake::with(&[
        ("serviceaccounts", json!({"metadata": {"namespace": "default", "name": "robot", "uid": UID}})),
        ("pods", json!({"metadata": {"namespace": "default", "name": "p", "uid": "pod-uid"}})),
    ])
}

fn verifier(keys: Keys, fake: Arc<Fake>) -> ServiceAccounts {
    ServiceAccounts::new(vec![ISSUER.into()], keys, vec![ISSUER.into()], true, fake)
}

#[test]
fn the_key_id_is_upstreams() {
    let keys = Keys::from_pem(GO_KEY).unwrap();
    assert_eq!(keys.0[0].id, GO_KID);
    let jwk = keys.0[0].jwk();
    assert_eq!((jwk["e"].as_str(), jwk["kty"].as_str()), (Some("AQAB"), Some("RSA")));
    assert!(jwk["n"].as_str().unwrap().starts_with("0KwqxDJWrMjmiAOrXK1SbpQp"));
}

#[test]
fn a_token_of_the_go_server() {
    let accounts = verifier(Keys::from_pem(GO_KEY).unwrap(), cluster());
    let audiences = ["bar".to_owned(), "baz".to_owned()];
    let now = at(1_795_263_500);
    let accepted = accounts.authenticate(GO_TOKEN, &audiences, now).unwrap().unwrap();
    assert_eq!(accepted.user.name, "system:serviceaccount:default:robot");
    assert_eq!(accepted.user.uid, UID);
    assert_eq!(
        accepted.user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    );
    assert_eq!(
        accepted.user.extra["authentication.kubernetes.io/credential-id"],
        ["JTI=49822594-9d88-47dd-ba19-a687445111ba"]
    );
    assert_eq!(accepted.audiences, ["bar"]);
    let refused =
        |audiences: &[String], now| accounts.authenticate(GO_TOKEN, audiences, now).unwrap_err().to_string();
    assert!(refused(&["x".into()], now).contains("is invalid for the target audiences"));
    assert_eq!(refused(&audiences, at(1_795_267_100)), "service account token has expired");
    assert_eq!(refused(&audiences, at(1_795_263_000)), "service account token is not valid yet");
}

#[test]
fn a_changed_token_is_refused() {
    let accounts = verifier(Keys::from_pem(GO_KEY).unwrap(), cluster());
    let mut changed = GO_TOKEN.to_owned();
    let at_payload = changed.find('.').unwrap() + 40;
    let other = if changed.as_bytes()[at_payload] == b'A' { "B" } else { "A" };
    changed.replace_range(at_payload..=at_payload, other);
    let result = accounts.authenticate(&changed, &["bar".into()], at(1_795_263_500));
    assert!(!matches!(result, Ok(Some(_))));
    assert!(matches!(accounts.authenticate("abc", &[], at(0)), Ok(None)));
}

fn issuer() -> Issuer {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    Issuer {
        issuer: ISSUER.into(),
        audiences: vec![ISSUER.into()],
        key: SigningKey::from_pem(&pair.serialize_pem()).unwrap(),
        max_expiration: None,
        extend: true,
    }
}

fn request<'a>(seconds: i64, bound: Bound) -> TokenRequest<'a> {
    TokenRequest {
        namespace: "default",
        account: Reference { name: "robot".into(), uid: UID.into() },
        audiences: vec![],
        expiration_seconds: Some(seconds),
        bound,
        now: at(1_000_000),
    }
}

fn pod() -> Bound {
    Bound::Pod {
        pod: Reference { name: "p".into(), uid: "pod-uid".into() },
        node: Some(Reference { name: "n1".into(), uid: "node-uid".into() }),
    }
}

#[test]
fn claims_are_upstreams() {
    let (claims, asked) = issuer().claims(&request(3607, pod()));
    assert_eq!(asked, 3607);
    let text = serde_json::to_string(&claims).unwrap().replace(&claims.jti, "J");
    assert_eq!(
        text,
        format!(
            r#"{{"aud":["{ISSUER}"],"exp":32536000,"iat":1000000,"iss":"{ISSUER}","jti":"J","kubernetes.io":{{"namespace":"default","node":{{"name":"n1","uid":"node-uid"}},"pod":{{"name":"p","uid":"pod-uid"}},"serviceaccount":{{"name":"robot","uid":"{UID}"}},"warnafter":1003607}},"nbf":1000000,"sub":"system:serviceaccount:default:robot"}}"#
        )
    );
    let (claims, _) = issuer().claims(&request(600, pod()));
    assert_eq!((claims.exp, claims.private.warnafter), (1_000_600, None));
}

#[test]
fn a_bound_token_ends_with_its_pod() {
    let issuer = issuer();
    let fake = cluster();
    let accounts = verifier(Keys(vec![issuer.key.public.clone()]), fake.clone());
    let token = issuer.issue(&request(3600, pod())).unwrap().token;
    let now = at(1_000_100);
    let accepted = accounts.authenticate(&token, &[ISSUER.into()], now).unwrap().unwrap();
    assert_eq!(accepted.user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(accepted.user.extra["authentication.kubernetes.io/node-uid"], ["node-uid"]);
    fake.put("pods", json!({"metadata": {"namespace": "default", "name": "p", "uid": "another"}}));
    assert!(accounts.authenticate(&token, &[ISSUER.into()], now).is_err());
    fake.remove("pods", "default", "p");
    assert!(accounts.authenticate(&token, &[ISSUER.into()], now).is_err());
}

#[test]
fn other_forms_of_keys() {
    let issuer = issuer();
    for name in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let pair = rcgen::KeyPair::generate_for(name).unwrap();
        let signing = SigningKey::from_pem(&pair.serialize_pem()).unwrap();
        let from_public = Keys::from_pem(&pair.public_key_pem()).unwrap();
        let from_private = Keys::from_pem(&pair.serialize_pem()).unwrap();
        let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap();
        let from_certificate = Keys::from_pem(&certificate.pem()).unwrap();
        assert_eq!(from_public.0, from_private.0);
        assert_eq!(from_public.0, from_certificate.0);
        let signature = signing.sign(b"text").unwrap();
        assert!(from_public.0[0].verifies(b"text", &signature));
        assert!(!from_public.0[0].verifies(b"test", &signature));
        assert!(!issuer.key.public.verifies(b"text", &signature));
    }
    assert!(Keys::from_pem("nothing").is_err());
}

#[test]
fn discovery() {
    let keys = Keys::from_pem(GO_KEY).unwrap();
    let documents = discovery::Documents::new(ISSUER, "https://h:1/openid/v1/jwks", &keys).unwrap();
    assert_eq!(
        documents.get(discovery::CONFIGURATION_PATH).unwrap().0,
        format!(
            r#"{{"issuer":"{ISSUER}","jwks_uri":"https://h:1/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}}"#
        )
    );
    assert!(documents.get(discovery::JWKS_PATH).unwrap().0.contains(GO_KID));
    assert!(discovery::Documents::new("kubernetes", "x", &keys).is_none());
}
