//! A place like the one where the NATS project publishes its releases, on loopback.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[derive(Debug, Default)]
struct Shelf {
    files: HashMap<String, Vec<u8>>,
    requests: AtomicUsize,
}

/// A running server of files; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Releases {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    _server: JoinSet<()>,
}

impl Releases {
    /// Serves these files, by path; 404 for all else.
    pub(crate) async fn serve(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let shelf = Arc::new(Shelf { files: files.into_iter().collect(), ..Shelf::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, shelf, _server: server }
    }

    /// Serves one version as the project does.
    pub(crate) async fn of(version: &str, archive: &[u8], sums: &str) -> Self {
        Self::serve([
            (format!("/v{version}/{}.tar.gz", base(version)), archive.to_vec()),
            (format!("/v{version}/SHA256SUMS"), sums.as_bytes().to_vec()),
        ])
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.shelf.requests.load(Ordering::SeqCst)
    }
}

async fn answer(State(shelf): State<Arc<Shelf>>, request: Request) -> Result<Vec<u8>, StatusCode> {
    shelf.requests.fetch_add(1, Ordering::SeqCst);
    shelf.files.get(request.uri().path()).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// The name of this machine's archive, and of the folder in it.
fn base(version: &str) -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("nats-server-v{version}-linux-{machine}")
}

/// An archive with this program in it.
pub(crate) fn archive(version: &str, program: &[u8]) -> Vec<u8> {
    packed(version, &[("README.md", b"NATS"), ("nats-server", program)])
}

/// An archive with these files in it. Stored, not compressed: compressing is slow without
/// optimisation, and unpacking does not care.
pub(crate) fn packed(version: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, format!("{}/{name}", base(version)), *content).unwrap();
    }
    let mut gz = tar.into_inner().unwrap();
    gz.flush().unwrap();
    gz.finish().unwrap()
}

/// The sums that fit these bytes as an archive.
pub(crate) fn sums(version: &str, archive: &[u8]) -> String {
    let sum: String = Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}  nats-server-other.zip\n{sum}  {}.tar.gz\n", "0".repeat(64), base(version))
}
