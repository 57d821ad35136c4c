//! Objects in MongoDB's GridFS, bucket `documents`.
//!
//! A put writes a new revision first and then deletes those that were there before it began. So a
//! reader finds the old object or the new one at every moment; a crash in between leaves a revision
//! too many, which nobody asks for and the next put of that name takes away; and a put that was given
//! up by its caller but still arrives can't take away what was written after it began.

use std::fmt;

use futures_util::io::AsyncWriteExt;
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::Collection;
use mongodb::bson::{Binary, Bson, doc};
use mongodb::error::{Error, ErrorKind, GridFsErrorKind};
use mongodb::gridfs::{FilesCollectionDocument, GridFsBucket};
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, GridFsBucketOptions, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use serde::Deserialize;

use super::reader::Parts;
use super::{
    Bytes, MediaError, ObjectReader, StoredObject, TimeLimits, content_type, one_line, within,
};
use crate::config::Secret;

const BUCKET: &str = "documents";
const CHUNKS: &str = "documents.chunks";
/// How much of an object is handed to the driver at once: one chunk of GridFS.
const PART_BYTES: usize = 255 * 1024;
/// How many chunks the server sends at once.
const CHUNKS_AT_ONCE: u32 = 2;
/// More revisions of one name than crashes ever leave; further ones wait for the next put.
const MAX_REVISIONS: usize = 100;
/// How often a reader looks again when the revision it was reading has just been replaced.
const MAX_LOOKS: usize = 3;

/// Objects in a bucket of a MongoDB database.
#[derive(Clone)]
pub struct GridFsMedia {
    bucket: GridFsBucket,
    chunks: Collection<Chunk>,
    limits: TimeLimits,
}

/// A part of a file, as the specification of GridFS has it.
#[derive(Deserialize)]
struct Chunk {
    data: Binary,
}

impl fmt::Debug for GridFsMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GridFsMedia")
    }
}

