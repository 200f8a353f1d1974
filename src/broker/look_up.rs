//! Brokers that are there already: the addresses behind their URLs.

use std::io;
use std::net::SocketAddr;

use emulator::spec::Server;
use tokio::net::lookup_host;
use url::Url;

/// Port of a NATS URL that names none.
const PORT: u16 = 4222;
/// Most addresses of a name that are kept: an answer of a name server has room for some more.
const ADDRESSES: usize = 64;

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

/// Looks up the addresses of each URL: `nats://HOST:PORT`, scheme and port of which may be left out. A name may stand
/// for several: each node tries all of them in an order of its own, as a real server's library does, which looks
/// names up anew for each connection; here it is done once for all nodes. What stands before an `@` is neither shown nor kept.
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
        let addresses = in_order(found);
        if addresses.is_empty() {
            return Err(LookUpError::Nowhere { url });
        }
        servers.push(Server { addresses, url });
    }
    Ok(servers)
}

/// Each once, and in an order that is not the resolver's: that may be another one with each question.
fn in_order(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    addresses
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
            let expected =
                Server { addresses: vec![address.parse().unwrap()], url: url.to_owned() };
            assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn addresses_of_a_name_are_the_same_however_the_resolver_turns_them() {
        let at = |host: u8| SocketAddr::from(([127, 0, 0, host], 4222));
        let expected: Vec<_> = (1..=3).map(at).collect();
        for found in [[1, 2, 3, 1], [3, 1, 2, 2], [2, 3, 3, 1]] {
            assert_eq!(in_order(found.into_iter().map(at)), expected);
        }
        assert_eq!(in_order((0..=255).map(at)).len(), ADDRESSES);
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
