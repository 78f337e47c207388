//! `kubectl run`: one pod.

use api::{Value, value};
use http::Method;

use crate::apply::DryRun;
use crate::args::Flags;
use crate::error::{Error, Result};
use crate::output::{self, Format};
use crate::server::{Ask, JSON};
use crate::targets::Target;
use crate::{Context, exec, expose, logs, watching};

const FLAGS: &str = "image= env= port= labels,l= command restart= image-pull-policy= annotations= stdin,i tty,t \
    attach rm quiet,q leave-stdin-open expose dry-run?unchanged field-manager= save-config overrides= override-type= \
    privileged pod-running-timeout= grace-period= timeout= force wait now cascade?background";
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

pub async fn run(arguments: &[String]) -> Result<()> {
    let flags = Flags::parse("run", &[FLAGS, output::FLAGS].join(" "), arguments)?;
    for name in ["overrides", "override-type", "expose", "leave-stdin-open"] {
        if flags.given(name) {
            return Err(Error::not_built(format!("run --{name}")));
        }
    }
    let attach = flags.on("attach") || flags.on("stdin");
    let dry_run = DryRun::of(&flags)?;
    let mut pod = pod(&flags)?;
    if flags.on("rm") && !attach {
        return Err(Error::plain("--rm should only be used for attached containers"));
    }
    let context = Context::new(&flags).await?;
    let resource = context.mapper.resource("pods")?;
    let mut target =
        Target { resource, namespace: context.server.settings.namespace.clone(), name: String::new() };
    pod.set_at(&["metadata", "namespace"], target.namespace.as_str());
    let answer = if dry_run == DryRun::Client {
        pod
    } else {
        let manager = if flags.given("field-manager") { flags.text("field-manager") } else { "kubectl-run" };
        let ask = Ask::new(Method::POST, target.path())
            .with("fieldManager", manager)
            .sending(api::json::to_vec(&pod), JSON);
        context.server.value(&dry_run.on(ask)).await?
    };
    target.name = answer.str_at(&["metadata", "name"]).to_owned();
    if flags.given("output") {
        Format::of(&flags)?.print(&answer, &context.mapper, flags.on("show-managed-fields"))?;
    } else if !attach || dry_run != DryRun::No {
        output::say(format!("{} created{}", target.display(), dry_run.suffix()));
    }
    if !attach || dry_run != DryRun::No {
        return Ok(());
    }
    let done = attached(&context, &flags, &target).await;
    if flags.on("rm") {
        let ask = Ask::new(Method::DELETE, target.path());
        context.server.value(&ask).await?;
        output::say(format!("{} deleted from {} namespace", target.quoted(), target.namespace));
    }
    done
}

fn pod(flags: &Flags) -> Result<Value> {
    let [name, rest @ ..] = flags.words.as_slice() else {
        return Err(Error::plain("NAME is required for run\nSee 'kubectl run -h' for help and examples"));
    };
    if !rest.is_empty() && flags.dash.is_none_or(|at| at > 1) && !flags.on("command") && flags.dash.is_some()
    {
        return Err(Error::Plain(format!("unexpected words before `--`: {rest:?}")));
    }
    if flags.text("image").is_empty() {
        return Err(Error::plain("required flag(s) \"image\" not set"));
    }
    let mut container = value!({"name": (name.as_str()), "image": (flags.text("image")), "resources": {}});
    if !rest.is_empty() {
        let words = rest.iter().map(|w| Value::from(w.as_str())).collect();
        container.set_at(&[if flags.on("command") { "command" } else { "args" }], Value::List(words));
    }
    let env = flags.all("env").iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(value!({"name": (name), "value": (value)})),
        _ => Err(Error::Plain(format!("invalid env: {pair}"))),
    });
    let env = env.collect::<Result<Vec<_>>>()?;
    if !env.is_empty() {
        container.set_at(&["env"], Value::List(env));
    }
    if flags.given("port") {
        container.set_at(&["ports"], value!([{"containerPort": (flags.int("port", 0)?)}]));
    }
    for (flag, field) in [("stdin", "stdin"), ("tty", "tty")] {
        if flags.on(flag) {
            container.set_at(&[field], true);
        }
    }
    if flags.on("stdin") {
        container.set_at(&["stdinOnce"], true);
    }
    if flags.on("privileged") {
        container.set_at(&["securityContext", "privileged"], true);
    }
    if flags.given("image-pull-policy") {
        container.set_at(&["imagePullPolicy"], flags.text("image-pull-policy"));
    }
    let restart = match flags.text("restart") {
        "" => "Always",
        known @ ("Always" | "OnFailure" | "Never") => known,
        other => {
            return Err(Error::Plain(format!(
                "invalid restart policy: {other}, valid values are: Always, OnFailure, Never"
            )));
        }
    };
    let labels = match flags.text("labels") {
        "" => value!({"run": (name.as_str())}),
        text => expose::pairs(text)?,
    };
    let mut pod = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": (name.as_str()), "labels": (labels)},
        "spec": {"containers": [(container)], "restartPolicy": (restart), "dnsPolicy": "ClusterFirst"}, "status": {}});
    for pair in flags.all("annotations") {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::Plain(format!("unexpected annotation spec: {pair}")))?;
        pod.set_at(&["metadata", "annotations", key], value);
    }
    Ok(pod)
}

