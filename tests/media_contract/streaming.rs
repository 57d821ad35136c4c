//! Objects that are read as fast as they are taken.

use std::time::Duration;

use bytes::Bytes;
use faktor::outbound::media::Media;
use mongodb::bson::{Binary, doc, spec::BinarySubtype};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::cloudinary::Cloudinary;
use crate::gridfs::GridFs;
use crate::node::{file, node, uploaded};
use crate::promises::noise;
use crate::s3::S3;
use crate::support::fault_proxy::{FaultProxy, host_of};
use crate::{Subject, cloudinary, gridfs, limits, s3};

const NAME: &str = "inv_7/document-1.pdf";
const MIB: usize = 1024 * 1024;

/// Begins to read an object of `bytes` and takes only its first part: of the rest the store sends no
/// more than `most`, until it is taken.
async fn nothing_is_read_that_nobody_takes(
    media: &Media,
    proxy: &FaultProxy,
    bytes: usize,
    most: usize,
) {
    let object = noise(bytes);
    let stored = media.put(NAME, object.clone()).await.unwrap();
    let before = proxy.carried();
    let mut reader = media.read(NAME, &stored.sha256).await.unwrap();
    let mut read = vec![reader.next().await.unwrap().unwrap()];
    let mut carried = 0;
    while carried != proxy.carried() {
        carried = proxy.carried();
        sleep(Duration::from_millis(300)).await;
    }
    let carried = carried - before;
    assert!(carried <= most, "{carried} bytes were read of {bytes}");
    while let Some(part) = reader.next().await.unwrap() {
        assert!(part.len() <= MIB, "a part of {} bytes", part.len());
        read.push(part);
    }
    assert!(read.concat() == object, "other bytes");
    assert!(proxy.carried() - before >= bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_gridfs_no_more_is_read_than_is_taken_but_a_few_chunks() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let proxy = FaultProxy::before(host_of(&gridfs.url)).await;
    let media = gridfs::open(&proxy.url(&gridfs.url), limits()).await;
    nothing_is_read_that_nobody_takes(&media.unwrap(), &proxy, 8 * MIB, 3 * MIB / 2).await;
    gridfs.tidy_up().await;
}

/// What the sockets' buffers take comes on top.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_s3_no_more_is_read_than_is_taken_but_what_the_sockets_hold() {
    let s3 = S3::set_up().await.unwrap();
    let address = host_of(&s3.0.address);
    let proxy = FaultProxy::before(address).await;
    let url = s3.0.url().replace(address, &proxy.address().to_string());
    let media = s3::open(&url, limits()).unwrap();
    nothing_is_read_that_nobody_takes(&media, &proxy, 48 * MIB, 24 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_cloudinary_no_more_is_read_than_is_taken_but_what_the_sockets_hold() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let address = host_of(&cloudinary.0.address);
    let proxy = FaultProxy::before(address).await;
    let url = cloudinary.0.url();
    let url = url.replace(address, &proxy.address().to_string());
    let media = cloudinary::open(&url, limits()).unwrap();
    nothing_is_read_that_nobody_takes(&media, &proxy, 48 * MIB, 24 * MIB).await;
}

/// A file with a thousand lines, each as long as may be: 2 MB as a CSV.
fn large_file() -> Value {
    let text = "é".repeat(1_000);
    let line = json!({"id": "Z1", "description": text, "qty": 1, "unit_price": 1});
    let mut large = file();
    large["items"] = json!(vec![line; 1_000]);
    large
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_many_parts_is_downloaded_whole_or_visibly_not() {
    let Some(gridfs) = GridFs::set_up().await else {
        return;
    };
    let app = node(&gridfs.url).await;
    let fid = uploaded(&app, large_file()).await;
    let path = format!("/download?fid={fid}");
    let whole = app.get(&path).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    let bytes = whole.bytes.len();
    assert!(bytes > 2_000_000, "{bytes}");
    assert_eq!(whole.header("content-length"), bytes.to_string());
    let invoice = app.invoice(&fid).await;
    let sha256 = hex::encode(Sha256::digest(&whole.bytes));
    let document = &invoice["document"];
    assert_eq!(document["csv"]["sha256"], sha256, "{document}");

    // A byte of its last chunk changes: what went out before is the document's beginning, and the
    // rest does not arrive.
    let chunks = gridfs.chunks();
    let last = chunks.find_one(doc! {}).sort(doc! { "n": -1 }).await;
    let last = last.unwrap().unwrap();
    let mut bytes = last.get_binary_generic("data").unwrap().clone();
    bytes[0] ^= 1;
    let data = Binary {
        subtype: BinarySubtype::Generic,
        bytes,
    };
    let chunk = doc! { "_id": last.get_object_id("_id").unwrap() };
    let change = doc! { "$set": { "data": data } };
    chunks.update_one(chunk, change).await.unwrap();
    let request = app.client.get(format!("{}{path}", app.base));
    let mut answer = request.bearer_auth(&app.token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut arrived = Vec::new();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(part)) => arrived.extend_from_slice(&part),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err(), "taken for whole: {} bytes", arrived.len());
    assert!(whole.bytes.starts_with(&arrived), "other bytes");
    app.stop().await;
    gridfs.tidy_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_document_of_one_part_is_an_error_and_not_a_byte_of_it_is_sent() {
    let cloudinary = Cloudinary::set_up().await.unwrap();
    let app = node(&cloudinary.0.url()).await;
    let fid = uploaded(&app, file()).await;
    for asset in cloudinary.0.assets.lock().unwrap().values_mut() {
        *asset = Bytes::from_static(b"abd");
    }
    let answer = app.get(&format!("/download?fid={fid}")).await;
    answer.expect_problem(500, "internal");
    app.stop().await;
}
