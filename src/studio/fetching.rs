//! Fetching: what a finished job yielded is downloaded at once, checked, hashed and kept.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use rust_decimal::Decimal;

use crate::ids::{OperationId, TakeId};
use crate::ledger::TillError;
use crate::ledger::operation::{OperationKind, OperationState};
use crate::providers::JobResult;
use crate::providers::http::{DownloadError, DownloadProgress, Downloaded, download};
use crate::store::operations::Operation;
use crate::store::takes::Take;
use crate::studio::StudioError;
use crate::studio::events::{Event, Progress};
use crate::studio::film::{inspect, inspect_image};
use crate::studio::shooting::{End, Errand};

impl Errand<'_> {
    /// Fetches, checks and keeps what a finished job yielded. Local trouble leaves the
    /// operation as it is, so that it is fetched again and never bought again.
    pub(super) async fn fetch(&self, operation: &Operation) -> Result<PathBuf, End> {
        let Some(result) = operation
            .result
            .clone()
            .and_then(|result| serde_json::from_value::<JobResult>(result).ok())
        else {
            return Err(End::Unknown);
        };
        let folder = self.folder();
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(|source| End::Stopped(StudioError::Folder { path: folder.clone(), source }))?;
        let urls = if self.kind == OperationKind::Clip {
            &result.urls[..1.min(result.urls.len())]
        } else {
            &result.urls
        };
        let fetched = join_all(
            urls.iter().zip(1..).map(|(url, position)| self.fetch_one(operation.id, url, position)),
        )
        .await;
        let mut kept = Vec::new();
        let mut trouble = None;
        for file in fetched {
            match file {
                Ok(take) => kept.push(take),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        // What was paid for is only let go where it is gone for good; anything else (the network, the
        // disk, an interrupt) leaves the operation as it is, and all of it is fetched again.
        let trouble = match trouble {
            Some(End::Stopped(error)) if error.is_a_lost_file() => Some(error),
            Some(end) => return Err(end),
            None => None,
        };
        let Some(first) = kept.first_mut() else {
            return Err(trouble.map_or(End::Unknown, End::Stopped));
        };
        if let Some(error) = trouble {
            let message =
                format!("shot {}: not every image could be kept: {error}", self.shot.number);
            self.claim.tell(Event::Note { message });
        }
        first.chosen = true;
        let path = self.producer.projects_folder.join(&first.path);
        if operation.state == OperationState::Ready {
            self.producer.till.keep(operation, &result, &kept).await?;
        }
        self.tell(Progress::Done { already: false });
        Ok(path)
    }

    async fn fetch_one(
        &self,
        operation: OperationId,
        url: &str,
        position: i32,
    ) -> Result<Take, End> {
        let stem = format!("{}-{}-{position}", self.kind.as_str(), operation.short());
        let raw = self.folder().join(format!("{stem}.fetched"));
        let downloaded = self.download(url, &raw, position).await?;
        let wrong = |message: String| {
            End::Stopped(StudioError::BadResult {
                shot: self.shot.number,
                what: self.kind.as_str(),
                message,
            })
        };
        let (extension, width, height, duration_seconds) = if self.kind == OperationKind::Image {
            let path = raw.clone();
            let inspected = tokio::task::spawn_blocking(move || inspect_image(&path)).await;
            let facts = inspected
                .map_err(|error| End::Stopped(StudioError::Damaged(error.to_string())))?
                .map_err(|error| wrong(error.to_string()))?;
            (facts.format.extension(), facts.width, facts.height, None)
        } else {
            let facts = inspect(&raw).map_err(|error| wrong(error.to_string()))?;
            self.note_odd_length(facts.seconds);
            ("mp4", facts.width, facts.height, Some(facts.seconds))
        };
        let path = self.folder().join(format!("{stem}.{extension}"));
        tokio::fs::rename(&raw, &path)
            .await
            .map_err(|source| End::Stopped(StudioError::Folder { path: path.clone(), source }))?;
        let relative = path.strip_prefix(&self.producer.projects_folder).unwrap_or(&path);
        Ok(Take {
            id: TakeId::new(),
            position,
            chosen: false,
            path: relative.to_string_lossy().into_owned(),
            sha256: downloaded.sha256,
            bytes: i64::try_from(downloaded.bytes).unwrap_or(i64::MAX),
            width: i32::try_from(width).ok(),
            height: i32::try_from(height).ok(),
            duration_seconds,
        })
    }

    async fn download(
        &self,
        url: &str,
        destination: &Path,
        position: i32,
    ) -> Result<Downloaded, End> {
        let progress = |so_far: DownloadProgress| {
            if position == 1 {
                self.tell(Progress::Downloading { bytes: so_far.received, total: so_far.total });
            }
        };
        let client = &self.producer.client;
        let fetching = download(client, url, destination, progress);
        let result = tokio::select! {
            result = fetching => result,
            () = self.claim.cancel.cancelled() => return Err(End::Stopped(TillError::Cancelled.into())),
        };
        let failure = match result {
            Ok(downloaded) => return Ok(downloaded),
            Err(failure) => failure,
        };
        if failure.needs_fresh_url()
            && self.kind == OperationKind::Image
            && let Ok(fresh) = self.media.image.fresh_url(url).await
        {
            let again = download(client, &fresh, destination, progress).await;
            return again.map_err(|source| self.lost_download(source));
        }
        Err(self.lost_download(failure))
    }

    fn lost_download(&self, source: DownloadError) -> End {
        End::Stopped(StudioError::Download {
            shot: self.shot.number,
            what: self.kind.as_str(),
            source,
        })
    }

    /// A clip that is shorter than what was bought is worth a word; the cut holds its last frame.
    fn note_odd_length(&self, seconds: Decimal) {
        if seconds + Decimal::new(2, 1) < self.shot.duration_seconds {
            let message = format!(
                "shot {}: the clip is {seconds} s long, its shot {} s; its last frame will be held",
                self.shot.number, self.shot.duration_seconds
            );
            self.claim.tell(Event::Note { message });
        }
    }
}
