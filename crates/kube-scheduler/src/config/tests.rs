//! Files and flags, and what is refused of them.

use std::path::Path;

use super::*;

fn settings(text: &str) -> Result<Settings, Error> {
    let parsed = Options::parse(["kube-scheduler"].map(Into::into)).unwrap();
    let mut settings = Settings::from_options(&parsed.options)?;
    let text =
        format!("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n{text}");
    let file = component_base::config::parse(
        Path::new("s.yaml"),
        &text,
        &["kubescheduler.config.k8s.io/v1"],
        "KubeSchedulerConfiguration",
    )?;
    settings.apply(&file)?;
    Ok(settings)
}

/// Name and weight of the plugins that score.
fn scoring(settings: &Settings, profile: usize) -> String {
    let profile = settings.profiles[profile].build(None).unwrap();
    profile
        .scores()
        .iter()
        .map(|(id, weight)| format!("{}={weight}", profile.plugin(*id).name()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_default_profile() {
    let found = settings("").unwrap();
    assert_eq!(found.profiles[0].name, "default-scheduler");
    assert_eq!(
        scoring(&found, 0),
        "TaintToleration=3 NodeAffinity=2 NodeResourcesFit=1 PodTopologySpread=2 InterPodAffinity=2 NodeResourcesBalancedAllocation=1 ImageLocality=1"
    );
    let profile = found.profiles[0].build(None).unwrap();
    let filters: Vec<_> = profile.filters().map(|(_, p)| p.name()).collect();
    assert_eq!(
        filters[..6],
        ["NodeName", "NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"]
    );
}

#[test]
fn profiles_change_the_defaults() {
    let text = "
podMaxBackoffSeconds: 20
parallelism: 4
percentageOfNodesToScore: 30
leaderElection: {leaderElect: false}
profiles:
- schedulerName: a
  plugins:
    score:
      disabled: [{name: ImageLocality}]
      enabled: [{name: TaintToleration, weight: 7}]
    multiPoint:
      disabled: [{name: NodeAffinity}]
- schedulerName: b
  percentageOfNodesToScore: 100
  plugins:
    score:
      disabled: [{name: '*'}]
      enabled: [{name: NodeResourcesFit, weight: 5}]
  pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 3}]}
";
    let found = settings(text).unwrap();
    assert_eq!(
        scoring(&found, 0),
        "TaintToleration=7 NodeResourcesFit=1 PodTopologySpread=2 InterPodAffinity=2 NodeResourcesBalancedAllocation=1"
    );
    assert_eq!(scoring(&found, 1), "NodeResourcesFit=5");
    assert_eq!(found.times.max_backoff, Duration::from_secs(20));
    assert_eq!(found.profiles[1].build(None).unwrap().percentage(), 100);
    assert_eq!(found.profiles[0].build(None).unwrap().percentage(), 30);
}

#[test]
fn what_cannot_be_is_named() {
    for (text, expected) in [
        (
            "profiles: [{plugins: {score: {enabled: [{name: Nonsense}]}}}]",
            "profiles[0].plugins.score.enabled: plugin \"Nonsense\" does not exist",
        ),
        (
            "profiles: [{plugins: {multiPoint: {enabled: [{name: GangScheduling}]}}}]",
            "plugin \"GangScheduling\" is not built yet",
        ),
        (
            "profiles: [{pluginConfig: [{name: DynamicResources, args: {filterTimeout: 1s}}]}]",
            "arguments of DynamicResources are not built yet",
        ),
        (
            "profiles: [{pluginConfig: [{name: PodTopologySpread, args: {defaultConstraints: [{maxSkew: 1}]}}]}]",
            "when .defaultingType is System, must be empty",
        ),
        (
            "profiles: [{pluginConfig: [{name: InterPodAffinity, args: {hardPodAffinityWeight: 101}}]}]",
            "not in valid range [0-100]",
        ),
        (
            "profiles: [{pluginConfig: [{name: DefaultPreemption, args: {minCandidateNodesPercentage: 101}}]}]",
            "not in valid range [0, 100]",
        ),
        (
            "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {nonsense: 1}}]}]",
            "unknown field `nonsense`",
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            "profiles[1].schedulerName: Duplicate value: \"a\"",
        ),
        ("percentageOfNodesToScore: 101", "not in valid range [0-100]"),
        ("extenders: [{urlPrefix: x}]", "extenders: extenders are not built yet"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: must be greater than 0"),
        ("profiles: [{plugins: {bind: {disabled: [{name: '*'}]}}}]", "at least one bind plugin is needed"),
        ("nonsense: 1", "unknown field `nonsense`"),
    ] {
        let error = settings(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn flags_of_a_usual_command_line() {
    let args = "kube-scheduler --kubeconfig=a.conf --authentication-kubeconfig=a.conf --authorization-kubeconfig=a.conf --bind-address=127.0.0.1 --leader-elect=true";
    let parsed = Options::parse(args.split(' ').map(Into::into)).unwrap();
    let settings = Settings::from_options(&parsed.options).unwrap();
    assert_eq!(settings.kubeconfig, "a.conf");
    assert!(settings.leader_election.leader_elect && parsed.ignored.is_empty());
}
