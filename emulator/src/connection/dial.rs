//! Opening the TCP connection of a node, from a chosen source address where one range of ports is not
//! enough.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, TcpMaxSeg};
use tokio::net::{TcpSocket, TcpStream};

/// What a socket with little room takes before its sender has to wait.
const LITTLE_ROOM: u32 = 4 * 1024;
/// The segments of an Ethernet. From those of loopback, which are 64 KiB, the sender's system works out
/// megabytes of room of its own, and a broker would notice long after what it would notice at once.
const ETHERNET_SEGMENT: u32 = 1460;

/// How much a connection's system takes in for it without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// What is usual.
    Usual,
    /// As little as there can be: a few KiB here, and as over an Ethernet at the sender.
    Little,
}

/// Connects to `target`, from `source` if one is given.
///
/// With a source the port is chosen at connect, not at bind (`IP_BIND_ADDRESS_NO_PORT`): ports are then
/// counted per source *and* destination, and the search for a free one stays cheap.
///
/// # Errors
/// What the system says; `AddrNotAvailable` and `AddrInUse` mean that the range of ports is used up.
pub async fn dial(target: SocketAddr, source: Option<IpAddr>, room: Room) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if room == Room::Little {
        socket.set_recv_buffer_size(LITTLE_ROOM)?;
        setsockopt(&socket, TcpMaxSeg, &ETHERNET_SEGMENT)?;
    }
    if let Some(source) = source {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// True if the error means that no port is left for this source and destination.
#[must_use]
pub fn out_of_ports(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
}

/// True if the error means that this process may open no more files.
#[must_use]
pub fn out_of_files(error: &io::Error) -> bool {
    // EMFILE and ENFILE have no kind of their own in the standard library.
    matches!(error.raw_os_error(), Some(libc_codes::EMFILE | libc_codes::ENFILE))
}

mod libc_codes {
    //! Error numbers of Linux.
    pub(super) const ENFILE: i32 = nix::errno::Errno::ENFILE as i32;
    pub(super) const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn the_source_address_is_the_one_asked_for() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        for source in [None, Some(IpAddr::from([127, 0, 1, 7]))] {
            let stream = dial(target, source, Room::Usual).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
            assert_eq!(peer.ip(), source.unwrap_or(IpAddr::from([127, 0, 0, 1])));
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_neither_ports_nor_files() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        drop(listener);
        let error = dial(target, None, Room::Usual).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(!out_of_ports(&error) && !out_of_files(&error));
        assert!(out_of_files(&io::Error::from(nix::errno::Errno::EMFILE)));
    }
}
