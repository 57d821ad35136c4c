//! Mail kept in memory, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{MailError, OutgoingMail, message};

/// Records every mail it takes, and fails when told to. It takes what the spool takes: the message
/// is built and thrown away. Clones share what was sent.
#[derive(Debug, Clone, Default)]
pub struct MemoryMail {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<OutgoingMail>,
    failures: VecDeque<MailError>,
}

impl MemoryMail {
    /// Every mail taken so far, oldest first; a repeated one stands there as often as it was sent.
    pub fn sent(&self) -> Vec<OutgoingMail> {
        self.lock().sent.clone()
    }

    /// The next `times` mails are not taken, for this reason.
    pub fn fail_next(&self, times: usize, error: &MailError) {
        self.lock()
            .failures
            .extend(std::iter::repeat_n(error.clone(), times));
    }

    pub(super) fn send(&self, mail: &OutgoingMail) -> Result<(), MailError> {
        let mut state = self.lock();
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        message::build(mail)?;
        state.sent.push(mail.clone());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