impl GridFsMedia {
    /// The bucket in the database that `mongodb://user:password@host:27017/database` names. Only a
    /// `mongodb+srv` address asks the network, for the hosts' names.
    pub async fn new(address: &Secret, limits: TimeLimits) -> Result<Self, MediaError> {
        let mut options = ClientOptions::parse(address.expose())
            .await
            .map_err(|error| not_understood(&error))?;
        options.app_name = Some("faktor".to_owned());
        options.server_selection_timeout = Some(limits.connect);
        options.connect_timeout = Some(limits.connect);
        let client = mongodb::Client::with_options(options).map_err(|_| wrong_address())?;
        let database = client.default_database().ok_or_else(wrong_address)?;
        let durable = WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build();
        // A secondary may not have yet what has just been written.
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let from_primary = CollectionOptions::builder().selection_criteria(primary.clone());
        let chunks = database.collection_with_options(CHUNKS, from_primary.build());
        let bucket = database.gridfs_bucket(
            GridFsBucketOptions::builder()
                .bucket_name(BUCKET.to_owned())
                .write_concern(durable)
                .selection_criteria(primary)
                .build(),
        );
        Ok(Self {
            bucket,
            chunks,
            limits,
        })
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<StoredObject, MediaError> {
        within(self.limits.transfer, async {
            let before = self.revisions(name).await?;
            let object = self.upload(name, &bytes).await?;
            self.delete(name, before).await;
            Ok(object)
        })
        .await
    }

    async fn upload(&self, name: &str, bytes: &[u8]) -> Result<StoredObject, MediaError> {
        let object = StoredObject::of(bytes);
        let mut stream = self
            .bucket
            .open_upload_stream(name)
            .metadata(doc! { "sha256": &object.sha256, "contentType": content_type(name) })
            .await
            .map_err(|error| failed(&error))?;
        for part in bytes.chunks(PART_BYTES) {
            let written = stream.write_all(part).await;
            written.map_err(|error| interrupted(&error))?;
        }
        let closed = stream.close().await;
        closed.map_err(|error| interrupted(&error))?;
        Ok(object)
    }

    /// What can't be deleted stays until the next put of that name: the new object is there already.
    async fn delete(&self, name: &str, revisions: Vec<FilesCollectionDocument>) {
        for revision in revisions {
            match self.bucket.delete(revision.id).await {
                Err(error) if !is_gone(&error) => {
                    let error = failed(&error);
                    tracing::warn!(object = name, %error, "an old revision stays in GridFS");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Reads the newest whole revision with that checksum. When none can be read, others may have
    /// taken their place in the meantime: only what is still there is damaged. One that turns out to be
    /// damaged when a part of it has been handed out already has no other take its place.
    pub(super) async fn read(&self, name: &str, sha256: &str) -> Result<ObjectReader, MediaError> {
        let mut seen: Vec<Bson> = Vec::new();
        for _ in 0..MAX_LOOKS {
            let revisions = within(self.limits.transfer, self.revisions(name)).await?;
            if revisions.is_empty() {
                return Err(MediaError::missing(name));
            }
            let ids: Vec<_> = revisions.iter().map(|found| found.id.clone()).collect();
            if ids == seen {
                break;
            }
            for revision in revisions.iter().filter(|found| has(found, sha256)) {
                let parts = self.parts(revision.id.clone());
                match ObjectReader::open(name, sha256, parts, self.limits.transfer).await {
                    Err(MediaError::Damaged { .. }) => {}
                    opened => return opened,
                }
            }
            seen = ids;
        }
        Err(MediaError::damaged(name))
    }

    /// The chunks of a revision. The driver's own stream takes as many at once as fit into an answer,
    /// 16 MiB, twice; that none is missing or of another length, the checksum says.
    fn parts(&self, revision: Bson) -> Parts {
        let chunks = self.chunks.clone();
        let find = async move {
            let found = chunks.find(doc! { "files_id": revision });
            found.sort(doc! { "n": 1 }).batch_size(CHUNKS_AT_ONCE).await
        };
        stream::once(find)
            .try_flatten()
            .map_ok(|chunk| Bytes::from(chunk.data.bytes))
            .map_err(|error| failed(&error))
            .boxed()
    }

    /// All revisions of a name, the newest first.
    async fn revisions(&self, name: &str) -> Result<Vec<FilesCollectionDocument>, MediaError> {
        let found = self
            .bucket
            .find(doc! { "filename": name })
            .sort(doc! { "uploadDate": -1, "_id": -1 })
            .await;
        let found = found.map_err(|error| failed(&error))?;
        let revisions = found.take(MAX_REVISIONS).try_collect().await;
        revisions.map_err(|error| failed(&error))
    }

    /// A read of the bucket, which needs a primary and the right to read.
    pub(super) async fn ping(&self) -> Result<(), MediaError> {
        within(self.limits.transfer, async {
            let found = self.bucket.find_one(doc! { "filename": "" }).await;
            found.map_err(|error| failed(&error))?;
            Ok(())
        })
        .await
    }
}

fn has(revision: &FilesCollectionDocument, sha256: &str) -> bool {
    let metadata = revision.metadata.as_ref();
    metadata.and_then(|metadata| metadata.get_str("sha256").ok()) == Some(sha256)
}

/// The driver's sentence may repeat parts of the password, so ours does not quote it.
fn wrong_address() -> MediaError {
    MediaError::address(
        "it must read mongodb://user:password@host:27017/database, with a database, \
         and user and password percent-encoded",
    )
}

fn not_understood(error: &Error) -> MediaError {
    match &*error.kind {
        ErrorKind::DnsResolve { message, .. } => MediaError::unavailable(one_line(message)),
        _ => wrong_address(),
    }
}

/// An error in the middle of a stream: the driver's own, wrapped.
fn interrupted(error: &std::io::Error) -> MediaError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or_else(
        || MediaError::unavailable(one_line(&error.to_string())),
        failed,
    )
}

/// A revision that another put has taken away.
fn is_gone(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::GridFs(GridFsErrorKind::FileNotFound { .. })
    )
}

fn failed(error: &Error) -> MediaError {
    match &*error.kind {
        ErrorKind::Authentication { message, .. } => MediaError::denied(one_line(message)),
        // Unauthorized, AuthenticationFailed
        ErrorKind::Command(command) if matches!(command.code, 13 | 18) => {
            MediaError::denied(one_line(&command.message))
        }
        kind => MediaError::unavailable(one_line(&kind.to_string())),
    }
}
