//! What only the client of a real etcd has: TLS, several endpoints, and watches that outlive their
//! connection. Skipped, with a word, where there is no etcd.

use std::path::Path;

use etcd::{ClientConfig, Error, PutRequest, RangeRequest, WatchRequest};
use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::etcd_server::{Server, connect, start};
use crate::put;

/// Writes a CA, and a certificate for server and client.
fn make_certificates(dir: &Path) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    for name in ["server", "client"] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_client_certificates() {
    let Ok(binary) = crate::etcd_server::binary() else {
        println!("TLS to a real etcd skipped: there is none");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let server = Server::start(binary, Some(dir.path()));
    let mut config = ClientConfig::new([server.url()]);
    config.ca_file = Some(dir.path().join("ca.pem"));
    let anonymous = config.clone();
    config.cert_file = Some(dir.path().join("client.pem"));
    config.key_file = Some(dir.path().join("client.key"));
    let store = connect(&config).await;
    assert_eq!(put(&store, "/a", "1").await, 2);
    let refused = etcd::Client::new(&anonymous).unwrap();
    let error = etcd::Store::status(&refused).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_is_passed_over() {
    let Some(server) = start("a_dead_endpoint_is_passed_over").await else { return };
    let store = connect(&ClientConfig::new(["http://127.0.0.1:9", server.url()])).await;
    let revision = put(&store, "/a", "1").await;
    let fresh = etcd::Client::new(&ClientConfig::new(["http://127.0.0.1:9", server.url()])).unwrap();
    let put = etcd::Store::put(&fresh, PutRequest::new("/a", "2")).await.unwrap();
    assert_eq!(put.revision, revision + 1, "a write that never left is tried elsewhere");
    let watch = etcd::Store::watch(&fresh, WatchRequest::prefix("/a", revision)).await;
    assert!(watch.unwrap().next().await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_and_reads_outlive_the_server() {
    let Some(mut server) = start("watches_and_reads_outlive_the_server").await else { return };
    let store = server.store().await;
    let mut watches = Vec::new();
    for n in 0..10 {
        watches.push(store.watch(WatchRequest::prefix(format!("/{n}/"), 0)).await.unwrap());
    }
    for n in 0..10 {
        put(&store, &format!("/{n}/before"), "v").await;
    }
    for watch in &mut watches {
        assert_eq!(watch.next().await.unwrap().unwrap().events.len(), 1);
    }
    server.kill();
    let error = store.put(PutRequest::new("/x", "v")).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    server.restart();
    let other = server.store().await;
    for n in 0..10 {
        put(&other, &format!("/{n}/after"), "v").await;
    }
    for (n, watch) in watches.iter_mut().enumerate() {
        let events = watch.next().await.unwrap().unwrap().events;
        assert_eq!(events.len(), 1, "each event once");
        assert_eq!(events[0].kv.key, format!("/{n}/after"));
    }
    let count =
        store.range(RangeRequest { count_only: true, ..RangeRequest::prefix("/") }).await.unwrap().count;
    assert_eq!(count, 20);
}
