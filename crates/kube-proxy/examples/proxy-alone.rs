//! The proxy as a program of its own, with upstream's flags: what `benches/kube-proxy --alone` measures without
//! building the whole binary.

use component_base::flags::ClientOptions;
use kube_proxy::config::{Options, Settings};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parsed = Options::parse(std::env::args_os())?;
    let settings = Settings::from_options(&parsed.options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let options =
            ClientOptions { kubeconfig: settings.kubeconfig.clone(), ..parsed.options.client.clone() };
        let client = component_base::kubeconfig::client_from_options(&options).await?;
        Ok(kube_proxy::run(settings, client, CancellationToken::new()).await?)
    })
}
