//! The network between the nodes and the host: one bridge, one pair of links a node. What speaks netlink is
//! `flannel::links`; the way from there to the world is [`outside`].

pub mod outside;
pub mod resolver;

use std::fs::File;

use flannel::links;

use crate::layout::Layout;
use crate::process::Process;
use crate::{During, Error};

/// Bytes; the default of the kernel's Ethernet links.
const MTU: u32 = 1500;

/// The bridge with the host's address, made if it is missing.
pub async fn ensure_bridge(layout: &Layout) -> Result<(), Error> {
    let (handle, name) = (links::connect()?, layout.bridge());
    if links::find(&handle, &name).await?.is_some() {
        return Ok(());
    }
    links::add_bridge(&handle, &name).await?;
    let index = links::index(&handle, &name).await?;
    links::add_address(&handle, index, layout.host_ip(), layout.node_prefix()).await?;
    Ok(links::up(&handle, &name).await?)
}

/// The pair of links of a node, its `eth0` with address and default route.
pub async fn ensure_node(layout: &Layout, number: u8, init: &Process) -> Result<(), Error> {
    let (handle, name) = (links::connect()?, layout.host_link(number));
    if links::find(&handle, &name).await?.is_some() {
        return Ok(());
    }
    let peer = format!("{name}p");
    let namespace = File::open(format!("/proc/{}/ns/net", init.pid)).during("opening a node's network")?;
    links::add_pair(&handle, &name, &peer, MTU).await?;
    links::join_bridge(&handle, &name, &layout.bridge()).await?;
    links::move_into(&handle, &peer, &namespace).await?;
    let (ip, prefix, gateway) = (layout.node_ip(number), layout.node_prefix(), layout.host_ip());
    let work = links::inside(namespace, move |there| async move {
        links::up(&there, "lo").await?;
        links::rename(&there, &peer, "eth0").await?;
        let index = links::index(&there, "eth0").await?;
        links::add_address(&there, index, ip, prefix).await?;
        links::up(&there, "eth0").await?;
        links::add_route(&there, ipnet::Ipv4Net::default(), gateway).await
    });
    Ok(work.await?)
}

/// Removes the bridge and the host's ends of the nodes' links; what is in a node's namespace goes with it.
pub async fn remove(layout: &Layout, numbers: impl Iterator<Item = u8>) -> Result<(), Error> {
    outside::close(layout)?;
    let handle = links::connect()?;
    for name in numbers.map(|n| layout.host_link(n)).chain([layout.bridge()]) {
        links::remove(&handle, &name).await?;
    }
    Ok(())
}
