//! fal's storage: an upload is announced, put, and then public by its URL.

use bytes::Bytes;
use serde_json::json;

use super::Fal;
use crate::support::media::{self, Look};
use crate::support::wire::{Answer, Call};

/// A file that was announced.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// The end of its URL: id and file name.
    path: String,
    content_type: String,
    /// What was put; nothing before.
    bytes: Option<Bytes>,
}

impl Fal {
    /// `POST /storage/upload/initiate`
    pub(super) fn initiate(&self, call: &Call) -> Answer {
        if call.parameter("storage_type") != Some("fal-cdn-v3") {
            return self.refuse(call, 400, "storage_type must be fal-cdn-v3");
        }
        let body = match call.json() {
            Ok(body) => body,
            Err(problem) => return self.refuse(call, 400, &problem),
        };
        let (Some(content_type), Some(name)) =
            (body["content_type"].as_str(), body["file_name"].as_str())
        else {
            return self.refuse(call, 422, "content_type and file_name are required");
        };
        let id = uuid::Uuid::now_v7().simple().to_string();
        // The CDN gives files names of its own and keeps the extension.
        let extension = name.rsplit_once('.').map_or("bin", |(_, extension)| extension);
        let path = format!("{id}/picture.{extension}");
        self.state.lock().unwrap().files.insert(
            id.clone(),
            Stored { path: path.clone(), content_type: content_type.to_owned(), bytes: None },
        );
        Answer::json(
            200,
            &json!({"upload_url": format!("{}/put/{id}?signature={id}", self.origin),
                "file_url": format!("{}/cdn/files/{path}", self.origin)}),
        )
    }

    /// `PUT {upload_url}`
    pub(super) fn put(&self, call: &Call, id: &str) -> Answer {
        if call.header("authorization").is_some() {
            return self.refuse(call, 400, "a signed URL takes no Authorization header");
        }
        if call.parameter("signature") != Some(id) {
            return self.refuse(call, 403, "the signature is wrong");
        }
        let announced = match self.state.lock().unwrap().files.get_mut(id) {
            None => None,
            Some(file) if call.header("content-type") == Some(&file.content_type) => {
                file.bytes = Some(call.body.clone());
                return Answer::json(200, &json!({}));
            }
            Some(file) => Some(file.content_type.clone()),
        };
        match announced {
            None => self.refuse(call, 404, "nothing was announced here"),
            Some(announced) => {
                self.refuse(call, 403, &format!("the content type is not '{announced}'"))
            }
        }
    }

    /// A file that callers uploaded.
    pub(super) fn uploaded(&self, path: &str) -> Answer {
        let id = path.split('/').next().unwrap_or_default();
        match self.state.lock().unwrap().files.get(id) {
            Some(Stored { bytes: Some(bytes), path: stored, .. }) if stored == path => {
                Answer::file("application/octet-stream", bytes.clone())
            }
            _ => Answer::json(404, &json!({"detail": "Not Found"})),
        }
    }

    /// Looks at the picture behind a URL as an endpoint would: it must have been uploaded here,
    /// be decodable, at least 300 pixels wide and high, and not too long for its width. The
    /// error is message and type for the 422.
    pub(super) fn look_at(&self, url: &str) -> Result<Look, (String, &'static str)> {
        let bytes = if let Some(data) = url.strip_prefix("data:image/") {
            use base64::Engine as _;
            let encoded = data.split_once(";base64,").map(|(_, encoded)| encoded);
            encoded
                .and_then(|encoded| base64::prelude::BASE64_STANDARD.decode(encoded).ok())
                .map(Bytes::from)
        } else {
            let path = url.strip_prefix(&format!("{}/cdn/files/", self.origin));
            path.and_then(|path| {
                let state = self.state.lock().unwrap();
                let file = state.files.get(path.split('/').next()?)?;
                file.bytes.clone().filter(|_| file.path == path)
            })
        };
        let bytes = bytes.ok_or_else(|| {
            ("Failed to download the file: it was not uploaded".to_owned(), "file_download_error")
        })?;
        let look = media::look(&bytes)
            .map_err(|error| (format!("Failed to load the image: {error}"), "image_load_error"))?;
        let ratio = f64::from(look.width) / f64::from(look.height);
        if look.width < 300 || look.height < 300 {
            return Err(("The image is too small".to_owned(), "image_too_small"));
        }
        if !(0.40..=2.50).contains(&ratio) {
            return Err(("The image's aspect ratio is out of range".to_owned(), "value_error"));
        }
        Ok(look)
    }
}
