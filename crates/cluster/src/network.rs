//! The network between the nodes and the host: one bridge, one pair of links a node, by netlink.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use crate::layout::Layout;
use crate::process::Process;
use crate::{During, Error};

fn during(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    let what = what.into();
    move |e| Error::Network(format!("{what}: {e}"))
}

fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) = new_connection().during("opening netlink")?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The index of a link; None if there is none of that name.
async fn link(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    match found {
        Ok(message) => Ok(message.map(|m| m.header.index)),
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::ENODEV => Ok(None),
        Err(e) => Err(during(format!("looking up {name}"))(e)),
    }
}

async fn known(handle: &Handle, name: &str) -> Result<u32, Error> {
    link(handle, name).await?.ok_or_else(|| Error::Network(format!("{name} is gone")))
}

/// The bridge with the host's address, made if it is missing.
pub async fn ensure_bridge(layout: &Layout) -> Result<(), Error> {
    let (handle, name) = (connect()?, layout.bridge());
    if link(&handle, &name).await?.is_some() {
        return Ok(());
    }
    handle
        .link()
        .add(LinkBridge::new(&name).build())
        .execute()
        .await
        .map_err(during(format!("making {name}")))?;
    let index = known(&handle, &name).await?;
    address(&handle, index, layout.host_ip(), layout.node_prefix()).await?;
    up(&handle, index).await
}

async fn address(handle: &Handle, index: u32, ip: Ipv4Addr, prefix: u8) -> Result<(), Error> {
    handle
        .address()
        .add(index, IpAddr::V4(ip), prefix)
        .execute()
        .await
        .map_err(during(format!("giving {ip} to a link")))
}

async fn up(handle: &Handle, index: u32) -> Result<(), Error> {
    handle
        .link()
        .set(LinkUnspec::new_with_index(index).up().build())
        .execute()
        .await
        .map_err(during("raising a link"))
}

/// The pair of links of a node, its `eth0` with address and default route.
pub async fn ensure_node(layout: &Layout, number: u8, init: &Process) -> Result<(), Error> {
    let (handle, name) = (connect()?, layout.host_link(number));
    if link(&handle, &name).await?.is_some() {
        return Ok(());
    }
    let peer = format!("{name}p");
    handle
        .link()
        .add(LinkVeth::new(&name, &peer).build())
        .execute()
        .await
        .map_err(during(format!("making {name}")))?;
    let bridge = known(&handle, &layout.bridge()).await?;
    let outer = known(&handle, &name).await?;
    let change = LinkUnspec::new_with_index(outer).controller(bridge).up().build();
    handle.link().set(change).execute().await.map_err(during(format!("joining {name} to the bridge")))?;
    let namespace =
        std::fs::File::open(format!("/proc/{}/ns/net", init.pid)).during("opening a node's network")?;
    let inner = known(&handle, &peer).await?;
    let change = LinkUnspec::new_with_index(inner).setns_by_fd(namespace.as_raw_fd()).build();
    handle.link().set(change).execute().await.map_err(during(format!("moving {peer} into its node")))?;
    let (ip, prefix, gateway) = (layout.node_ip(number), layout.node_prefix(), layout.host_ip());
    inside(namespace, move |handle: Handle| async move {
        let lo = known(&handle, "lo").await?;
        up(&handle, lo).await?;
        let index = known(&handle, &peer).await?;
        let rename = LinkUnspec::new_with_index(index).name("eth0".to_owned()).build();
        handle.link().set(rename).execute().await.map_err(during("naming eth0"))?;
        address(&handle, index, ip, prefix).await?;
        up(&handle, index).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build();
        handle.route().add(route).execute().await.map_err(during("a node's default route"))
    })
    .await
}

/// Runs on a thread of its own that has entered a network namespace, with a runtime of its own.
async fn inside<F, R>(namespace: std::fs::File, work: F) -> Result<(), Error>
where
    F: FnOnce(Handle) -> R + Send + 'static,
    R: Future<Output = Result<(), Error>>,
{
    let join = tokio::task::spawn_blocking(move || {
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .during("entering a node's network")?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .during("starting a runtime")?;
            runtime.block_on(async { work(connect()?).await })
        });
        thread.join().unwrap_or_else(|_| Err(Error::Failed("a thread in a node's network panicked".into())))
    });
    join.await.map_err(|e| Error::Failed(e.to_string()))?
}

/// Removes the bridge and the host's ends of the nodes' links; what is in a node's namespace goes with it.
pub async fn remove(layout: &Layout, numbers: impl Iterator<Item = u8>) -> Result<(), Error> {
    let handle = connect()?;
    let names = numbers.map(|n| layout.host_link(n)).chain([layout.bridge()]);
    for name in names {
        if let Some(index) = link(&handle, &name).await? {
            handle.link().del(index).execute().await.map_err(during(format!("removing {name}")))?;
        }
    }
    Ok(())
}
