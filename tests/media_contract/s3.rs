//! Documents in S3.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faktor::config::Secret;
use faktor::outbound::media::{Media, MediaError, S3Media, TimeLimits};
use tokio::time::Instant;

use crate::s3_double::{Fault, S3Double, SECRET};
use crate::{Subject, limits};

const NAME: &str = "inv_7/document-1.pdf";

pub(crate) struct S3(pub(crate) Arc<S3Double>);

fn key_of(name: &str) -> String {
    format!("files/of/faktor/{name}")
}

impl Subject for S3 {
    async fn set_up() -> Option<Self> {
        Some(Self(S3Double::start().await))
    }

    async fn media(&self) -> Media {
        open(&self.0.url(), limits()).unwrap()
    }

    async fn damage(&self, name: &str) {
        let mut objects = self.0.objects.lock().unwrap();
        let object = objects.get_mut(&key_of(name)).unwrap();
        object.bytes = Bytes::from_static(b"abd");
    }

    async fn objects(&self) -> usize {
        self.0.objects.lock().unwrap().len()
    }

    async fn tidy_up(self) {}
}

pub(crate) fn open(url: &str, limits: TimeLimits) -> Result<Media, MediaError> {
    S3Media::new(&Secret::new(url.to_owned()), limits).map(Media::S3)
}

async fn with_object(bytes: &'static [u8]) -> (S3, Media, String) {
    let s3 = S3::set_up().await.unwrap();
    let media = s3.media().await;
    let stored = media.put(NAME, Bytes::from_static(bytes)).await.unwrap();
    (s3, media, stored.sha256)
}

#[tokio::test]
async fn an_object_is_under_the_prefix_with_its_type() {
    let (s3, ..) = with_object(b"abc").await;
    let objects = s3.0.objects.lock().unwrap();
    let object = &objects[&key_of(NAME)];
    assert_eq!(object.content_type, "application/pdf");
    assert_eq!(object.bytes, "abc");
}

#[tokio::test]
async fn without_a_prefix_an_object_has_its_own_name() {
    let s3 = S3::set_up().await.unwrap();
    for (prefix, url) in ["", "/", "/files/"].map(|prefix| {
        let url = s3.0.url().replace("/files/of/faktor", prefix);
        (prefix.trim_start_matches('/'), url)
    }) {
        let media = open(&url, limits()).unwrap();
        media.put(NAME, Bytes::from_static(b"abc")).await.unwrap();
        let objects = s3.0.objects.lock().unwrap();
        assert!(objects.contains_key(&format!("{prefix}{NAME}")), "{url}");
    }
}

#[tokio::test]
async fn a_secret_in_a_url_may_be_percent_encoded() {
    let s3 = S3::set_up().await.unwrap();
    let encoded = SECRET.replace('+', "%2B").replace('/', "%2F");
    let media = open(&s3.0.url().replace(SECRET, &encoded), limits()).unwrap();
    assert_eq!(media.open().await, Ok(()));
}

