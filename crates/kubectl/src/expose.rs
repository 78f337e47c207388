//! `kubectl expose`: a Service for the pods of a workload, of a pod, or of another Service.

use api::{Value, value};
use http::Method;

use crate::apply::DryRun;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::server::{Ask, JSON};
use crate::targets::Target;
use crate::{Context, manifests, targets};

const FLAGS: &str = "port= target-port= name= type= protocol= selector,l= labels= cluster-ip= external-ip= \
    load-balancer-ip= session-affinity= dry-run?unchanged field-manager= save-config overrides= container-port=";

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("expose", &[FLAGS, output::FLAGS, manifests::FLAGS].join(" "), arguments)?;
    if flags.given("overrides") {
        return Err(Error::not_built("expose --overrides"));
    }
    let context = Context::new(&flags).await?;
    let targets = targets::of_flags(&context.mapper, &flags, &context.server, &flags.words)?;
    if targets.is_empty() || targets.iter().any(|t| t.name.is_empty()) {
        return Err(Error::plain("resource(s) were provided, but no name was specified"));
    }
    for target in &targets {
        one(&context, &flags, target).await?;
    }
    Ok(())
}

async fn one(context: &Context, flags: &Flags, target: &Target) -> Result<()> {
    if !matches!(
        target.resource.kind.as_str(),
        "Pod" | "Service" | "ReplicationController" | "Deployment" | "ReplicaSet"
    ) {
        return Err(Error::Plain(format!("cannot expose a {}", target.resource.kind)));
    }
    let object = context.server.value(&Ask::get(target.path())).await?;
    let service = service(&object, flags, &target.name)?;
    let dry_run = DryRun::of(flags)?;
    let resource = context.mapper.resource("services")?;
    let answer = if dry_run == DryRun::Client {
        service
    } else {
        let manager =
            if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl-expose" };
        let ask = Ask::new(Method::POST, resource.path(&target.namespace, ""))
            .with("fieldManager", manager)
            .sending(api::json::to_vec(&service), JSON);
        context.server.value(&dry_run.on(ask)).await?
    };
    if flags.given("output") {
        return Format::of(flags)?.print(&answer, &context.mapper, flags.on("show-managed-fields"));
    }
    output::say(format!("service/{} exposed{}", answer.str_at(&["metadata", "name"]), dry_run.suffix()));
    Ok(())
}

fn service(object: &Value, flags: &Flags, name: &str) -> Result<Value> {
    let name = if flags.given("name") { flags.text("name") } else { name };
    let selector = if flags.given("selector") { pairs(flags.text("selector"))? } else { selector(object)? };
    let mut service =
        value!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": (name)}, "spec": {}});
    let labels = match flags.text("labels") {
        "" => object.at(&["metadata", "labels"]).cloned(),
        text => Some(pairs(text)?),
    };
    if let Some(labels) = labels.filter(|l| l.as_map().is_some_and(|m| !m.is_empty())) {
        service.set_at(&["metadata", "labels"], labels);
    }
    service.set_at(&["spec", "ports"], Value::List(ports(object, flags)?));
    service.set_at(&["spec", "selector"], selector);
    for (flag, field) in
        [("type", "type"), ("load-balancer-ip", "loadBalancerIP"), ("session-affinity", "sessionAffinity")]
    {
        if flags.given(flag) {
            service.set_at(&["spec", field], flags.text(flag));
        }
    }
    if flags.given("external-ip") {
        let ips = flags.list("external-ip").into_iter().map(|ip| Value::from(ip.as_str())).collect();
        service.set_at(&["spec", "externalIPs"], Value::List(ips));
    }
    if flags.given("cluster-ip") {
        service.set_at(&["spec", "clusterIP"], flags.text("cluster-ip"));
    }
    Ok(service)
}

/// `a=b,c=d`.
pub fn pairs(text: &str) -> Result<Value> {
    let mut map = Value::map();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (key, value) =
            part.split_once('=').ok_or_else(|| Error::Plain(format!("unexpected label spec: {part}")))?;
        map.set_at(&[key], value);
    }
    Ok(map)
}

fn selector(object: &Value) -> Result<Value> {
    let found = match object.str_at(&["kind"]) {
        "Pod" => object.at(&["metadata", "labels"]),
        "Deployment" | "ReplicaSet" => object.at(&["spec", "selector", "matchLabels"]),
        _ => object.at(&["spec", "selector"]),
    };
    let found = found.filter(|s| s.as_map().is_some_and(|m| !m.is_empty())).cloned();
    found.ok_or_else(|| Error::plain("couldn't retrieve selectors via --selector flag or introspection: the object has no labels and cannot be exposed"))
}

/// Number and protocol of each port of the object itself.
fn known_ports(object: &Value) -> Vec<(i64, String)> {
    let or_tcp = |p: &Value| match p.str_at(&["protocol"]) {
        "" => "TCP".to_owned(),
        other => other.to_owned(),
    };
    if object.str_at(&["kind"]) == "Service" {
        return object
            .list_at(&["spec", "ports"])
            .iter()
            .map(|p| (p.int_at(&["port"]).unwrap_or(0), or_tcp(p)))
            .collect();
    }
    let spec: Vec<&str> =
        crate::change::image::pod_spec(object).iter().copied().chain(["containers"]).collect();
    let ports = object.list_at(&spec).iter().flat_map(|c| c.list_at(&["ports"]));
    ports.map(|p| (p.int_at(&["containerPort"]).unwrap_or(0), or_tcp(p))).collect()
}

fn ports(object: &Value, flags: &Flags) -> Result<Vec<Value>> {
    let known = known_ports(object);
    let numbers: Vec<i64> = match flags.text("port") {
        "" => known.iter().map(|(n, _)| *n).collect(),
        text => text
            .split(',')
            .map(|p| p.parse().map_err(|_| Error::Plain(format!("port {p:?} is no number"))))
            .collect::<Result<_>>()?,
    };
    if numbers.is_empty() {
        return Err(Error::plain("couldn't find port via --port flag or introspection"));
    }
    let many = numbers.len() > 1;
    let one = |(at, number): (usize, &i64)| {
        let protocol = match flags.text("protocol") {
            "" => known.iter().find(|(n, _)| n == number).map_or("TCP", |(_, p)| p.as_str()),
            given => given,
        };
        let mut port = value!({"port": (*number), "protocol": (protocol)});
        match flags.text("target-port") {
            "" => port.set_at(&["targetPort"], *number),
            text => match text.parse::<i64>() {
                Ok(number) => port.set_at(&["targetPort"], number),
                Err(_) => port.set_at(&["targetPort"], text),
            },
        };
        if many {
            port.set_at(&["name"], format!("port-{}", at + 1));
        }
        port
    };
    Ok(numbers.iter().enumerate().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_a_deployment() {
        let object = value!({"kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}]}}}});
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            service(&object, &Flags::parse("expose", FLAGS, &words).unwrap(), "web").unwrap()
        };
        assert_eq!(
            of(&["--port=8080", "--target-port=http", "--type=NodePort", "--name=x"]),
            value!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "labels": {"app": "web"}}, "spec": {
                "ports": [{"port": 8080, "protocol": "TCP", "targetPort": "http"}], "selector": {"app": "web"}, "type": "NodePort"}})
        );
        let both = of(&[]);
        let second = &both.list_at(&["spec", "ports"])[1];
        assert_eq!(
            (second.str_at(&["protocol"]), second.str_at(&["name"]), second.int_at(&["targetPort"])),
            ("UDP", "port-2", Some(53))
        );
    }
}
