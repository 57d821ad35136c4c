//! The Media pool: puts documents into the media store and begins to read them. The rest of a large one
//! is read as fast as it is taken, when the worker is free again.

use bytes::Bytes;

use super::pool::Work;
use crate::outbound::media::{Media, MediaError, ObjectReader, StoredObject};

/// An object to be written, or to be read from.
#[derive(Debug)]
pub enum MediaTask {
    Put { name: String, bytes: Bytes },
    Read { name: String, sha256: String },
}

/// What came of it.
#[derive(Debug)]
pub enum MediaOutput {
    Stored(StoredObject),
    Opened(ObjectReader),
}

#[derive(Debug)]
pub struct MediaWork {
    pub media: Media,
}

impl Work for MediaWork {
    type Task = MediaTask;
    type Output = Result<MediaOutput, MediaError>;
    const NAME: &'static str = "media";

    async fn run(&self, task: MediaTask) -> Self::Output {
        match task {
            MediaTask::Put { name, bytes } => {
                self.media.put(&name, bytes).await.map(MediaOutput::Stored)
            }
            MediaTask::Read { name, sha256 } => {
                let opened = self.media.read(&name, &sha256).await;
                opened.map(MediaOutput::Opened)
            }
        }
    }
}
