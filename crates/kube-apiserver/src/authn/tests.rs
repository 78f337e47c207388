//! The union of authenticators on requests with certificates, headers and tokens.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use super::*;
use crate::testing::Fake;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "ca");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(ca: &Ca, cn: &str, organization: &str, usage: ExtendedKeyUsagePurpose) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.extended_key_usages = vec![usage];
    params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap().der().to_vec()
}

fn peer(der: Vec<u8>) -> Peer {
    Peer { certificates: vec![der], ..Peer::default() }
}

fn parts(headers: &[(&str, &str)]) -> http::request::Parts {
    let builder = headers.iter().fold(http::Request::builder(), |b, (k, v)| b.header(*k, *v));
    builder.body(()).unwrap().into_parts().0
}

struct Setup {
    ca: Ca,
    proxy_ca: Ca,
    authentication: Authentication,
}

fn setup(anonymous: bool) -> Setup {
    let (ca, proxy_ca) = (ca(), ca());
    let words = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let config = Config {
        client_ca: Some(x509::CaPool::from_pem(&ca.pem()).unwrap()),
        request_header: Some(request_header::RequestHeader {
            pool: x509::CaPool::from_pem(&proxy_ca.pem()).unwrap(),
            allowed_names: words(&["front-proxy-client"]),
            username_headers: words(&["X-Remote-User"]),
            uid_headers: words(&["X-Remote-Uid"]),
            group_headers: words(&["X-Remote-Group"]),
            extra_prefixes: words(&["X-Remote-Extra-"]),
        }),
        tokens: Some(token_file::TokenFile::parse("secret,file-user,1").unwrap()),
        anonymous,
        ..Config::default()
    };
    Setup { ca, proxy_ca, authentication: Authentication::new(config, Arc::new(Fake::default())) }
}

async fn name(setup: &Setup, headers: &[(&str, &str)], peer: &Peer) -> String {
    match setup.authentication.authenticate(&parts(headers), peer).await {
        Ok(Some(found)) => format!("{} {}", found.user.name, found.user.groups.join(",")),
        Ok(None) => "nobody".into(),
        Err(status) => status.code.to_string(),
    }
}

#[tokio::test]
async fn certificates() {
    let setup = setup(true);
    let good = peer(leaf(&setup.ca, "joe", "dev", ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(name(&setup, &[], &good).await, "joe dev,system:authenticated");
    assert_eq!(name(&setup, &[], &good).await, "joe dev,system:authenticated", "the remembered one");
    let server = peer(leaf(&setup.ca, "joe", "dev", ExtendedKeyUsagePurpose::ServerAuth));
    assert_eq!(name(&setup, &[], &server).await, "401");
    let foreign = peer(leaf(&ca(), "joe", "dev", ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(name(&setup, &[], &foreign).await, "401");
    assert_eq!(
        name(&setup, &[("authorization", "Bearer secret")], &foreign).await,
        "file-user system:authenticated"
    );
}

#[tokio::test]
async fn front_proxy() {
    let setup = setup(true);
    let headers = [
        ("x-remote-user", "amy"),
        ("x-remote-group", "g1"),
        ("x-remote-group", "g2"),
        ("x-remote-extra-example.com%2fkey", "v"),
    ];
    let proxy = peer(leaf(&setup.proxy_ca, "front-proxy-client", "x", ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(name(&setup, &headers, &proxy).await, "amy g1,g2,system:authenticated");
    let found = setup.authentication.authenticate(&parts(&headers), &proxy).await.unwrap().unwrap();
    assert_eq!(found.user.extra["example.com/key"], ["v"]);
    let other = peer(leaf(&setup.proxy_ca, "somebody", "x", ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(name(&setup, &headers, &other).await, "401");
    // A user's own certificate does not make its headers believed.
    let user = peer(leaf(&setup.ca, "joe", "dev", ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(name(&setup, &headers, &user).await, "joe dev,system:authenticated");
    assert_eq!(name(&setup, &headers, &Peer::default()).await, "system:anonymous system:unauthenticated");
}

#[tokio::test]
async fn tokens() {
    let open = setup(true);
    let none = Peer::default();
    assert_eq!(
        name(&open, &[("authorization", "Bearer secret")], &none).await,
        "file-user system:authenticated"
    );
    assert_eq!(name(&open, &[("authorization", "Bearer wrong")], &none).await, "401");
    assert_eq!(
        name(&open, &[("authorization", "Basic xyz")], &none).await,
        "system:anonymous system:unauthenticated"
    );
    assert_eq!(name(&setup(false), &[], &none).await, "nobody");
    let websocket = [
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io"),
    ];
    assert_eq!(name(&open, &websocket, &none).await, "file-user system:authenticated");
    let inside = Peer { in_process: Some(Arc::new(UserInfo::loopback())), ..Peer::default() };
    assert_eq!(name(&open, &[], &inside).await, "system:apiserver system:masters,system:authenticated");
}
