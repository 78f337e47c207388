//! A table of questions against a small cluster.

use super::*;

struct Cluster;

fn service(namespace: &str, name: &str) -> Option<Service> {
    let text = match (namespace, name) {
        ("default", "web") => {
            r#"{"spec":{"type":"ClusterIP","clusterIPs":["10.96.0.7"],"ports":[{"name":"http","protocol":"TCP","port":80}]}}"#
        }
        ("default", "db") => {
            r#"{"spec":{"type":"ClusterIP","clusterIPs":["None"],"ports":[{"name":"sql","protocol":"TCP","port":5432}]}}"#
        }
        ("default", "gone") => r#"{"spec":{"type":"ClusterIP","clusterIPs":["None"]}}"#,
        ("default", "out") => r#"{"spec":{"type":"ExternalName","externalName":"Example.com."}}"#,
        _ => return None,
    };
    let mut service: Service = serde_json::from_str(text).unwrap();
    service.metadata.name = name.into();
    service.metadata.namespace = namespace.into();
    Some(service)
}

fn slice() -> Slice {
    serde_json::from_str(
        r#"{"metadata":{"namespace":"default","labels":{"kubernetes.io/service-name":"db"}},
            "ports":[{"name":"sql","protocol":"TCP","port":5432}],
            "endpoints":[{"addresses":["10.244.0.5"],"hostname":"db-0","conditions":{"ready":true}},
                         {"addresses":["10.244.0.6"],"conditions":{"ready":true}},
                         {"addresses":["10.244.0.9"],"conditions":{"ready":false}}]}"#,
    )
    .unwrap()
}

impl Source for Cluster {
    fn namespace_exists(&self, name: &str) -> bool {
        name == "default"
    }
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        super::tests::service(namespace, name).map(Arc::new)
    }
    fn slices(&self, namespace: &str, name: &str) -> Vec<Arc<Slice>> {
        if (namespace, name) == ("default", "db") { vec![Arc::new(slice())] } else { Vec::new() }
    }
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        if address.to_string() == "10.96.0.7" {
            vec![Arc::new(service("default", "web").unwrap())]
        } else {
            Vec::new()
        }
    }
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<Slice>> {
        if address.to_string() == "10.244.0.5" { vec![Arc::new(slice())] } else { Vec::new() }
    }
}

fn ask(name: &str, kind: Kind) -> String {
    let show = |r: &Record| match &r.data {
        Data::Address(a) => a.to_string(),
        Data::Cname(n) | Data::Ptr(n) | Data::Ns(n) | Data::Txt(n) => n.clone(),
        Data::Srv { port, weight, target, .. } => format!("{weight} {port} {target}"),
        Data::Soa => "soa".into(),
    };
    match Zone::new("cluster.local").resolve(&Cluster, name, kind) {
        Meaning::Records(records, extra) => {
            let text = |list: &[Record]| list.iter().map(show).collect::<Vec<_>>().join(", ");
            if extra.is_empty() { text(&records) } else { format!("{} + {}", text(&records), text(&extra)) }
        }
        Meaning::External(record) => format!("cname {}", show(&record)),
        Meaning::NoSuchName => "nxdomain".into(),
        Meaning::Elsewhere => "elsewhere".into(),
    }
}

#[test]
fn names_mean_what_the_specification_says() {
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local", Kind::A, "10.96.0.7"),
        ("web.default.svc.cluster.local", Kind::Aaaa, ""),
        ("web.other.svc.cluster.local", Kind::A, "nxdomain"),
        ("default.svc.cluster.local", Kind::A, ""),
        ("other.svc.cluster.local", Kind::A, "nxdomain"),
        ("svc.cluster.local", Kind::A, ""),
        ("cluster.local", Kind::Soa, "soa"),
        ("cluster.local", Kind::Ns, "ns.dns.cluster.local"),
        ("dns-version.cluster.local", Kind::Txt, "1.1.0"),
        ("example.com", Kind::A, "elsewhere"),
        ("notcluster.local", Kind::A, "elsewhere"),
        ("db.default.svc.cluster.local", Kind::A, "10.244.0.5, 10.244.0.6"),
        ("gone.default.svc.cluster.local", Kind::A, "nxdomain"),
        ("db-0.db.default.svc.cluster.local", Kind::A, "10.244.0.5"),
        ("10-244-0-6.db.default.svc.cluster.local", Kind::A, "10.244.0.6"),
        ("10-244-0-9.db.default.svc.cluster.local", Kind::A, "nxdomain"),
        (
            "_http._tcp.web.default.svc.cluster.local",
            Kind::Srv,
            "100 80 web.default.svc.cluster.local + 10.96.0.7",
        ),
        ("_http._tcp.web.default.svc.cluster.local", Kind::A, ""),
        ("_http._udp.web.default.svc.cluster.local", Kind::Srv, "nxdomain"),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            Kind::Srv,
            "50 5432 db-0.db.default.svc.cluster.local, 50 5432 10-244-0-6.db.default.svc.cluster.local + 10.244.0.6, 10.244.0.5",
        ),
        ("out.default.svc.cluster.local", Kind::A, "cname example.com"),
        ("out.default.svc.cluster.local", Kind::Cname, "example.com"),
        ("10-1-2-3.default.pod.cluster.local", Kind::A, "10.1.2.3"),
        ("10-1-2-3.other.pod.cluster.local", Kind::A, "nxdomain"),
        ("10-1-2-300.default.pod.cluster.local", Kind::A, "nxdomain"),
        ("7.0.96.10.in-addr.arpa", Kind::Ptr, "web.default.svc.cluster.local"),
        ("5.0.244.10.in-addr.arpa", Kind::Ptr, "db-0.db.default.svc.cluster.local"),
        ("8.8.8.8.in-addr.arpa", Kind::Ptr, "elsewhere"),
    ] {
        assert_eq!(ask(name, kind), expected, "{name} {kind:?}");
    }
}

#[test]
fn a_name_of_ip6_arpa_needs_all_its_digits() {
    let full = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
    assert_eq!(reverse(full), Some("::1".parse().unwrap()));
    assert_eq!(reverse("1.0.ip6.arpa"), None);
}
