//! Uploads of keyframes to fal's storage.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::{FREE_TIMEOUT, FalAccount};
use crate::providers::ProviderError;
use crate::providers::http::{Stakes, retrying, returned_url};

/// The largest keyframe that every Kling version takes, in bytes (version 4: 30 MB).
const LARGEST_KEYFRAME_BYTES: u64 = 30_000_000;
/// The longest transfer of one keyframe.
const TRANSFER_TIMEOUT: Duration = Duration::from_mins(3);

/// What a picture's first bytes say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PictureKind {
    content_type: &'static str,
    extension: &'static str,
}

impl PictureKind {
    /// The kinds that Kling takes.
    fn of(start: &[u8]) -> Option<Self> {
        let kind = |content_type, extension| Some(Self { content_type, extension });
        match start {
            [0x89, b'P', b'N', b'G', ..] => kind("image/png", "png"),
            [0xFF, 0xD8, 0xFF, ..] => kind("image/jpeg", "jpg"),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
                kind("image/webp", "webp")
            }
            [b'G', b'I', b'F', b'8', ..] => kind("image/gif", "gif"),
            _ => None,
        }
    }
}

impl FalAccount {
    /// Uploads a picture, streamed from disk, and answers its public URL. Each upload has a
    /// file name of its own, so that its URL marks the one payload that it is used in.
    pub(super) async fn upload(&self, picture: &Path) -> Result<String, ProviderError> {
        let (kind, bytes) = self.inspect(picture).await?;
        retrying(|| async {
            let (upload_url, file_url) = self.initiate(kind).await?;
            let file =
                File::open(picture).await.map_err(|error| self.unreadable(picture, &error))?;
            let put = self
                .client
                .shared()
                .put(upload_url)
                .timeout(TRANSFER_TIMEOUT)
                .header(CONTENT_TYPE, kind.content_type)
                .header(CONTENT_LENGTH, bytes)
                .body(file);
            let reply = self.caller.send(Stakes::Free, put).await?;
            if reply.status.is_success() {
                Ok(file_url)
            } else {
                Err(self.caller.gateway_failure(Stakes::Free, &reply, false))
            }
        })
        .await
    }

    async fn initiate(&self, kind: PictureKind) -> Result<(String, String), ProviderError> {
        let mut url = self.storage.join("/storage/upload/initiate");
        url.query_pairs_mut().append_pair("storage_type", "fal-cdn-v3");
        let file_name = format!("{}.{}", Uuid::now_v7().simple(), kind.extension);
        let post = self
            .with_key(self.client.shared().post(url))
            .timeout(FREE_TIMEOUT)
            .json(&json!({"content_type": kind.content_type, "file_name": file_name}));
        let reply = self.ask(Stakes::Free, post).await?;
        let body = reply.json().unwrap_or(Value::Null);
        let safe = |name: &str| {
            let url = body[name].as_str()?;
            returned_url(url).map(|_| url.to_owned())
        };
        safe("upload_url").zip(safe("file_url")).ok_or_else(|| {
            self.caller.malformed(Stakes::Free, &reply, "an upload_url and a file_url")
        })
    }

    async fn inspect(&self, picture: &Path) -> Result<(PictureKind, u64), ProviderError> {
        let unreadable = |error| self.unreadable(picture, &error);
        let file = File::open(picture).await.map_err(unreadable)?;
        let bytes = file.metadata().await.map_err(unreadable)?.len();
        if bytes > LARGEST_KEYFRAME_BYTES {
            return Err(self.caller.not_sent(&format!(
                "the keyframe {} has {bytes} bytes; at most {LARGEST_KEYFRAME_BYTES} are taken",
                picture.display()
            )));
        }
        let mut start = Vec::with_capacity(16);
        file.take(16).read_to_end(&mut start).await.map_err(unreadable)?;
        let kind = PictureKind::of(&start).ok_or_else(|| {
            let path = picture.display();
            self.caller.not_sent(&format!("the keyframe {path} is no PNG, JPEG, WebP or GIF"))
        })?;
        Ok((kind, bytes))
    }

    fn unreadable(&self, picture: &Path, error: &std::io::Error) -> ProviderError {
        let path = picture.display();
        self.caller.not_sent(&format!("the keyframe {path} cannot be read ({error})"))
    }
}
