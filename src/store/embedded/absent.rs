//! What stands in for the embedded database where there is none.

use std::path::Path;
use std::sync::Arc;

use super::super::redaction::Redactor;
use super::super::{DatabaseSettings, Session, StoreError};
use crate::ids::OperationId;

const REASON: &str = if cfg!(unix) {
    "this aida was built without it"
} else {
    "it does not run on this operating system"
};

/// There is no such database, so there is no value of it.
#[derive(Debug, Clone)]
pub(in crate::store) enum Embedded {}

impl Embedded {
    pub(in crate::store) fn new(_settings: &DatabaseSettings) -> Result<Self, StoreError> {
        Err(StoreError::EmbeddedUnavailable { reason: REASON })
    }

    #[expect(clippy::unused_async, reason = "it stands in for one that waits")]
    pub(in crate::store) async fn session(&self) -> Result<Session, StoreError> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "it stands in for one that waits")]
    pub(in crate::store) async fn journal(
        &self,
        _session: &mut Session,
        _operation: OperationId,
    ) -> Result<(), StoreError> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "it stands in for one that waits")]
    pub(in crate::store) async fn redact_journal(
        &self,
        _redactor: &Arc<Redactor>,
    ) -> Result<(), StoreError> {
        match *self {}
    }

    pub(in crate::store) fn description(&self) -> String {
        match *self {}
    }
}

/// Hosts the embedded database, of which there is none here.
pub fn host_main(_data_dir: &Path) -> Result<(), StoreError> {
    Err(StoreError::EmbeddedUnavailable { reason: REASON })
}
