//! The Media pool: puts documents into the media store and reads them back.

use bytes::Bytes;

use super::pool::Work;
use crate::outbound::media::{Media, MediaError, StoredObject};

/// An object to be written or read.
#[derive(Debug)]
pub enum MediaTask {
    Put { name: String, bytes: Bytes },
    Get { name: String, sha256: String },
}

/// What came of it.
#[derive(Debug)]
pub enum MediaOutput {
    Stored(StoredObject),
    Read(Bytes),
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
            MediaTask::Get { name, sha256 } => {
                self.media.get(&name, &sha256).await.map(MediaOutput::Read)
            }
        }
    }
}
