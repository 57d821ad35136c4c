//! Documents in GridFS.

use std::time::Duration;

use bytes::Bytes;
use faktor::clock;
use faktor::config::Secret;
use faktor::outbound::media::{GridFsMedia, Media, MediaError, TimeLimits};
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};
use tokio::time::Instant;

use crate::backends::backend;
use crate::support::fault_proxy::{Fault, FaultProxy, host_of};
use crate::{Subject, limits};

const NAME: &str = "inv_7/document-1.pdf";

pub(crate) struct GridFs {
    pub(crate) url: String,
    database: mongodb::Database,
}

/// The address with another database.
fn with_database(url: &str, database: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

impl Subject for GridFs {
    async fn set_up() -> Option<Self> {
        let name = format!("media_{}", clock::random_hex::<8>());
        let url = with_database(&backend("MONGO")?, &name);
        let client = mongodb::Client::with_uri_str(&url).await.unwrap();
        Some(Self {
            database: client.database(&name),
            url,
        })
    }

    async fn media(&self) -> Media {
        open(&self.url, limits()).await.unwrap()
    }

    async fn damage(&self, name: &str) {
        let file = self.file(name).await;
        let binary = Binary {
            subtype: BinarySubtype::Generic,
            bytes: b"abd".to_vec(),
        };
        let chunk = doc! { "files_id": file.get("_id").unwrap(), "n": 0 };
        let change = doc! { "$set": { "data": binary } };
        let changed = self.chunks().update_one(chunk, change).await.unwrap();
        assert_eq!(changed.modified_count, 1);
    }

    async fn objects(&self) -> usize {
        let objects = self.files().count_documents(doc! {}).await.unwrap();
        usize::try_from(objects).unwrap()
    }

    async fn tidy_up(self) {
        self.database.drop().await.unwrap();
    }
}

impl GridFs {
    fn files(&self) -> mongodb::Collection<Document> {
        self.database.collection("documents.files")
    }

    pub(crate) fn chunks(&self) -> mongodb::Collection<Document> {
        self.database.collection("documents.chunks")
    }

    async fn file(&self, name: &str) -> Document {
        let found = self.files().find_one(doc! { "filename": name }).await;
        found.unwrap().unwrap()
    }
}

pub(crate) async fn open(url: &str, limits: TimeLimits) -> Result<Media, MediaError> {
    let opened = GridFsMedia::new(&Secret::new(url.to_owned()), limits).await;
    opened.map(Media::GridFs)
}

#[tokio::test]
async fn a_file_tells_its_checksum_and_type_and_is_in_chunks() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let bytes = Bytes::from(vec![7; 600_000]);
    let stored = gridfs.media().await.put(NAME, bytes).await.unwrap();
    let file = gridfs.file(NAME).await;
    let metadata = file.get_document("metadata").unwrap();
    assert_eq!(metadata.get_str("sha256").unwrap(), stored.sha256);
    assert_eq!(metadata.get_str("contentType").unwrap(), "application/pdf");
    let chunks = gridfs.chunks().count_documents(doc! {}).await.unwrap();
    assert_eq!(chunks, 3, "of 255 KiB");
    let indexes = gridfs.files().list_index_names().await.unwrap();
    assert!(
        indexes.contains(&"filename_1_uploadDate_1".to_owned()),
        "{indexes:?}"
    );
    gridfs.tidy_up().await;
}

