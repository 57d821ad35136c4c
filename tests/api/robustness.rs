//! Clients that are slow, broken or hostile, and a node that is told to stop.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::path_of;
use crate::support::TestApp;

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.app.address).await.unwrap()
}

/// What comes back until the node closes; nothing more is sent after `bytes`.
async fn say(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = connect(app).await;
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut off is an answer, too.
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn create(app: &TestApp, length: usize, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/invoices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
        app.token
    )
    .into_bytes()
}

#[tokio::test]
async fn connections_that_send_nothing_more_hold_nobody_up() {
    let app = TestApp::start().await;
    let mut idle = Vec::new();
    for n in 0..100 {
        let mut stream = connect(&app).await;
        let part = match n % 3 {
            0 => Vec::new(),
            1 => b"GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_vec(),
            _ => create(&app, 1_000, "{\"bill_to\""),
        };
        stream.write_all(&part).await.unwrap();
        idle.push(stream);
    }
    let id = app.open_invoice().await;
    let pay = json!({"payment_method": "pm_ok"});
    app.post(&format!("{}/pay", path_of(&id)), pay)
        .await
        .expect(200);
    drop(idle);
    app.get("/health/readiness").await.expect(200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off_after_the_configured_time() {
    let app = TestApp::start_with(|config| config.server.header_timeout_s = 1).await;
    let mut stream = connect(&app).await;
    stream.write_all(b"GET /v1/me HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(8), reading).await;
    assert_eq!(read.expect("an end").unwrap(), 0);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_connections_that_ask_for_nothing() {
    let app = TestApp::start_with(|config| config.server.drain_timeout_s = 600).await;
    let mut open = Vec::new();
    for part in ["", "GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = connect(&app).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        open.push(stream);
    }
    // The client keeps its connection, too.
    let client = app.client.clone();
    app.get("/health/liveness").await.expect(200);
    tokio::time::timeout(Duration::from_secs(8), app.app.stop())
        .await
        .expect("it stops");
    drop((open, client));
}

/// What comes back to whoever is still at work when the drain's time is over.
#[tokio::test]
async fn a_stop_tells_the_requests_that_it_does_not_wait_for() {
    let app = TestApp::start_with(|config| config.server.drain_timeout_s = 1).await;
    let mut stream = connect(&app).await;
    let head = String::from_utf8(create(&app, 1_000, "")).unwrap();
    let head = head.replacen("Host: x", "Host: x\r\nExpect: 100-continue", 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let reading = tokio::time::timeout(Duration::from_secs(10), reading);
    let (read, ()) = tokio::join!(reading, app.app.stop());
    read.expect("an end").unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(head.contains("retry-after: 1"), "{answer}");
    assert!(body.contains("\"stopping\""), "{answer}");
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_the_requests_time() {
    // Signing in is a request as well, and takes a busy machine more than a second.
    let app = TestApp::start_with(|config| config.server.request_timeout_s = 5).await;
    let mut stream = connect(&app).await;
    stream.write_all(&create(&app, 1_000, "{")).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let read = read.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("timed_out"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_cut_in_the_middle_does_nothing() {
    let app = TestApp::start().await;
    let body = crate::example().to_string();
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let answer = say(&app, &create(&app, body.len(), &body[..cut])).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
        assert!(refused, "cut at {cut}: {answer}");
    }
    let all = app.get("/v1/invoices").await.expect(200);
    assert_eq!(all["data"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_unread() {
    let app = TestApp::start().await;
    let answer = say(&app, &create(&app, 1024 * 1024 + 1, "")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
    // Without a length, it is counted.
    let mut chunked = format!(
        "POST /v1/invoices HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        app.token
    )
    .into_bytes();
    chunked.extend_from_slice(format!("{:x}\r\n", 1024 * 1024 + 1).as_bytes());
    chunked.extend(std::iter::repeat_n(b' ', 1024 * 1024 + 1));
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let answer = say(&app, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn nonsense_on_the_wire_is_refused_and_the_node_goes_on() {
    let app = TestApp::start().await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/me\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /v1/invoices HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/invoices HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let answer = say(&app, bytes).await;
        let status = answer.split(' ').nth(1).unwrap_or("400").to_owned();
        assert!(answer.is_empty() || status.starts_with('4'), "{bytes:?}: {answer}");
    }
    let header = "x".repeat(200_000);
    let request = format!("GET /v1/me HTTP/1.1\r\nHost: x\r\nX-Long: {header}\r\n\r\n");
    let mut stream = connect(&app).await;
    // It may be cut off while we write.
    let _ = stream.write_all(request.as_bytes()).await;
    drop(stream);
    app.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_drain_finishes_the_running_request() {
    let test = TestApp::start_with(|config| config.payments.timeout_ms = 5_000).await;
    let id = test.open_invoice().await;
    let (client, base, token) = (test.client.clone(), test.base.clone(), test.token.clone());
    let url = format!("{base}{}/pay", path_of(&id));
    let pay = client
        .post(url)
        .bearer_auth(token)
        .json(&json!({"payment_method": "pm_slow"}));
    let running = tokio::spawn(pay.send());
    test.until(&id, "processing", |invoice| {
        invoice["payment"]["status"] == "processing"
    })
    .await;
    let TestApp { app, dir, .. } = test;
    app.stop().await;
    let answer = running
        .await
        .unwrap()
        .expect("the running request is answered");
    assert!(
        [200, 202].contains(&answer.status().as_u16()),
        "{}",
        answer.status()
    );
    assert!(
        client
            .get(format!("{base}/health/liveness"))
            .send()
            .await
            .is_err(),
        "it has stopped"
    );
    drop(dir);
}

#[tokio::test]
async fn waiting_readers_do_not_hold_up_a_stop() {
    let test = TestApp::start().await;
    let id = test.open_invoice().await;
    test.until(&id, "quiet", |invoice| invoice["pending"] == json!([]))
        .await;
    let end = test.get("/v1/events?limit=100&wait=10").await.expect(200);
    let url = format!(
        "{}/v1/events?wait=30&after={}",
        test.base,
        end["next"].as_str().unwrap()
    );
    let feed = tokio::spawn(test.client.get(url).bearer_auth(&test.token).send());
    let url = format!("{}{}/events", test.base, path_of(&id));
    let mut stream = test
        .client
        .get(url)
        .bearer_auth(&test.token)
        .send()
        .await
        .unwrap();
    stream.chunk().await.unwrap().expect("the events so far");
    let TestApp { app, dir, .. } = test;
    tokio::time::timeout(Duration::from_secs(10), app.stop())
        .await
        .expect("a stop in time");
    while stream.chunk().await.unwrap().is_some() {}
    let answer = feed.await.unwrap();
    assert!(answer.is_ok_and(|answer| answer.status() == 200));
    drop(dir);
}
