//! Fetches results: streamed to disk, hashed and counted on the way, whole or not there at all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use url::Url;
use uuid::Uuid;

use super::HttpClient;
use super::base_url::returned_url;
use super::redaction::without_query;

/// The largest file that is fetched, in bytes.
const LARGEST_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The longest silence of a server before the transfer is begun anew.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a transfer is begun at most.
const ATTEMPTS: u32 = 5;
/// The most redirects that are followed.
const MOST_REDIRECTS: u32 = 5;
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How far a download has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadProgress {
    /// Bytes received. Falls back to 0 when the transfer is begun anew.
    pub received: u64,
    /// Bytes in all, where the server tells.
    pub total: Option<u64>,
}

/// A file that has arrived whole and is safe on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its size in bytes, at least 1.
    pub bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why a file is not on disk. None of these says anything about whether the provider did its work:
/// what was paid for is still paid for, and nothing is to be bought again.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The network or the server failed, after several attempts; worth another try later.
    #[error("could not download from {host}: {reason}")]
    Network {
        /// The server's host name.
        host: String,
        /// What happened, free of signed URLs.
        reason: String,
    },
    /// The link is refused or gone (401, 403, 404 or 410): a fresh one is needed, if there is one.
    #[error("{host} no longer serves this link (HTTP {status})")]
    Forbidden {
        /// The server's host name.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server answers something that no waiting will mend.
    #[error("{host} does not serve a file here: {reason}")]
    Refused {
        /// The server's host name.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The disk is full, or a quota is used up.
    #[error("no space is left for {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The file cannot be written for another reason.
    #[error("cannot write {}", path.display())]
    Disk {
        /// What was being written.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
}

impl DownloadError {
    /// Whether a new link may succeed where this one failed.
    pub const fn needs_fresh_url(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    fn disk(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Disk { path, source },
        }
    }
}

/// Fetches `url` into `destination`, replacing what may be there, and calls `on_progress` after
/// each piece. The bytes are written beside the destination, synced, and renamed at the end: no
/// reader ever sees half a file, and an interrupted download leaves nothing behind unless the
/// process is killed.
pub async fn download(
    client: &HttpClient,
    url: &str,
    destination: &Path,
    mut on_progress: impl FnMut(DownloadProgress) + Send,
) -> Result<Downloaded, DownloadError> {
    let Some(url) = returned_url(url) else {
        return Err(DownloadError::Refused {
            host: without_query(url),
            reason: "it is not an https address".to_owned(),
        });
    };
    let part = PartFile::beside(destination);
    let mut attempt = 1;
    loop {
        let failure = match fetch(client, &url, &part.path, &mut on_progress).await {
            Ok(downloaded) => {
                part.publish(destination).await?;
                return Ok(downloaded);
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Final(error) => return Err(error),
            Failure::Transient { reason, .. } if attempt == ATTEMPTS => {
                return Err(DownloadError::Network { host: host(&url), reason });
            }
            Failure::Transient { reason, retry_after } => {
                let wait = retry_after
                    .unwrap_or(Duration::from_millis(250) * 2_u32.pow(attempt - 1))
                    .min(LONGEST_WAIT);
                tracing::debug!(host = host(&url), reason, attempt, "the download is begun anew");
                tokio::time::sleep(wait).await;
                attempt += 1;
            }
        }
    }
}

enum Failure {
    Transient { reason: String, retry_after: Option<Duration> },
    Final(DownloadError),
}

impl Failure {
    fn transient(reason: impl Into<String>) -> Self {
        Self::Transient { reason: reason.into(), retry_after: None }
    }

    fn refused(url: &Url, reason: impl Into<String>) -> Self {
        Self::Final(DownloadError::Refused { host: host(url), reason: reason.into() })
    }
}

/// One attempt, from the first byte.
async fn fetch(
    client: &HttpClient,
    url: &Url,
    part: &Path,
    on_progress: &mut (impl FnMut(DownloadProgress) + Send),
) -> Result<Downloaded, Failure> {
    let mut response = open(client, url).await?;
    let total = response.content_length();
    if total.is_some_and(|total| total > LARGEST_FILE_BYTES) {
        return Err(too_large(url));
    }
    let disk = |error| Failure::Final(DownloadError::disk(part, error));
    let mut file = File::create(part).await.map_err(disk)?;
    let (mut hash, mut received) = (Sha256::new(), 0_u64);
    while let Some(piece) = next(response.chunk()).await? {
        received += piece.len() as u64;
        if received > LARGEST_FILE_BYTES {
            return Err(too_large(url));
        }
        hash.update(&piece);
        file.write_all(&piece).await.map_err(disk)?;
        on_progress(DownloadProgress { received, total });
    }
    if received == 0 {
        // A store that has just been written to sometimes answers before it has the bytes.
        return Err(Failure::transient("the file is empty"));
    }
    file.flush().await.map_err(disk)?;
    file.sync_all().await.map_err(disk)?;
    let sha256 = hexadecimal(&hash.finalize());
    Ok(Downloaded { bytes: received, sha256 })
}

/// Opens the transfer, following redirects by hand because the client follows none.
async fn open(client: &HttpClient, url: &Url) -> Result<Response, Failure> {
    let mut url = url.clone();
    for _ in 0..=MOST_REDIRECTS {
        // Media are compressed already, and the length of what is sent is wanted for the bar.
        let request = client.shared().get(url.clone()).header(ACCEPT_ENCODING, "identity");
        let response = next(request.send()).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if !status.is_redirection() {
            return Err(refusal(&url, &response));
        }
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|target| url.join(target.to_str().ok()?).ok())
            .and_then(|target| returned_url(target.as_str()));
        url = target.ok_or_else(|| Failure::refused(&url, "it redirects to nowhere safe"))?;
    }
    Err(Failure::refused(&url, "it redirects in circles"))
}

fn refusal(url: &Url, response: &Response) -> Failure {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE => {
            Failure::Final(DownloadError::Forbidden { host: host(url), status: status.as_u16() })
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => transient(response),
        _ if status.is_server_error() => transient(response),
        _ => Failure::refused(url, format!("HTTP {}", status.as_u16())),
    }
}

fn transient(response: &Response) -> Failure {
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|seconds| seconds.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let reason = format!("HTTP {}", response.status().as_u16());
    Failure::Transient { reason, retry_after }
}

fn too_large(url: &Url) -> Failure {
    Failure::refused(url, format!("the file is larger than {LARGEST_FILE_BYTES} bytes"))
}

/// The next thing from the server, unless it is silent for too long.
async fn next<T>(coming: impl Future<Output = reqwest::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(IDLE_TIMEOUT, coming).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let words = if error.is_connect() {
                "could not connect"
            } else {
                "the connection broke before the whole file was here"
            };
            Err(Failure::transient(words))
        }
        Err(_) => Err(Failure::transient(format!("nothing came for {} s", IDLE_TIMEOUT.as_secs()))),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 0xF] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or("the server").to_owned()
}

