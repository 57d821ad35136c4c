//! A task that goes on as long as its node does.

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

pub(super) struct Lasting<T> {
    task: JoinHandle<T>,
    over: CancellationToken,
}

impl<T: Send + 'static> Lasting<T> {
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        let over = CancellationToken::new();
        let says_so = over.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _says_so = says_so;
            work.await
        });
        Self { task, over }
    }

    /// Resolves when it is over, by a panic, too.
    pub(super) async fn is_over(&self) {
        self.over.cancelled().await;
    }

    pub(super) async fn join(self) -> Result<T, JoinError> {
        self.task.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Duration, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_task_is_over_when_it_has_ended_and_when_it_has_panicked() {
        let ended = Lasting::spawn(async { 7 });
        ended.is_over().await;
        ended.is_over().await;
        assert_eq!(ended.join().await.unwrap(), 7);
        let panicked = Lasting::spawn(async { panic!("a test's") });
        panicked.is_over().await;
        assert!(panicked.join().await.unwrap_err().is_panic());
        let lasting = Lasting::spawn(pending::<()>());
        assert!(timeout(SOON, lasting.is_over()).await.is_err());
    }
}
