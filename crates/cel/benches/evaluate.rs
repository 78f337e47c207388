//! CPU of evaluating expressions: nanoseconds of each, as JSON lines, for comparison with cel-go on the same machine
//! (`cargo bench -p cel`). The expressions are those that policies are made of.

use cel::{Budget, Environment, Type, Value};

const EXPRESSIONS: [&str; 6] = [
    "object.spec.replicas <= 5",
    "has(object.metadata.labels) && 'app' in object.metadata.labels && object.metadata.labels['app'] == 'web'",
    "object.spec.template.spec.containers.all(c, c.image.startsWith('registry.example.com/'))",
    "object.spec.template.spec.containers.all(c, !has(c.securityContext) || c.securityContext.privileged != true)",
    "object.spec.template.spec.containers.map(c, c.name).exists(n, n.matches('^side-[a-z]+$'))",
    "object.spec.template.spec.containers.filter(c, has(c.resources)).all(c, quantity(c.resources.limits.memory).isLessThan(quantity('2Gi')))",
];

/// Nanoseconds that this thread has run: a busy machine does not count.
fn cpu() -> u128 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn object() -> api::Value {
    let container = |n: i64| {
        api::value!({
            "name": format!("side-{n}x"),
            "image": "registry.example.com/app:v1",
            "resources": {"limits": {"memory": "512Mi"}},
            "ports": [{"containerPort": 80}]
        })
    };
    let containers: Vec<api::Value> = (0..4).map(container).collect();
    api::value!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": containers}}}
    })
}

fn main() {
    let environment = Environment::builder().variable("object", Type::Dyn).build();
    let object = object();
    for source in EXPRESSIONS {
        let Ok(program) = environment.compile(source) else { continue };
        let variables = [("object", Value::dynamic(&object))];
        let rounds = 200_000;
        let start = cpu();
        let mut good = 0;
        for _ in 0..rounds {
            let mut budget = Budget::default();
            good += usize::from(program.evaluate(&variables, &mut budget).is_ok());
        }
        let each = (cpu() - start) / rounds;
        println!("{{\"ns\": {each}, \"good\": {}, \"expr\": {source:?}}}", good == rounds as usize);
    }
    let start = cpu();
    let rounds: u128 = 2_000;
    for _ in 0..rounds {
        for source in EXPRESSIONS {
            assert!(environment.compile(source).is_ok());
        }
    }
    println!("{{\"ns\": {}, \"expr\": \"compile\"}}", (cpu() - start) / rounds / EXPRESSIONS.len() as u128);
}
