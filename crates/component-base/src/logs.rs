//! Logs on standard error. `--v` maps to levels: 0-2 info, 3-4 debug, 5 and above trace; `RUST_LOG` overrides.

use tracing_subscriber::EnvFilter;

/// Sets up logging for the process. The second and later calls change nothing.
pub fn init_logging(v: u8) {
    let level = match v {
        0..=2 => "info",
        3 | 4 => "debug",
        _ => "trace",
    };
    // The wire's own libraries are only of interest to who asks for all.
    let quiet = if v >= 8 {
        ""
    } else {
        ",hyper=warn,hyper_util=warn,h2=warn,rustls=warn,tower=warn,kube=warn,kube_client=warn,tonic=info"
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(format!("{level}{quiet}")));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = subscriber.try_init();
}