#[tokio::test]
async fn a_revision_that_a_crash_left_is_harmless_and_goes_with_the_next_put() {
    use futures_util::io::AsyncWriteExt;
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let media = gridfs.media().await;
    let new = media.put(NAME, Bytes::from_static(b"new")).await.unwrap();
    // As a put leaves it that was killed before it deleted what was there.
    let options = mongodb::options::GridFsBucketOptions::builder()
        .bucket_name("documents".to_owned())
        .build();
    let bucket = gridfs.database.gridfs_bucket(options);
    let mut left = bucket.open_upload_stream(NAME).await.unwrap();
    left.write_all(b"left").await.unwrap();
    left.close().await.unwrap();
    assert_eq!(gridfs.objects().await, 2);
    assert_eq!(media.get(NAME, &new.sha256).await.unwrap(), "new");

    media.put(NAME, Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(media.get(NAME, &new.sha256).await.unwrap(), "new");
    assert_eq!(gridfs.objects().await, 1);
    let chunks = gridfs.chunks().count_documents(doc! {}).await.unwrap();
    assert_eq!(chunks, 1, "and its chunks went too");
    gridfs.tidy_up().await;
}

#[tokio::test]
async fn a_file_without_one_of_its_chunks_is_damaged() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let media = gridfs.media().await;
    let bytes = Bytes::from(vec![7; 600_000]);
    let stored = media.put(NAME, bytes.clone()).await.unwrap();
    gridfs.chunks().delete_one(doc! { "n": 1 }).await.unwrap();
    let read = media.get(NAME, &stored.sha256).await;
    assert!(matches!(read, Err(MediaError::Damaged { .. })), "{read:?}");
    // A whole revision beside it is found, whichever is newer.
    media.put("other", bytes.clone()).await.unwrap();
    let rename = doc! { "$set": { "filename": NAME } };
    let other = doc! { "filename": "other" };
    gridfs.files().update_one(other, rename).await.unwrap();
    assert!(media.get(NAME, &stored.sha256).await.unwrap() == bytes);
    gridfs.tidy_up().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_the_limit() {
    let limits = TimeLimits {
        connect: Duration::from_millis(300),
        transfer: Duration::from_secs(5),
    };
    let url = "mongodb://127.0.0.1:1/faktor";
    let media = open(url, limits).await.unwrap();
    let started = Instant::now();
    let error = media.open().await.unwrap_err();
    assert!(matches!(error, MediaError::Unavailable { .. }), "{error}");
    assert!(!error.is_lasting());
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_said_at_once_without_the_password() {
    for url in [
        "mongodb://127.0.0.1:27017",
        "mongodb://user:hunter2@:x@127.0.0.1:27017/faktor",
        "mongodb://user:hunter2%@127.0.0.1:27017/faktor",
        "mongodb://user:hunter2@127.0.0.1:hunter2/faktor",
    ] {
        let error = open(url, limits()).await.unwrap_err();
        assert!(
            matches!(error, MediaError::Address { .. }),
            "{url}: {error}"
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_the_server_does_not_take_are_a_refusal_not_an_outage() {
    let Some(url) = backend("MONGO") else { return };
    let url = url.replace("mongodb://", "mongodb://nobody:hunter2@");
    let error = open(&url, limits()).await.unwrap().open().await;
    let error = error.unwrap_err();
    assert!(error.is_lasting(), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_ends_by_itself_and_what_was_stored_is_still_there() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let proxy = FaultProxy::before(host_of(&gridfs.url)).await;
    let url = proxy.url(&gridfs.url);
    let short = TimeLimits {
        connect: Duration::from_millis(500),
        transfer: Duration::from_secs(3),
    };
    let media = open(&url, short).await.unwrap();
    let stored = media.put(NAME, Bytes::from_static(b"abc")).await.unwrap();

    proxy.set(Fault::Refuse);
    let read = media.get(NAME, &stored.sha256).await;
    assert!(
        matches!(read, Err(MediaError::Unavailable { .. })),
        "{read:?}"
    );
    let put = media.put(NAME, Bytes::from_static(b"abd")).await;
    assert!(
        matches!(put, Err(MediaError::Unavailable { .. })),
        "{put:?}"
    );
    assert!(media.ping().await.is_err());

    proxy.set(Fault::Pass);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = media.ping().await {
        assert!(Instant::now() < deadline, "still down: {error}");
    }
    assert_eq!(media.get(NAME, &stored.sha256).await.unwrap(), "abc");
    gridfs.tidy_up().await;
}
