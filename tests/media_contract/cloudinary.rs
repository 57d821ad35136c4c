//! Documents at Cloudinary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faktor::clock::Clock;
use faktor::config::Secret;
use faktor::outbound::media::{CloudinaryMedia, Media, MediaError, TimeLimits};

use crate::cloudinary_double::{CLOUD, CloudinaryDouble, Fault, KEY, SECRET};
use crate::{Subject, limits};

const NAME: &str = "inv_7/document-1.pdf";
const ASSET: &str = "raw/authenticated/uploads/invoice-7/document-1.pdf";

pub(crate) struct Cloudinary(pub(crate) Arc<CloudinaryDouble>);

impl Subject for Cloudinary {
    const TAKES_EMPTY_OBJECTS: bool = false;

    async fn set_up() -> Option<Self> {
        Some(Self(CloudinaryDouble::start().await))
    }

    async fn media(&self) -> Media {
        open(&self.0.url(), limits()).unwrap()
    }

    async fn damage(&self, name: &str) {
        let asset = format!(
            "raw/authenticated/uploads/{}",
            name.replace("inv_", "invoice-")
        );
        let mut assets = self.0.assets.lock().unwrap();
        *assets.get_mut(&asset).unwrap() = Bytes::from_static(b"abd");
    }

    async fn objects(&self) -> usize {
        self.0.assets.lock().unwrap().len()
    }

    async fn tidy_up(self) {}
}

pub(crate) fn open(url: &str, limits: TimeLimits) -> Result<Media, MediaError> {
    open_at(Clock::System, url, limits)
}

fn open_at(clock: Clock, url: &str, limits: TimeLimits) -> Result<Media, MediaError> {
    CloudinaryMedia::new(&Secret::new(url.to_owned()), clock, limits).map(Media::Cloudinary)
}

fn abc() -> Bytes {
    Bytes::from_static(b"abc")
}

#[tokio::test]
async fn a_document_is_a_raw_asset_that_nobody_reads_without_a_signature() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let media = cloudinary.media().await;
    media.put(NAME, abc()).await.unwrap();
    let assets = cloudinary.0.assets.lock().unwrap().clone();
    assert_eq!(assets.keys().collect::<Vec<_>>(), [ASSET]);
    let uploads = cloudinary.0.uploads.lock().unwrap().clone();
    let names: Vec<_> = uploads[0].keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "api_key",
            "invalidate",
            "overwrite",
            "public_id",
            "signature",
            "timestamp",
            "type"
        ]
    );
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_repeated_without_a_second_asset() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let short = TimeLimits {
        connect: Duration::from_secs(5),
        transfer: Duration::from_millis(500),
    };
    let media = open(&cloudinary.0.url(), short).unwrap();
    cloudinary.0.fail([Fault::LostAnswer]);
    let put = media.put(NAME, abc()).await;
    assert!(
        matches!(put, Err(MediaError::Unavailable { .. })),
        "{put:?}"
    );
    let stored = media.put(NAME, abc()).await.unwrap();
    assert_eq!(cloudinary.0.uploads.lock().unwrap().len(), 2);
    assert_eq!(cloudinary.objects().await, 1);
    assert_eq!(media.get(NAME, &stored.sha256).await.unwrap(), "abc");
}

#[tokio::test]
async fn wrong_credentials_are_a_refusal_that_tells_no_secret() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    for (right, wrong) in [
        (SECRET, "hunter2"),
        (KEY, "123456789012345"),
        (CLOUD, "other-cloud"),
    ] {
        let media = open(&cloudinary.0.url().replace(right, wrong), limits()).unwrap();
        let put = media.put(NAME, abc()).await.map(drop);
        let get = media.get(NAME, "").await.map(drop);
        for answer in [media.open().await, put, get] {
            let error = answer.unwrap_err();
            assert!(matches!(error, MediaError::Denied { .. }), "{error}");
            assert!(error.is_lasting());
            let said = format!("{error} {error:?} {media:?}");
            assert!(
                !said.contains("hunter2") && !said.contains(SECRET),
                "{said}"
            );
        }
    }
    assert_eq!(cloudinary.objects().await, 0);
}

#[tokio::test]
async fn a_signature_is_made_with_the_present_time() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let clock = Clock::manual(Clock::System.now());
    let media = open_at(clock.clone(), &cloudinary.0.url(), limits()).unwrap();
    media.put(NAME, abc()).await.unwrap();
    clock.advance_ms(-2 * 3_600_000);
    let error = media.put(NAME, abc()).await.unwrap_err().to_string();
    assert!(error.contains("Stale request"), "{error}");
}

#[tokio::test]
async fn trouble_at_cloudinary_is_unavailable_with_its_reason() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let media = cloudinary.media().await;
    let stored = media.put(NAME, abc()).await.unwrap();
    for status in [420, 429, 500, 502, 503] {
        cloudinary
            .0
            .fail([Fault::Status(status), Fault::Status(status)]);
        let put = media.put(NAME, abc()).await.map(drop);
        let get = media.get(NAME, &stored.sha256).await.map(drop);
        for answer in [put, get] {
            let error = answer.unwrap_err();
            assert!(matches!(error, MediaError::Unavailable { .. }), "{error}");
            let said = format!("{status}: General Error");
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_whole_is_never_taken_for_the_object() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let media = cloudinary.media().await;
    let stored = media.put(NAME, abc()).await.unwrap();
    cloudinary.0.fail([Fault::CutOff]);
    let error = media.get(NAME, &stored.sha256).await.unwrap_err();
    assert!(matches!(error, MediaError::Unavailable { .. }), "{error}");
    assert!(!error.to_string().contains("signature="), "{error}");
    cloudinary.0.fail([Fault::Short]);
    let read = media.get(NAME, &stored.sha256).await;
    assert!(matches!(read, Err(MediaError::Damaged { .. })), "{read:?}");
}

#[tokio::test]
async fn something_that_is_not_cloudinary_is_no_missing_object() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let elsewhere = format!("{}/elsewhere", cloudinary.0.address);
    let url = cloudinary
        .0
        .url()
        .replace(&cloudinary.0.address, &elsewhere);
    let read = open(&url, limits()).unwrap().get(NAME, "").await;
    assert!(
        matches!(read, Err(MediaError::Unavailable { .. })),
        "{read:?}"
    );
}

#[tokio::test]
async fn pings_that_go_well_spare_the_hourly_allowance() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let media = cloudinary.media().await;
    cloudinary.0.fail([Fault::Status(500)]);
    assert!(media.ping().await.is_err());
    for _ in 0..5 {
        assert_eq!(media.clone().ping().await, Ok(()));
    }
    assert_eq!(*cloudinary.0.pings.lock().unwrap(), 2);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_said_without_its_secret() {
    for url in [
        "cloudinary://key@cloud",
        "cloudinary://key:hunter2@",
        "cloudinary://:hunter2@cloud",
        "cloudinary://key:hunter2@cloud/path",
        "cloudinary://key:hunter2@cloud?api=ftp://host",
        "cloudinary://key:hunter2@cloud?hunter2=1",
    ] {
        let error = open(url, limits()).unwrap_err();
        assert!(
            matches!(error, MediaError::Address { .. }),
            "{url}: {error}"
        );
        assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
    }
}