/// The file that is being written; removed unless it was published.
struct PartFile {
    path: PathBuf,
}

impl PartFile {
    fn beside(destination: &Path) -> Self {
        let mut name = destination.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", Uuid::now_v7().simple()));
        Self { path: destination.with_file_name(name) }
    }

    async fn publish(self, destination: &Path) -> Result<(), DownloadError> {
        let disk = |error| DownloadError::disk(destination, error);
        tokio::fs::rename(&self.path, destination).await.map_err(disk)?;
        // The rename itself must survive a power cut: the row that says "kept" comes after it.
        #[cfg(unix)]
        if let Some(folder) = destination.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let folder = File::open(folder).await.map_err(disk)?;
            folder.sync_all().await.map_err(disk)?;
        }
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After a rename there is nothing under this name, and elsewhere nothing can be done.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tempfile::TempDir;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const BYTES: &[u8] = b"not really an mp4";
    const SHA256: &str = "60c65908ad779b7c358e16a4ef81e51d54b9a2cd343a242879e73f2970b1384d";

    async fn fetch_from(
        server: &MockServer,
        folder: &TempDir,
    ) -> Result<Downloaded, DownloadError> {
        let url = format!("{}/clip.mp4?sig=secret", server.uri());
        let destination = folder.path().join("clip.mp4");
        download(&HttpClient::new().unwrap(), &url, &destination, |_| {}).await
    }