/// Waits until it runs and attaches; shows its logs where it has ended before.
async fn attached(context: &Context, flags: &Flags, target: &Target) -> Result<()> {
    if flags.on("stdin") && !flags.on("quiet") {
        eprintln!("If you don't see a command prompt, try pressing enter.");
    }
    let limit = flags.duration("pod-running-timeout", MINUTE)?;
    let mut ended = false;
    let running = watching::until(&context.server, target, limit, |pod| {
        let pod = pod.ok_or_else(|| Error::plain("the pod was deleted"))?;
        let phase = pod.str_at(&["status", "phase"]);
        ended = matches!(phase, "Succeeded" | "Failed");
        Ok(ended || phase == "Running")
    });
    if !running.await? {
        return Err(Error::plain("timed out waiting for the condition"));
    }
    let mut words = inherited(flags);
    words.push(format!("--namespace={}", target.namespace));
    words.push(target.name.clone());
    if ended {
        return Box::pin(logs::run(&words)).await;
    }
    words.extend(["stdin", "tty"].into_iter().filter(|f| flags.on(f)).map(|f| format!("--{f}")));
    match Box::pin(exec::run(&words, exec::Kind::Attach)).await {
        // It ended between the two.
        Err(Error::Plain(text)) if text.contains("completed pod") => {
            words.retain(|w| w != "--stdin" && w != "--tty");
            Box::pin(logs::run(&words)).await
        }
        other => other,
    }
}

/// The flags that say which server and who.
pub fn inherited(flags: &Flags) -> Vec<String> {
    let names = [
        "kubeconfig",
        "context",
        "cluster",
        "user",
        "server",
        "token",
        "as",
        "as-group",
        "as-uid",
        "certificate-authority",
        "client-certificate",
        "client-key",
        "tls-server-name",
        "insecure-skip-tls-verify",
    ];
    names
        .iter()
        .flat_map(|name| flags.all(name).iter().map(move |value| format!("--{name}={value}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_of_the_flags() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let of = |text: &str| pod(&Flags::parse("run", FLAGS, &words(text)).unwrap());
        let pod =
            of("x --image=busybox --restart=Never --env=A=b --port=80 -l a=b --command -- sleep 5").unwrap();
        let want = value!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {
            "containers": [{"name": "x", "image": "busybox", "resources": {}, "command": ["sleep", "5"], "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}]}],
            "restartPolicy": "Never", "dnsPolicy": "ClusterFirst"}, "status": {}});
        assert_eq!(pod, want);
        assert_eq!(of("x --image=i").unwrap().str_at(&["metadata", "labels", "run"]), "x");
        assert_eq!(of("x").unwrap_err().to_string(), "required flag(s) \"image\" not set");
        assert!(of("x --image=i --restart=No").is_err());
    }
}
