//! Defaults and limits of the configuration, as `kubelet.config.k8s.io/v1beta1` has them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ConfigError, GoDuration, KubeletConfiguration};

fn duration(field: &mut Option<GoDuration>, seconds: u64) {
    if field.is_none_or(|value| value.0.is_zero()) {
        *field = Some(GoDuration(Duration::from_secs(seconds)));
    }
}

fn text(field: &mut String, value: &str) {
    if field.is_empty() {
        value.clone_into(field);
    }
}

fn number(field: &mut i32, value: i32) {
    if *field == 0 {
        *field = value;
    }
}

impl KubeletConfiguration {
    /// Fills every unset field that has a default.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        text(&mut self.api_version, "kubelet.config.k8s.io/v1beta1");
        text(&mut self.kind, "KubeletConfiguration");
        self.default_server();
        self.default_node();
        self.default_pods();
        self
    }

    fn default_server(&mut self) {
        self.enable_server.get_or_insert(true);
        text(&mut self.address, "0.0.0.0");
        number(&mut self.port, 10250);
        self.authentication.anonymous.enabled.get_or_insert(false);
        self.authentication.webhook.enabled.get_or_insert(true);
        duration(&mut self.authentication.webhook.cache_ttl, 120);
        text(&mut self.authorization.mode, "Webhook");
        duration(&mut self.authorization.webhook.cache_authorized_ttl, 300);
        duration(&mut self.authorization.webhook.cache_unauthorized_ttl, 30);
        self.enable_debugging_handlers.get_or_insert(true);
        self.healthz_port.get_or_insert(10248);
        text(&mut self.healthz_bind_address, "127.0.0.1");
        duration(&mut self.streaming_connection_idle_timeout, 4 * 3600);
        self.enable_system_log_handler.get_or_insert(true);
    }

    fn default_node(&mut self) {
        duration(&mut self.sync_frequency, 60);
        duration(&mut self.file_check_frequency, 20);
        self.event_record_qps.get_or_insert(50);
        number(&mut self.event_burst, 100);
        self.oom_score_adj.get_or_insert(-999);
        if self.node_status_report_frequency.is_none_or(|value| value.0.is_zero()) {
            let update = self.node_status_update_frequency.filter(|value| !value.0.is_zero());
            self.node_status_report_frequency = Some(update.unwrap_or(GoDuration(Duration::from_secs(300))));
        }
        duration(&mut self.node_status_update_frequency, 10);
        number(&mut self.node_lease_duration_seconds, 40);
        self.image_gc_high_threshold_percent.get_or_insert(85);
        self.image_gc_low_threshold_percent.get_or_insert(80);
        self.node_status_max_images.get_or_insert(50);
        self.register_node.get_or_insert(true);
        self.enable_controller_attach_detach.get_or_insert(true);
        self.fail_swap_on.get_or_insert(true);
        self.fail_cgroup_v1.get_or_insert(true);
        text(&mut self.volume_plugin_dir, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/");
        text(&mut self.container_runtime_endpoint, "unix:///run/containerd/containerd.sock");
        duration(&mut self.image_minimum_gc_age, 120);
        self.default_eviction();
        self.enforce_node_allocatable.get_or_insert_with(|| vec!["pods".to_owned()]);
    }

    /// A list that is given replaces the default one whole, unless they are to be merged.
    fn default_eviction(&mut self) {
        duration(&mut self.eviction_pressure_transition_period, 300);
        let thresholds = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("nodefs.inodesFree", "5%"),
            ("imagefs.available", "15%"),
            ("imagefs.inodesFree", "5%"),
        ];
        let defaults: BTreeMap<String, String> =
            thresholds.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        match &mut self.eviction_hard {
            Some(given) if self.merge_default_eviction_settings == Some(true) => {
                for (name, value) in defaults {
                    given.entry(name).or_insert(value);
                }
            }
            Some(_) => {}
            none => *none = Some(defaults),
        }
    }

    fn default_pods(&mut self) {
        text(&mut self.container_log_max_size, "10Mi");
        self.container_log_max_files.get_or_insert(5);
        self.container_log_max_workers.get_or_insert(1);
        duration(&mut self.container_log_monitor_interval, 10);
        self.registry_pull_qps.get_or_insert(5);
        number(&mut self.registry_burst, 10);
        text(&mut self.pod_logs_dir, "/var/log/pods");
        text(&mut self.cgroup_driver, "cgroupfs");
        self.cgroups_per_qos.get_or_insert(true);
        duration(&mut self.runtime_request_timeout, 120);
        number(&mut self.max_pods, 110);
        self.pod_pids_limit.get_or_insert(-1);
        self.resolver_config.get_or_insert_with(|| "/etc/resolv.conf".to_owned());
        self.cpu_cfs_quota.get_or_insert(true);
        if self.cpu_cfs_quota_period.is_none_or(|value| value.0.is_zero()) {
            self.cpu_cfs_quota_period = Some(GoDuration(Duration::from_millis(100)));
        }
        self.serialize_image_pulls.get_or_insert(self.max_parallel_image_pulls.is_none_or(|pulls| pulls < 2));
        duration(&mut self.crash_loop_back_off.max_container_restart_period, 300);
        self.seccomp_default.get_or_insert(false);
    }

    /// Refuses values that upstream refuses, and features that cannot be left out silently.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut reasons = Vec::new();
        let mut check = |wrong: bool, reason: String| {
            if wrong {
                reasons.push(reason);
            }
        };
        check(
            self.max_pods < 0,
            format!("maxPods (--max-pods) {} must not be a negative number", self.max_pods),
        );
        let ports = [("port", self.port), ("healthzPort", self.healthz_port.unwrap_or_default())];
        for (name, port) in ports {
            check(
                !(0..=65535).contains(&port),
                format!("{name} {port} must be between 0 and 65535, inclusive"),
            );
        }
        check(
            !["cgroupfs", "systemd"].contains(&self.cgroup_driver.as_str()),
            format!("cgroupDriver {:?} must be one of [cgroupfs, systemd]", self.cgroup_driver),
        );
        check(
            self.cgroup_driver == "systemd",
            "cgroupDriver \"systemd\" is not built yet; use \"cgroupfs\"".to_owned(),
        );
        check(
            !["Webhook", "AlwaysAllow"].contains(&self.authorization.mode.as_str()),
            format!("authorization.mode {:?} must be one of [AlwaysAllow, Webhook]", self.authorization.mode),
        );
        let oom = self.oom_score_adj.unwrap_or_default();
        check(!(-1000..=1000).contains(&oom), format!("oomScoreAdj {oom} must be between -1000 and 1000"));
        check(
            self.server_tls_bootstrap && !self.tls_cert_file.is_empty(),
            "serverTLSBootstrap cannot be set together with tlsCertFile".to_owned(),
        );
        let (high, low) = (
            self.image_gc_high_threshold_percent.unwrap_or_default(),
            self.image_gc_low_threshold_percent.unwrap_or_default(),
        );
        check(
            low >= high,
            format!(
                "imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
            ),
        );
        check(
            self.container_log_max_files.is_some_and(|files| files < 2),
            "containerLogMaxFiles (--container-log-max-files) must be greater than 1".to_owned(),
        );
        if let Err(error) = crate::eviction::thresholds::parse(self) {
            check(true, error);
        }
        check(
            self.read_only_port.as_ref().is_some_and(|value| value.as_i64() != Some(0)),
            "readOnlyPort is not served".to_owned(),
        );
        if reasons.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(reasons.join("; "))) }
    }
}
