//! Whether a request's body was read when its answer is ready.
//!
//! hyper can't take a connection on for the next request while a body is still on its way that nobody
//! wants: it closes it. A client on HTTP/1 has to hear of that, or its next request meets a
//! connection that is just being closed, and it does not know what came of it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};

/// A request's body, watched.
pub(super) struct Watched {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl Watched {
    /// The request for the router, and what becomes true once its body has been read.
    pub(super) fn watch(request: Request<Incoming>) -> (Request, Arc<AtomicBool>) {
        let is_read = Arc::new(AtomicBool::new(false));
        let watched = request.map(|body| {
            Body::new(Self {
                body,
                is_read: Arc::clone(&is_read),
            })
        });
        (watched, is_read)
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
