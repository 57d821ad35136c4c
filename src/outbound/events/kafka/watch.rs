//! What the client says of its connections, so that a failure has a reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Remembers the last complaint. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    complaint: Arc<Mutex<Option<String>>>,
}

impl Watch {
    /// What happened, and what the client last complained of.
    pub(super) fn explain(&self, what: &str) -> String {
        match self.lock().as_deref() {
            Some(complaint) => format!("{what} ({complaint})"),
            None => what.to_owned(),
        }
    }

    /// All is well again.
    pub(super) fn forget(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        // Each attempt to connect has its line: what matters is told by the exporter.
        tracing::debug!(facility, message, "Kafka's client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka's client");
        // That all are down says less than why one is.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.lock().replace(reason.to_owned());
        }
    }
}
