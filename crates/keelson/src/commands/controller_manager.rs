//! `keelson kube-controller-manager`

use kube_controller_manager::{Options, UNBUILT};

use super::{Outcome, daemon};

pub fn run(arguments: Vec<String>) -> Outcome {
    let parsed = component_base::flags::parse::<Options>(arguments.into_iter().map(Into::into), UNBUILT)?;
    daemon::run(parsed.options.logging.v, async |shutdown| {
        parsed.warn_ignored();
        let client = component_base::kubeconfig::client_from_options(&parsed.options.client).await?;
        Ok(kube_controller_manager::run(parsed.options.clone(), client, shutdown).await?)
    })
}
