//! KIE's uploads, which live on a host of their own.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Kie, envelope};
use crate::support::wire::{Answer, Call};

impl Kie {
    pub(super) fn upload_base64(&self, call: &Call) -> Answer {
        let body = match call.json() {
            Ok(body) => body,
            Err(problem) => return self.invalid(call, 400, &problem),
        };
        let data = body["base64Data"].as_str().unwrap_or_default();
        let Some((head, encoded)) = data.split_once(";base64,") else {
            return self.invalid(call, 400, "base64Data is not a data URI");
        };
        let Ok(bytes) = BASE64_STANDARD.decode(encoded) else {
            return self.invalid(call, 400, "base64Data is not base64");
        };
        let Some(folder) = body["uploadPath"].as_str() else {
            return self.invalid(call, 400, "uploadPath is required");
        };
        let kind = head.trim_start_matches("data:");
        self.keep(folder, body["fileName"].as_str(), kind, bytes.into())
    }

    pub(super) fn upload_stream(&self, call: &Call) -> Answer {
        let parts = match parts(call) {
            Ok(parts) => parts,
            Err(problem) => return self.invalid(call, 400, &problem),
        };
        let text = |name: &str| {
            parts
                .iter()
                .find(|part| part.name == name)
                .map(|part| String::from_utf8_lossy(&part.bytes).into_owned())
        };
        let (Some(file), Some(folder)) =
            (parts.iter().find(|part| part.name == "file"), text("uploadPath"))
        else {
            return self.invalid(call, 400, "file and uploadPath are required");
        };
        let name = text("fileName");
        self.keep(&folder, name.as_deref(), &file.kind, file.bytes.clone())
    }

    fn keep(&self, folder: &str, name: Option<&str>, kind: &str, bytes: Bytes) -> Answer {
        let name = name.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
        let path = format!("{folder}/{name}");
        let url = format!("{}/uploaded/{path}", self.origin);
        let data = json!({"fileName": name, "filePath": path, "downloadUrl": url,
            "fileSize": bytes.len(), "mimeType": kind,
            "uploadedAt": jiff::Timestamp::now().to_string()});
        self.state.lock().unwrap().uploads.insert(path, (kind.to_owned(), bytes));
        let mut answer: Value =
            serde_json::from_slice(&envelope(200, "success", &data).body).unwrap();
        answer["success"] = json!(true);
        Answer::json(200, &answer)
    }

    pub(super) fn uploaded(&self, path: &str) -> Answer {
        match self.state.lock().unwrap().uploads.get(path) {
            Some((kind, bytes)) => {
                let mut answer = Answer::file("application/octet-stream", bytes.clone());
                if kind == "image/png" {
                    answer.content_type = "image/png";
                }
                answer
            }
            None => Answer::json(404, &json!({"error": "no such file"})),
        }
    }
}

struct Part {
    name: String,
    kind: String,
    bytes: Bytes,
}

/// The parts of a multipart form.
fn parts(call: &Call) -> Result<Vec<Part>, String> {
    let kind = call.header("content-type").unwrap_or_default();
    let boundary = kind
        .strip_prefix("multipart/form-data; boundary=")
        .ok_or("the body is not multipart/form-data")?
        .trim_matches('"');
    let mark = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = after(&call.body, mark.as_bytes()).ok_or("the first boundary is missing")?;
    while let Some(end) = position(rest, mark.as_bytes()) {
        let part = &rest[..end];
        let body = after(part, b"\r\n\r\n").ok_or("a part has no head")?;
        let head = String::from_utf8_lossy(&part[..part.len() - body.len()]).into_owned();
        let quoted = |name: &str| {
            let (_, value) = head.split_once(&format!("{name}=\""))?;
            Some(value.split('"').next()?.to_owned())
        };
        let line = head.lines().find(|line| line.to_lowercase().starts_with("content-type:"));
        parts.push(Part {
            name: quoted(" name").ok_or("a part has no name")?,
            kind: line
                .and_then(|line| line.split_once(':'))
                .map_or_else(String::new, |(_, kind)| kind.trim().to_owned()),
            bytes: Bytes::copy_from_slice(body.strip_suffix(b"\r\n").unwrap_or(body)),
        });
        rest = &rest[end + mark.len()..];
    }
    Ok(parts)
}

fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn after<'bytes>(bytes: &'bytes [u8], needle: &[u8]) -> Option<&'bytes [u8]> {
    Some(&bytes[position(bytes, needle)? + needle.len()..])
}
