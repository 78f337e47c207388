//! One policy rule: what it matches, and whether a set of rules covers another.

use api::Value;
use apiserver::auth::Attributes;
use compact_str::CompactString;

type List = Vec<CompactString>;

/// `rbac.authorization.k8s.io` PolicyRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub verbs: List,
    pub api_groups: List,
    pub resources: List,
    pub resource_names: List,
    pub non_resource_urls: List,
}

fn list(rule: &Value, field: &str) -> List {
    rule.list_at(&[field]).iter().filter_map(|v| v.as_str().map(CompactString::from)).collect()
}

fn has(list: &[CompactString], item: &str) -> bool {
    list.iter().any(|s| s == item)
}

fn has_or_star(list: &[CompactString], item: &str) -> bool {
    list.iter().any(|s| s == "*" || s == item)
}

impl Rule {
    pub fn of(rule: &Value) -> Self {
        Self {
            verbs: list(rule, "verbs"),
            api_groups: list(rule, "apiGroups"),
            resources: list(rule, "resources"),
            resource_names: list(rule, "resourceNames"),
            non_resource_urls: list(rule, "nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn all_of(role: &Value) -> Vec<Self> {
        role.list_at(&["rules"]).iter().map(Self::of).collect()
    }

    /// The two rules that together allow all.
    pub fn everything() -> [Self; 2] {
        let star = || vec![CompactString::from("*")];
        [
            Self { verbs: star(), api_groups: star(), resources: star(), ..Self::default() },
            Self { verbs: star(), non_resource_urls: star(), ..Self::default() },
        ]
    }

    pub fn allows(&self, a: &Attributes<'_>) -> bool {
        if !has_or_star(&self.verbs, a.verb) {
            return false;
        }
        if !a.is_resource {
            return self.non_resource_urls.iter().any(|url| url_matches(url, a.path));
        }
        has_or_star(&self.api_groups, a.group)
            && self.resources.iter().any(|r| resource_matches(r, a.resource, a.subresource))
            && (self.resource_names.is_empty() || has(&self.resource_names, a.name))
    }

    /// Upstream's compact form, as denials print it.
    pub fn describe(&self) -> String {
        let quoted = |list: &List| list.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" ");
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = parts
            .iter()
            .filter(|(_, l)| !l.is_empty())
            .map(|(name, l)| format!("{name}:[{}]", quoted(l)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }

    fn covers(&self, sub: &Self) -> bool {
        let all = |owner: &List, sub: &List| has(owner, "*") || sub.iter().all(|s| has(owner, s));
        let names = self.resource_names.is_empty()
            || !sub.resource_names.is_empty()
                && sub.resource_names.iter().all(|n| has(&self.resource_names, n));
        all(&self.verbs, &sub.verbs)
            && all(&self.api_groups, &sub.api_groups)
            && sub.resources.iter().all(|r| self.covers_resource(r))
            && sub
                .non_resource_urls
                .iter()
                .all(|u| self.non_resource_urls.iter().any(|own| url_matches(own, u)))
            && names
    }

    fn covers_resource(&self, resource: &str) -> bool {
        let (base, sub) = resource.split_once('/').unwrap_or((resource, ""));
        self.resources.iter().any(|own| resource_matches(own, base, sub))
    }

    /// One rule for each single thing it allows.
    fn single(&self) -> Vec<Self> {
        let one = |s: &CompactString| vec![s.clone()];
        let mut out = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let base = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        out.push(base);
                        continue;
                    }
                    out.extend(
                        self.resource_names.iter().map(|n| Self { resource_names: one(n), ..base.clone() }),
                    );
                }
            }
            let url =
                |u: &CompactString| Self { verbs: one(verb), non_resource_urls: one(u), ..Self::default() };
            out.extend(self.non_resource_urls.iter().map(url));
        }
        out
    }
}

/// `*`, `pods`, `pods/log`, `*/scale` against a resource and its subresource; nothing is allocated.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        None => subresource.is_empty() && pattern == resource,
        Some((base, sub)) => {
            !subresource.is_empty() && sub == subresource && (base == "*" || base == resource)
        }
    }
}

/// `*`, `/healthz`, `/healthz/*`.
fn url_matches(pattern: &str, path: &str) -> bool {
    pattern == "*"
        || pattern == path
        || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// What of `wanted` no rule of `owned` covers, merged by verb; empty when all is covered.
pub fn uncovered(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for single in wanted.iter().flat_map(Rule::single) {
        if owned.iter().any(|own| own.covers(&single)) {
            continue;
        }
        let same = missing.iter_mut().find(|m| {
            (&m.api_groups, &m.resources, &m.resource_names, &m.non_resource_urls)
                == (&single.api_groups, &single.resources, &single.resource_names, &single.non_resource_urls)
        });
        match same {
            Some(known) if has(&known.verbs, &single.verbs[0]) => {}
            Some(known) => known.verbs.extend(single.verbs),
            None => missing.push(single),
        }
    }
    missing
}