#[tokio::test]
async fn wrong_credentials_are_a_refusal_not_an_outage() {
    let s3 = S3::set_up().await.unwrap();
    for (right, wrong, code) in [
        (SECRET, "hunter2-hunter2", "SignatureDoesNotMatch"),
        ("AKIDEXAMPLE", "AKIDOTHER", "InvalidAccessKeyId"),
    ] {
        let media = open(&s3.0.url().replace(right, wrong), limits()).unwrap();
        let error = media.open().await.unwrap_err();
        assert!(matches!(error, MediaError::Denied { .. }), "{error}");
        assert!(error.is_lasting());
        let said = error.to_string();
        assert!(said.contains(code) && !said.contains("hunter2"), "{said}");
        let put = media.put(NAME, Bytes::from_static(b"abc")).await;
        assert!(matches!(put, Err(MediaError::Denied { .. })), "{put:?}");
    }
    assert_eq!(s3.objects().await, 0);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_missing_object() {
    let s3 = S3::set_up().await.unwrap();
    let media = open(&s3.0.url().replace("s3://invoices", "s3://other"), limits()).unwrap();
    for answer in [media.open().await, media.get(NAME, "").await.map(drop)] {
        let error = answer.unwrap_err();
        assert!(matches!(error, MediaError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_too_busy_is_asked_again() {
    let (s3, media, sha256) = with_object(b"abc").await;
    s3.0.fail([
        Fault::Error(503, "SlowDown"),
        Fault::Error(500, "InternalError"),
    ]);
    media.put(NAME, Bytes::from_static(b"abc")).await.unwrap();
    s3.0.fail([Fault::Error(503, "SlowDown")]);
    assert_eq!(media.get(NAME, &sha256).await.unwrap(), "abc");
    let log = s3.0.log.lock().unwrap().clone();
    assert_eq!(log.iter().filter(|line| line.ends_with("503")).count(), 2);
}

#[tokio::test]
async fn a_server_that_stays_too_busy_is_unavailable() {
    let (s3, media, sha256) = with_object(b"abc").await;
    s3.0.fail([Fault::Error(503, "SlowDown"); 20]);
    let read = media.get(NAME, &sha256).await.unwrap_err();
    assert!(matches!(read, MediaError::Unavailable { .. }), "{read}");
    assert!(read.to_string().contains("SlowDown"), "{read}");
    assert!(
        s3.0.faults.lock().unwrap().len() > 10,
        "repeats are bounded"
    );
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_read_on_and_never_taken_for_the_object() {
    let (s3, media, sha256) = with_object(b"0123456789").await;
    s3.0.fail([Fault::CutOff]);
    assert_eq!(media.get(NAME, &sha256).await.unwrap(), "0123456789");
    s3.0.fail([Fault::CutOff; 40]);
    let read = media.get(NAME, &sha256).await;
    assert!(
        matches!(read, Err(MediaError::Unavailable { .. })),
        "{read:?}"
    );
    s3.0.faults.lock().unwrap().clear();
    s3.0.fail([Fault::Short]);
    let read = media.get(NAME, &sha256).await;
    assert!(matches!(read, Err(MediaError::Damaged { .. })), "{read:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_within_the_limit() {
    let (s3, _, sha256) = with_object(b"abc").await;
    let short = TimeLimits {
        connect: Duration::from_millis(300),
        transfer: Duration::from_millis(600),
    };
    s3.0.fail([Fault::Silence; 20]);
    let media = open(&s3.0.url(), short).unwrap();
    let started = Instant::now();
    let read = media.get(NAME, &sha256).await;
    assert!(
        matches!(read, Err(MediaError::Unavailable { .. })),
        "{read:?}"
    );
    let put = media.put(NAME, Bytes::from_static(b"abc")).await;
    assert!(
        matches!(put, Err(MediaError::Unavailable { .. })),
        "{put:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(4));

    let nobody = s3.0.url().replace(&s3.0.address, "http://127.0.0.1:1");
    let ping = open(&nobody, short).unwrap().open().await;
    assert!(
        matches!(ping, Err(MediaError::Unavailable { .. })),
        "{ping:?}"
    );
}

#[tokio::test]
async fn a_ping_reads_what_the_start_wrote() {
    let s3 = S3::set_up().await.unwrap();
    let media = s3.media().await;
    let before = media.ping().await;
    assert!(
        matches!(before, Err(MediaError::Unavailable { .. })),
        "{before:?}"
    );
    media.open().await.unwrap();
    assert!(s3.0.objects.lock().unwrap().contains_key(&key_of(".ping")));
    assert_eq!(media.ping().await, Ok(()));
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_said_without_its_secret() {
    for url in [
        "s3://bucket?access_key_id=AKID",
        "s3://bucket?secret_access_key=hunter2",
        "s3://bucket?secret_acces_key=hunter2",
        "s3://bucket?endpoint=hunter2",
        "s3://bucket?endpoint=http://user:hunter2@host",
        "s3://bucket?path_style=hunter2",
    ] {
        let error = open(url, limits()).unwrap_err();
        assert!(
            matches!(error, MediaError::Address { .. }),
            "{url}: {error}"
        );
        assert!(error.is_lasting());
        assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
    }
}
