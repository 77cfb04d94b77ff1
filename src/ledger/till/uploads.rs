//! Uploads: free, but rows like every call to the outside, so that the books show what was handed
//! out and what is there already is not sent again.

use std::time::Duration;

use super::{Purpose, Till, TillError};
use crate::providers::{Provider, ProviderError};
use crate::store::operations;

impl Till {
    /// The URL of a picture at a provider: of an upload that this user made before, where one of the
    /// same bytes is no older than `lifetime`, else of a new one. `sha256` is that of the bytes.
    pub async fn upload_once(
        &self,
        purpose: &Purpose,
        (provider, model): (Provider, &str),
        sha256: &str,
        lifetime: Duration,
        uploading: impl Future<Output = Result<String, ProviderError>>,
    ) -> Result<String, TillError> {
        let since = self.clock.now().saturating_sub(lifetime).unwrap_or_default();
        let mut session = self.store.session().await?;
        let (user_id, provider_name) = (&purpose.user_id, provider.as_str());
        let kept =
            operations::kept_upload(&mut session, user_id, provider_name, sha256, since).await?;
        session.close().await;
        match kept {
            Some(url) => Ok(url),
            None => self.upload_of(purpose, (provider, model), Some(sha256), uploading).await,
        }
    }
}
