//! Uploads of reference pictures, to a host of its own. They are free and deleted after three days
//! (one of KIE's pages says one); the same name overwrites without a word, so a name is a hash.

use std::time::Duration;

use reqwest::multipart::{Form, Part};

use super::KieAccount;
use super::envelope::{self, Interface};
use crate::providers::http::{Stakes, retrying, returned_url};
use crate::providers::{ProviderError, ReferencePicture};

/// The folder on KIE's side.
const FOLDER: &str = "aida";
/// The largest picture that every model takes, in bytes.
const LARGEST_REFERENCE_BYTES: usize = 10_000_000;
/// The longest transfer of one picture.
const TRANSFER_TIMEOUT: Duration = Duration::from_mins(3);

impl KieAccount {
    /// Uploads a picture and answers its public URL.
    pub(super) async fn upload(&self, picture: &ReferencePicture) -> Result<String, ProviderError> {
        let bytes = picture.bytes.len();
        if bytes > LARGEST_REFERENCE_BYTES {
            return Err(self.caller.not_sent(&format!(
                "the reference picture has {bytes} bytes; at most {LARGEST_REFERENCE_BYTES} are taken"
            )));
        }
        let Some(host) = &self.uploads else {
            return Err(self.caller.not_sent("no host for uploads is set (kie_upload_url)"));
        };
        retrying(|| async {
            let file = Part::stream_with_length(picture.bytes.clone(), bytes as u64)
                .file_name(picture.name.clone())
                .mime_str(picture.media_type)
                .map_err(|error| self.caller.not_sent(&error.to_string()))?;
            let form = Form::new()
                .text("uploadPath", FOLDER)
                .text("fileName", picture.name.clone())
                .part("file", file);
            let post = self.client.shared().post(host.join("/api/file-stream-upload"));
            let post = self.with_key(post).timeout(TRANSFER_TIMEOUT).multipart(form);
            let reply = self.caller.send(Stakes::Free, post).await?;
            let data = envelope::open(&self.caller, Interface::Common, Stakes::Free, &reply)?;
            // KIE's pages disagree about the name of the field.
            ["downloadUrl", "fileUrl"]
                .iter()
                .filter_map(|name| data[*name].as_str())
                .find(|url| returned_url(url).is_some())
                .map(str::to_owned)
                .ok_or_else(|| self.caller.malformed(Stakes::Free, &reply, "the URL of the upload"))
        })
        .await
    }
}
