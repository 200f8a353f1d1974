//! Brokers that are there already: the addresses behind their URLs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use emulator::spec::Server;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

/// Port of a NATS URL that names none.
const PORT: u16 = 4222;
/// Most addresses of a name that are tried.
const ADDRESSES: usize = 8;
/// An address that takes no connection within this is passed over.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

/// A URL that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// It is no URL of a broker.
    #[error("{url} is no address of a broker\nwrite nats://HOST:PORT")]
    NoAddress {
        /// As it may be shown.
        url: String,
    },
    /// Nobody knows the name.
    #[error("server {url} cannot be looked up: {source}\ncheck the name")]
    Unknown {
        /// As it may be shown.
        url: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// The name stands for nothing.
    #[error("server {url} has no address\ncheck the name")]
    Nowhere {
        /// As it may be shown.
        url: String,
    },
}

/// Looks up the address of each URL: `nats://HOST:PORT`, scheme and port of which may be left out. Of a name that
/// has several it is the first that takes a connection, as `localhost` may be `::1` first where the broker has
/// `127.0.0.1` only; if none does, the first. What stands before an `@` is neither shown nor kept.
///
/// # Errors
/// At the first that leads nowhere.
pub async fn look_up(urls: &[String]) -> Result<Vec<Server>, LookUpError> {
    let mut servers = Vec::with_capacity(urls.len());
    for text in urls {
        let (host, port) = place(text)?;
        let url = format!("nats://{host}:{port}");
        // The resolver takes the address in brackets without them.
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host((plain, port)).await;
        let found = found.map_err(|source| LookUpError::Unknown { url: url.clone(), source })?;
        let found: Vec<_> = found.take(ADDRESSES).collect();
        let address =
            taking(&found).await.ok_or_else(|| LookUpError::Nowhere { url: url.clone() })?;
        servers.push(Server { address, url });
    }
    Ok(servers)
}

/// The first of these that takes a connection, else the first. One that stands alone is not asked.
async fn taking(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    if addresses.len() > 1 {
        for address in addresses {
            if let Ok(Ok(_)) = timeout(TAKEN_WITHIN, TcpStream::connect(address)).await {
                return Some(*address);
            }
        }
    }
    addresses.first().copied()
}

/// Host and port of a URL.
fn place(text: &str) -> Result<(String, u16), LookUpError> {
    let bare = text.split_once("://").map_or(text, |(_, bare)| bare);
    let shown = bare.rsplit_once('@').map_or(bare, |(_, host)| host);
    let url = Url::parse(&format!("nats://{shown}")).ok();
    let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port().unwrap_or(PORT))));
    match place {
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(LookUpError::NoAddress { url: shown.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_become_addresses_and_their_secrets_stay_behind() {
        for (text, url, address) in [
            ("nats://127.0.0.1:4333", "nats://127.0.0.1:4333", "127.0.0.1:4333"),
            ("127.0.0.1", "nats://127.0.0.1:4222", "127.0.0.1:4222"),
            ("nats://[::1]:4333", "nats://[::1]:4333", "[::1]:4333"),
            ("nats://bob:p@ss@127.0.0.1", "nats://127.0.0.1:4222", "127.0.0.1:4222"),
        ] {
            let found = look_up(&[text.to_owned()]).await.unwrap();
            assert_eq!(
                (found[0].url.as_str(), found[0].address.to_string().as_str()),
                (url, address)
            );
        }
    }

    #[tokio::test]
    async fn of_several_addresses_the_one_counts_that_takes_connections() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let shut = |host: u8| SocketAddr::from(([127, 0, 0, host], open.port()));
        for (addresses, expected) in [
            (&[shut(2), open][..], Some(open)),
            (&[open, shut(2)], Some(open)),
            (&[shut(3), shut(2)], Some(shut(3))),
            (&[shut(2)], Some(shut(2))),
            (&[], None),
        ] {
            assert_eq!(taking(addresses).await, expected, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn urls_that_lead_nowhere_are_named_without_their_secrets() {
        for (text, says) in [
            ("nats://", "no address of a broker"),
            ("nats://bob:secret@host:port", "host:port is no address"),
            // Reserved to be unknown (RFC 6761).
            ("nats://bob:secret@no.invalid", "nats://no.invalid:4222 cannot be looked up"),
        ] {
            let told = look_up(&[text.to_owned()]).await.unwrap_err().to_string();
            assert!(told.contains(says) && !told.contains("secret"), "{told}");
        }
    }
}
