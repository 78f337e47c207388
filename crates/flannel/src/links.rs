//! Links, addresses and routes by netlink, in the words that the pods' network and the local cluster's need.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use crate::{During, Error};

/// A connection to the kernel in the network namespace of the calling thread.
pub fn connect() -> Result<Handle, Error> {
    let (connection, handle, _) = new_connection().during("opening a socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

/// A link by its name; None if there is none.
pub async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, Error> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(found) => Ok(found),
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::ENODEV => Ok(None),
        Err(e) => Err(e).during(format!("looking up {name}")),
    }
}

/// The index of a link that must be there.
pub async fn index(handle: &Handle, name: &str) -> Result<u32, Error> {
    let found = find(handle, name).await?;
    found.map(|m| m.header.index).ok_or_else(|| Error::Failed(format!("there is no link {name}")))
}

/// `aa:bb:cc:dd:ee:ff`
pub async fn hardware_address(handle: &Handle, name: &str) -> Result<String, Error> {
    let found = find(handle, name).await?;
    let bytes = found.and_then(|m| {
        m.attributes
            .into_iter()
            .find_map(|a| if let LinkAttribute::Address(bytes) = a { Some(bytes) } else { None })
    });
    Ok(bytes.unwrap_or_default().iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"))
}

/// A bridge, down and without an address.
pub async fn add_bridge(handle: &Handle, name: &str) -> Result<(), Error> {
    handle.link().add(LinkBridge::new(name).build()).execute().await.during(format!("making {name}"))
}

/// Makes a link a port of a bridge and raises it.
pub async fn join_bridge(handle: &Handle, name: &str, bridge: &str) -> Result<(), Error> {
    let (at, bridge_at) = (index(handle, name).await?, index(handle, bridge).await?);
    let change = LinkUnspec::new_with_index(at).controller(bridge_at).up().build();
    handle.link().set(change).execute().await.during(format!("joining {name} to {bridge}"))
}

/// A pair of links, both here; `mtu` in bytes.
pub async fn add_pair(handle: &Handle, name: &str, peer: &str, mtu: u32) -> Result<(), Error> {
    handle.link().add(LinkVeth::new(name, peer).build()).execute().await.during(format!("making {name}"))?;
    for end in [name, peer] {
        let at = index(handle, end).await?;
        let change = LinkUnspec::new_with_index(at).mtu(mtu).build();
        handle.link().set(change).execute().await.during(format!("setting the MTU of {end}"))?;
    }
    Ok(())
}

/// Moves a link into another network namespace.
pub async fn move_into(handle: &Handle, name: &str, namespace: &File) -> Result<(), Error> {
    let at = index(handle, name).await?;
    let change = LinkUnspec::new_with_index(at).setns_by_fd(namespace.as_raw_fd()).build();
    handle.link().set(change).execute().await.during(format!("moving {name}"))
}

/// Renames a link, which must be down.
pub async fn rename(handle: &Handle, name: &str, to: &str) -> Result<(), Error> {
    let at = index(handle, name).await?;
    let change = LinkUnspec::new_with_index(at).name(to.to_owned()).build();
    handle.link().set(change).execute().await.during(format!("naming {to}"))
}

/// Raises a link.
pub async fn up(handle: &Handle, name: &str) -> Result<(), Error> {
    let at = index(handle, name).await?;
    handle
        .link()
        .set(LinkUnspec::new_with_index(at).up().build())
        .execute()
        .await
        .during(format!("raising {name}"))
}

/// Removes a link; true if it was there.
pub async fn remove(handle: &Handle, name: &str) -> Result<bool, Error> {
    let Some(found) = find(handle, name).await? else { return Ok(false) };
    match handle.link().del(found.header.index).execute().await {
        // Its other end may have gone first, with its namespace.
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::ENODEV => Ok(false),
        other => other.during(format!("removing {name}")).map(|()| true),
    }
}

/// Gives a link an address with the length of its network's prefix.
pub async fn add_address(handle: &Handle, link: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Error> {
    handle
        .address()
        .add(link, IpAddr::V4(address), prefix)
        .execute()
        .await
        .during(format!("adding {address}"))
}

/// A route to a host on the link itself.
pub async fn add_neighbour_route(handle: &Handle, link: u32, to: Ipv4Addr) -> Result<(), Error> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to, 32)
        .output_interface(link)
        .scope(RouteScope::Link)
        .build();
    handle.route().add(route).replace().execute().await.during(format!("routing {to}"))
}

/// A route through a gateway, in place of one there is.
pub async fn add_route(handle: &Handle, to: Ipv4Net, gateway: Ipv4Addr) -> Result<(), Error> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .gateway(gateway)
        .build();
    handle.route().add(route).replace().execute().await.during(format!("routing {to} through {gateway}"))
}

/// Removes the route to a range; one that is gone is fine.
pub async fn remove_route(handle: &Handle, to: Ipv4Net) -> Result<(), Error> {
    let route =
        RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.network(), to.prefix_len()).build();
    match handle.route().del(route).execute().await {
        Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::ESRCH => Ok(()),
        other => other.during(format!("removing the route to {to}")),
    }
}

/// Runs `work` on a thread of its own in a network namespace, with a runtime of its own.
pub async fn inside<T, F, R>(namespace: File, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(Handle) -> R + Send + 'static,
    R: Future<Output = Result<T, Error>>,
{
    let joined = tokio::task::spawn_blocking(move || {
        let thread = std::thread::spawn(move || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .during("entering a network namespace")?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .during("starting a runtime")?;
            runtime.block_on(async { work(connect()?).await })
        });
        thread.join().unwrap_or_else(|_| Err(Error::Failed("work in a network namespace panicked".into())))
    });
    joined.await.map_err(|e| Error::Failed(e.to_string()))?
}
