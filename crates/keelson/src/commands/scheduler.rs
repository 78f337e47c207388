//! `keelson kube-scheduler`

use component_base::flags::ClientOptions;
use kube_scheduler::{Options, Settings};

use super::{Outcome, daemon};

pub fn run(arguments: Vec<String>) -> Outcome {
    let parsed = Options::parse(arguments.into_iter().map(Into::into))?;
    let settings = Settings::from_options(&parsed.options)?;
    daemon::run(parsed.options.logging.v, async |shutdown| {
        parsed.warn_ignored();
        let options =
            ClientOptions { kubeconfig: settings.kubeconfig.clone(), ..parsed.options.client.clone() };
        let client = component_base::kubeconfig::client_from_options(&options).await?;
        Ok(kube_scheduler::run_settings(settings, client, shutdown).await?)
    })
}
