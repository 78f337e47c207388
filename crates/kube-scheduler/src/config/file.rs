//! KubeSchedulerConfiguration as a file holds it, read strictly.

use client::leader::LeaderElectionOptions;
use component_base::GoDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeSchedulerConfiguration {
    /// Accepted: a cycle looks at the nodes one after the other.
    pub parallelism: Option<i32>,
    pub leader_election: LeaderElectionConfiguration,
    pub client_connection: ClientConnection,
    pub enable_profiling: Option<IgnoredAny>,
    pub enable_contention_profiling: Option<IgnoredAny>,
    pub percentage_of_nodes_to_score: Option<i32>,
    pub pod_initial_backoff_seconds: Option<i64>,
    pub pod_max_backoff_seconds: Option<i64>,
    pub profiles: Vec<ProfileFile>,
    pub extenders: Option<Vec<IgnoredAny>>,
    /// Accepted: the cache is always filled only once the lease is held.
    pub delay_cache_until_active: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeaderElectionConfiguration {
    leader_elect: Option<bool>,
    lease_duration: Option<GoDuration>,
    renew_deadline: Option<GoDuration>,
    retry_period: Option<GoDuration>,
    resource_lock: Option<String>,
    resource_name: Option<String>,
    resource_namespace: Option<String>,
}

impl LeaderElectionConfiguration {
    /// Sets what the file sets.
    pub fn apply(&self, options: &mut LeaderElectionOptions) {
        fn set<T: Clone>(value: &Option<T>, to: &mut T) {
            if let Some(value) = value {
                to.clone_from(value);
            }
        }
        set(&self.leader_elect, &mut options.leader_elect);
        set(&self.lease_duration, &mut options.leader_elect_lease_duration);
        set(&self.renew_deadline, &mut options.leader_elect_renew_deadline);
        set(&self.retry_period, &mut options.leader_elect_retry_period);
        set(&self.resource_lock, &mut options.leader_elect_resource_lock);
        set(&self.resource_name, &mut options.leader_elect_resource_name);
        set(&self.resource_namespace, &mut options.leader_elect_resource_namespace);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientConnection {
    pub kubeconfig: String,
    accept_content_types: Option<IgnoredAny>,
    content_type: Option<IgnoredAny>,
    qps: Option<IgnoredAny>,
    burst: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProfileFile {
    pub scheduler_name: Option<String>,
    pub percentage_of_nodes_to_score: Option<i32>,
    pub plugins: PluginsFile,
    pub plugin_config: Vec<PluginConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginsFile {
    pub pre_enqueue: PluginSetFile,
    pub queue_sort: PluginSetFile,
    pub pre_filter: PluginSetFile,
    pub filter: PluginSetFile,
    pub post_filter: PluginSetFile,
    pub pre_score: PluginSetFile,
    pub score: PluginSetFile,
    pub reserve: PluginSetFile,
    pub permit: PluginSetFile,
    pub pre_bind: PluginSetFile,
    pub bind: PluginSetFile,
    pub post_bind: PluginSetFile,
    pub multi_point: PluginSetFile,
    pub placement_generate: PluginSetFile,
    pub placement_score: PluginSetFile,
    pub pod_group_post_filter: PluginSetFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginSetFile {
    pub enabled: Vec<PluginFile>,
    pub disabled: Vec<PluginFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginFile {
    pub name: String,
    pub weight: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PluginConfig {
    pub name: String,
    pub args: serde_json::Map<String, serde_json::Value>,
}
