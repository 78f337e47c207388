//! Types of a ValidatingAdmissionPolicy's expressions against the kinds that it is about: warnings for its status,
//! never a refusal.

use api::Value;
use api::value;
use apimachinery::GroupVersionKind;
use apimachinery::field::Path;
use cel::Schema;

use crate::compiler::{Compiler, Refused, Returns};
use crate::environment::{self, Declared};

/// Kinds that one policy is checked against.
pub const MAX_KINDS: usize = 10;

/// A group, a version and a resource whose kinds are wanted.
pub type Wanted = (String, String, String);

/// The resources that a policy names without a wildcard, in upstream's order.
pub fn wanted(policy: &Value) -> Vec<Wanted> {
    let mut out = Vec::new();
    for rule in policy.list_at(&["spec", "matchConstraints", "resourceRules"]) {
        let texts = |key: &str| {
            let mut list: Vec<&str> = rule.list_at(&[key]).iter().filter_map(Value::as_str).collect();
            list.sort_unstable();
            list
        };
        let (groups, versions, mut resources) =
            (texts("apiGroups"), texts("apiVersions"), texts("resources"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        resources.retain(|resource| !resource.contains(['*', '/']));
        for group in &groups {
            for version in &versions {
                let resource =
                    |resource: &&str| ((*group).to_owned(), (*version).to_owned(), (*resource).to_owned());
                out.extend(resources.iter().map(resource));
            }
        }
    }
    out
}

/// A kind with its type.
pub struct Typed {
    pub kind: GroupVersionKind,
    pub schema: Schema,
}

/// `status.typeChecking.expressionWarnings`. `kinds` are those of [`wanted`] that are known; `params` is the type of
/// the policy's parameters, where it has some and the type is known.
pub fn check(policy: &Value, kinds: &mut [Typed], params: Option<&Schema>) -> Vec<Value> {
    kinds.sort_by(|a, b| {
        let key = |t: &Typed| (t.kind.group.clone(), t.kind.version.clone(), t.kind.kind.clone());
        key(a).cmp(&key(b))
    });
    let has_params = policy.at(&["spec", "paramKind"]).is_some_and(|kind| !kind.is_null());
    let compilers: Vec<(&GroupVersionKind, Compiler)> = kinds
        .iter()
        .map(|typed| {
            let environment = environment::typed(Some(&typed.schema), has_params.then_some(params));
            (&typed.kind, with_variables(policy, Compiler::typed(environment)))
        })
        .collect();
    let mut out = Vec::new();
    for (i, validation) in policy.list_at(&["spec", "validations"]).iter().enumerate() {
        let path = Path::new("spec").child("validations").index(i);
        for key in ["expression", "messageExpression"] {
            let text = validation.str_at(&[key]);
            if text.is_empty() && key == "messageExpression" {
                continue;
            }
            let warnings: Vec<String> =
                compilers.iter().filter_map(|(kind, compiler)| warning(kind, compiler, text)).collect();
            if !warnings.is_empty() {
                out.push(value!({"fieldRef": (path.child(key).as_str()), "warning": (warnings.join("\n"))}));
            }
        }
    }
    out
}

fn with_variables(policy: &Value, mut compiler: Compiler) -> Compiler {
    for of in policy.list_at(&["spec", "variables"]) {
        // One that fails shows where it is used.
        let _ = compiler.variable(of.str_at(&["name"]), of.str_at(&["expression"]), Declared::default());
    }
    compiler
}

fn warning(kind: &GroupVersionKind, compiler: &Compiler, text: &str) -> Option<String> {
    match compiler.compile(text, Declared::default(), Returns::Anything) {
        Ok(_) => None,
        Err(Refused::Source(issues)) => {
            Some(format!("{}, Kind={}: {issues}\n", kind.group_version_words(), kind.kind))
        }
        Err(other) => Some(format!("{}, Kind={}: {other}\n", kind.group_version_words(), kind.kind)),
    }
}

/// As Go prints a GroupVersionKind.
trait Words {
    fn group_version_words(&self) -> String;
}

impl Words for GroupVersionKind {
    fn group_version_words(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}