    async fn serve(server: &MockServer, times: u64, response: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path("/clip.mp4"))
            .respond_with(response)
            .up_to_n_times(times)
            .mount(server)
            .await;
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_arrives_whole_and_hashed_after_hiccups() {
        let (server, folder) = (MockServer::start().await, TempDir::new().unwrap());
        serve(&server, 1, ResponseTemplate::new(503).insert_header("retry-after", "0")).await;
        serve(&server, 1, ResponseTemplate::new(200)).await;
        let moved = format!("{}/moved", server.uri());
        serve(&server, 1, ResponseTemplate::new(302).insert_header("location", moved)).await;
        Mock::given(path("/moved"))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(BYTES))
            .expect(1)
            .mount(&server)
            .await;

        let seen = Mutex::new(Vec::new());
        let destination = folder.path().join("clip.mp4");
        let url = format!("{}/clip.mp4", server.uri());
        let downloaded = download(&HttpClient::new().unwrap(), &url, &destination, |progress| {
            seen.lock().unwrap().push(progress);
        })
        .await
        .unwrap();

        assert_eq!(downloaded, Downloaded { bytes: BYTES.len() as u64, sha256: SHA256.to_owned() });
        assert_eq!(std::fs::read(&destination).unwrap(), BYTES);
        let whole = BYTES.len() as u64;
        assert_eq!(
            seen.lock().unwrap().last(),
            Some(&DownloadProgress { received: whole, total: Some(whole) })
        );
        assert_eq!(names(&folder), ["clip.mp4"]);
    }

    #[tokio::test]
    async fn a_refused_link_asks_for_a_fresh_one_and_leaves_nothing() {
        for status in [401, 403, 404, 410] {
            let (server, folder) = (MockServer::start().await, TempDir::new().unwrap());
            serve(&server, 9, ResponseTemplate::new(status)).await;
            let error = fetch_from(&server, &folder).await.unwrap_err();
            assert!(error.needs_fresh_url(), "{status}: {error}");
            assert!(!error.to_string().contains("secret"));
            assert_eq!(names(&folder), [""; 0]);
            assert_eq!(server.received_requests().await.unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn an_empty_file_is_not_a_file() {
        let (server, folder) = (MockServer::start().await, TempDir::new().unwrap());
        serve(&server, 9, ResponseTemplate::new(200)).await;
        let error = fetch_from(&server, &folder).await.unwrap_err();
        assert!(matches!(error, DownloadError::Network { .. }), "{error}");
        assert_eq!(names(&folder), [""; 0]);
    }

    #[tokio::test]
    async fn local_trouble_is_told_apart() {
        let server = MockServer::start().await;
        serve(&server, 9, ResponseTemplate::new(200).set_body_bytes(BYTES)).await;
        let folder = TempDir::new().unwrap();
        let missing = folder.path().join("missing").join("clip.mp4");
        let url = format!("{}/clip.mp4", server.uri());
        let error =
            download(&HttpClient::new().unwrap(), &url, &missing, |_| {}).await.unwrap_err();
        assert!(matches!(error, DownloadError::Disk { .. }), "{error}");

        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(DownloadError::disk(&missing, full), DownloadError::DiskFull { .. }));
    }

    #[tokio::test]
    async fn only_safe_addresses_are_opened() {
        let folder = TempDir::new().unwrap();
        let destination = folder.path().join("x");
        for url in ["http://cdn.example/x", "file:///etc/passwd", "nonsense"] {
            let error = download(&HttpClient::new().unwrap(), url, &destination, |_| {}).await;
            assert!(matches!(error, Err(DownloadError::Refused { .. })), "{url}");
        }
    }
}
