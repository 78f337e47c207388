//! The certificates of a cluster, as kubeadm makes them: three authorities, the API server's certificates, a
//! client certificate for each component, and the key pair of service account tokens. ECDSA P-256 throughout.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::layout::Layout;
use crate::record::write_whole;
use crate::{During, Error};

/// Who a certificate is for and what it may be used as.
struct Subject<'a> {
    common_name: &'a str,
    group: Option<&'a str>,
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

/// Makes what is missing; what is there stays, so that `up` after `up` keeps every certificate.
pub fn ensure(layout: &Layout, nodes: &[(String, Ipv4Addr)]) -> Result<(), Error> {
    let dir = layout.pki();
    let ca = authority(&dir, "ca", "kubernetes")?;
    let front = authority(&dir, "front-proxy-ca", "front-proxy-ca")?;
    key_pair(&dir, "sa")?;
    issue(&dir, "apiserver", &ca, server_subject(layout)?)?;
    for (file, name, group) in [
        ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters")),
        ("admin", "kubernetes-admin", Some("system:masters")),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("kube-proxy", "system:kube-proxy", None),
        ("flannel", "system:flannel", None),
        ("coredns", "system:coredns", None),
    ] {
        issue(&dir, file, &ca, client(name, group))?;
    }
    issue(&dir, "front-proxy-client", &front, client("front-proxy-client", None))?;
    for (node, ip) in nodes {
        let name = format!("system:node:{node}");
        issue(&dir, &format!("{node}-client"), &ca, client(&name, Some("system:nodes")))?;
        let names = vec![dns(node)?, SanType::IpAddress(IpAddr::V4(*ip))];
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let subject = Subject { common_name: &name, group: Some("system:nodes"), names, usages };
        issue(&dir, &format!("{node}-serving"), &ca, subject)?;
    }
    Ok(())
}

pub fn certificate_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.crt"))
}

pub fn key_file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.key"))
}

fn server_subject(layout: &Layout) -> Result<Subject<'static>, Error> {
    let mut names = [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .into_iter()
    .map(dns)
    .collect::<Result<Vec<_>, _>>()?;
    for ip in [Ipv4Addr::LOCALHOST, layout.host_ip(), layout.service_ip()] {
        names.push(SanType::IpAddress(IpAddr::V4(ip)));
    }
    Ok(Subject {
        common_name: "kube-apiserver",
        group: None,
        names,
        usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
    })
}

fn dns(name: &str) -> Result<SanType, Error> {
    Ok(SanType::DnsName(name.try_into()?))
}

fn client<'a>(common_name: &'a str, group: Option<&'a str>) -> Subject<'a> {
    Subject { common_name, group, names: Vec::new(), usages: vec![ExtendedKeyUsagePurpose::ClientAuth] }
}

fn name(common_name: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// Ten years, from the day before the first release: clocks of machines differ.
fn validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2046, 1, 1);
}

fn authority(dir: &Path, file: &str, common_name: &str) -> Result<Issuer<'static, KeyPair>, Error> {
    let (crt, key) = (certificate_file(dir, file), key_file(dir, file));
    if crt.exists() && key.exists() {
        let pair = KeyPair::from_pem(&read(&key)?)?;
        return Ok(Issuer::from_ca_cert_pem(&read(&crt)?, pair)?);
    }
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![dns(common_name)?];
    validity(&mut params);
    let certificate = params.self_signed(&pair)?;
    write_whole(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_whole(&crt, certificate.pem().as_bytes(), 0o644)?;
    Ok(Issuer::new(params, pair))
}

fn issue(dir: &Path, file: &str, ca: &Issuer<'_, KeyPair>, subject: Subject<'_>) -> Result<(), Error> {
    let (crt, key) = (certificate_file(dir, file), key_file(dir, file));
    if crt.exists() && key.exists() {
        return Ok(());
    }
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = name(subject.common_name, subject.group);
    params.subject_alt_names = subject.names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = subject.usages;
    params.use_authority_key_identifier_extension = true;
    validity(&mut params);
    let certificate = params.signed_by(&pair, ca)?;
    write_whole(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_whole(&crt, certificate.pem().as_bytes(), 0o644)
}

/// The key that signs service account tokens and the public half that verifies them.
fn key_pair(dir: &Path, file: &str) -> Result<(), Error> {
    let (public, key) = (dir.join(format!("{file}.pub")), key_file(dir, file));
    if public.exists() && key.exists() {
        return Ok(());
    }
    let pair = KeyPair::generate()?;
    write_whole(&key, pair.serialize_pem().as_bytes(), 0o600)?;
    write_whole(&public, pair.public_key_pem().as_bytes(), 0o644)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).during(format!("reading {}", path.display()))
}
