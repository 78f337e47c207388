//! The DNS server as a program of its own: `dns-alone KUBECONFIG ADDRESS:PORT`. `benches/dns` measures it.

use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, kubeconfig, listen] = arguments.as_slice() else {
        return Err("dns-alone KUBECONFIG ADDRESS:PORT".into());
    };
    let options = coredns::Options {
        listen: vec![listen.parse()?],
        domain: "cluster.local".into(),
        resolv_conf: None,
        not_upstream: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async move {
        let config = component_base::kubeconfig::config_from_file(kubeconfig.as_ref()).await?;
        let client = component_base::kubeconfig::client(config)?;
        Ok(coredns::start(options, client, CancellationToken::new()).await?.wait().await?)
    })
}
