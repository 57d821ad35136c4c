//! The one layer around every route: request id, span, time limit, panics, errors, metrics, CORS and
//! security headers. Written by hand as one service, because each further layer costs every request.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::cors::Origins;
use super::error::ApiError;
use super::extract::RequestId;
use super::http_metrics::HttpMetrics;
use crate::clock;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const MAX_REQUEST_ID_CHARS: usize = 128;
/// A trace context has 55 characters (W3C Trace Context, version 00).
const TRACEPARENT_CHARS: usize = 55;

#[derive(Clone)]
pub(super) struct EdgeLayer {
    shared: Arc<Shared>,
}

struct Shared {
    time_limit: Duration,
    /// The node stops, and waits for no answer any more.
    cut_off: CancellationToken,
    origins: Origins,
    metrics: HttpMetrics,
}

impl EdgeLayer {
    /// `cut_off` ends the requests that are still running: the node stops.
    pub(super) fn new(
        time_limit: Duration,
        cut_off: CancellationToken,
        allowed_origins: &[String],
    ) -> Self {
        let origins = Origins::new(allowed_origins);
        Self {
            shared: Arc::new(Shared {
                time_limit,
                cut_off,
                origins,
                metrics: HttpMetrics::default(),
            }),
        }
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A route with everything around it.
#[derive(Clone)]
pub(super) struct Edge<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let request_id = RequestId(request_id(request.headers()));
        let about = About {
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            origin: self.shared.origins.allowed(request.headers()),
            traceparent: traceparent(request.headers()),
            request_id: request_id.clone(),
        };
        let shared = Arc::clone(&self.shared);
        if let Some(answer) = Origins::preflight(&request, about.origin.as_ref()) {
            return Box::pin(async move { Ok(finish(&shared, &about, started, answer)) });
        }
        let span = span(&about);
        request.extensions_mut().insert(request_id);
        let answering = self.inner.call(request);
        Box::pin(async move {
            let limited = async {
                tokio::select! {
                    // Most requests are answered before there is anything to wait for.
                    biased;
                    answered = tokio::time::timeout(shared.time_limit, answering) => match answered {
                        Ok(Ok(response)) => response,
                        Ok(Err(never)) => match never {},
                        Err(_elapsed) => timed_out(),
                    },
                    () = shared.cut_off.cancelled() => stopping(),
                }
            };
            let caught = AssertUnwindSafe(limited)
                .catch_unwind()
                .instrument(span)
                .await;
            let response = caught
                .unwrap_or_else(|panic| ApiError::internal(panic_message(&*panic)).into_response());
            Ok(finish(&shared, &about, started, response))
        })
    }
}

fn timed_out() -> Response {
    ApiError::unavailable("timed_out", "the request took too long").into_response()
}

fn stopping() -> Response {
    ApiError::unavailable(
        "stopping",
        "the node stops, and did not wait for what came of the request; the same Idempotency-Key asks again",
    )
    .into_response()
}

/// What is known of a request before it is answered.
struct About {
    method: Method,
    route: Option<MatchedPath>,
    origin: Option<HeaderValue>,
    /// The caller's trace, if it has one.
    traceparent: Option<HeaderValue>,
    request_id: RequestId,
}

impl About {
    /// The matched path: never the path itself, which would give a series to every id.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_ref()?.to_str().ok()
    }
}

fn traceparent(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(&TRACEPARENT)?;
    (value.len() == TRACEPARENT_CHARS).then(|| value.clone())
}

/// The caller's request id if it is short and visible, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let taken = headers.get(&X_REQUEST_ID).filter(|value| {
        (1..=MAX_REQUEST_ID_CHARS).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    if let Some(value) = taken {
        return value.clone();
    }
    let mut text = [0; uuid::fmt::Simple::LENGTH];
    let text = clock::new_uuid().as_simple().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// What is logged while the request is worked on stands in this span. Reads are spans of level
/// debug, so that the default filter costs them nothing.
fn span(about: &About) -> tracing::Span {
    macro_rules! request_span {
        ($level:ident) => {
            tracing::span!(
                tracing::Level::$level,
                "request",
                method = %about.method,
                route = about.route(),
                request.id = about.request_id.as_str(),
                traceparent = about.traceparent(),
            )
        };
    }
    if about.method.is_safe() {
        request_span!(DEBUG)
    } else {
        request_span!(INFO)
    }
}

pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "panic: {}",
        text.unwrap_or_else(|| "of unknown kind".to_owned())
    )
}

fn finish(shared: &Shared, about: &About, started: Instant, mut response: Response) -> Response {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let error = is_error
        .then(|| write_error(about, &mut response))
        .flatten();
    let latency = started.elapsed();
    let status = response.status();
    contain_panic(|| {
        if let Some(error) = &error {
            log_failure(about, error);
        }
        shared
            .metrics
            .record(&about.method, about.route(), status, latency);
        log(about, status, latency);
    });
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID.clone(), about.request_id.0.clone());
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if is_html(headers) {
        add_page_headers(about.route(), headers);
    }
    shared.origins.mark(headers, about.origin.as_ref());
    response
}

/// Keeps a request's record: its line in the log and its metrics. The answer stands by then, and what
/// it tells of may be committed, so a panic costs no more than the record. Its hook has printed it.
fn contain_panic(record: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(record)).is_ok() {
        return;
    }
    // The metrics may be what panics; then there is no place left to tell it.
    let _ = catch_unwind(|| {
        metrics::counter!("faktor_http_panics_total", "part" => "record").increment(1);
    });
}

/// Writes the problem a handler left, and turns the router's own empty 405 into one.
fn write_error(about: &About, response: &mut Response) -> Option<ApiError> {
    let left = response.extensions_mut().remove::<ApiError>();
    let error = match left {
        Some(error) => error,
        None if response.status() == StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this route does not take this method; the header Allow names those it takes",
        ),
        None => return None,
    };
    error.render(response, about.request_id.as_str());
    Some(error)
}

/// What went wrong on our side, which the answer does not say.
fn log_failure(about: &About, error: &ApiError) {
    if error.status().is_server_error() {
        tracing::error!(
            request.id = about.request_id.as_str(),
            method = %about.method,
            route = about.route(),
            status = error.status().as_u16(),
            code = error.code(),
            "a request failed: {}",
            error.cause().unwrap_or(error.detail())
        );
    }
}

/// One line for each request, outside its span: as JSON, a span's fields are read and written anew
/// for each line in it, and once more when a field is added.
fn log(about: &About, status: StatusCode, latency: Duration) {
    macro_rules! answered {
        ($level:ident) => {
            tracing::event!(
                tracing::Level::$level,
                method = %about.method,
                route = about.route(),
                request.id = about.request_id.as_str(),
                traceparent = about.traceparent(),
                status = status.as_u16(),
                latency_ms = latency.as_secs_f64() * 1_000.0,
                "request answered"
            )
        };
    }
    if about.method.is_safe() {
        answered!(DEBUG);
    } else {
        answered!(INFO);
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// A page loads nothing from elsewhere, runs no script and shows in no frame.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; \
                           form-action 'self' https:; base-uri 'none'; frame-ancestors 'none'";
/// The documentation page runs its own script and asks its own server.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                           base-uri 'none'; frame-ancestors 'none'";

fn add_page_headers(route: &str, headers: &mut HeaderMap) {
    let policy = if route.starts_with("/docs") {
        DOCS_POLICY
    } else {
        PAGE_POLICY
    };
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(policy));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // The address of a customer's page is a secret: no other site may learn it.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
}

#[cfg(test)]
mod tests {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

    use super::*;

    #[test]
    fn a_request_id_is_taken_when_short_and_visible_else_made() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID.clone(), HeaderValue::from_static("abc-123"));
        assert_eq!(request_id(&headers), "abc-123");
        for bad in [
            String::new(),
            "a b".to_owned(),
            "x".repeat(129),
            "é".to_owned(),
        ] {
            headers.insert(
                X_REQUEST_ID.clone(),
                HeaderValue::from_bytes(bad.as_bytes()).unwrap(),
            );
            let made = request_id(&headers);
            assert_eq!(made.len(), 32, "{bad}");
        }
    }

    /// A router with one route and this layer, asked once.
    async fn ask<H, T>(handler: H, time_limit: Duration) -> Response
    where
        H: axum::handler::Handler<T, ()>,
        T: 'static,
    {
        ask_until(handler, time_limit, CancellationToken::new()).await
    }

    async fn ask_until<H, T>(
        handler: H,
        time_limit: Duration,
        cut_off: CancellationToken,
    ) -> Response
    where
        H: axum::handler::Handler<T, ()>,
        T: 'static,
    {
        let layer = EdgeLayer::new(time_limit, cut_off, &[]);
        let router = axum::Router::new()
            .route("/{id}", axum::routing::get(handler))
            .layer(layer);
        let request = Request::get("/secret-7")
            .body(axum::body::Body::empty())
            .unwrap();
        tower::ServiceExt::oneshot(router, request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_panic_costs_one_request_and_shows_nothing() {
        async fn crash() -> Response {
            panic!("the secret 4711");
        }
        let response = ask(crash, Duration::from_secs(10)).await;
        assert_eq!(response.status(), 500);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let id = response.headers()[&X_REQUEST_ID]
            .to_str()
            .unwrap()
            .to_owned();
        let text = text(response).await;
        assert!(text.contains(&id) && !text.contains("4711"), "{text}");
    }

    /// A log that panics at each line.
    fn panicking_log() -> impl tracing::Subscriber + Send + Sync {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(|| -> std::io::Sink { panic!("the log is broken") })
            .finish()
    }

    /// Metrics that panic when one is looked up.
    struct PanickingMetrics;

    impl metrics::Recorder for PanickingMetrics {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            panic!("the metrics are broken")
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            panic!("the metrics are broken")
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            panic!("the metrics are broken")
        }
    }

    #[tokio::test]
    async fn a_panic_of_the_log_costs_no_answer_and_is_counted() {
        async fn fail() -> Response {
            ApiError::internal("the cause".to_owned()).into_response()
        }
        let _logging = tracing::subscriber::set_default(panicking_log());
        // A line that another test's thread is the first to write, where there is no log, stays silent
        // in this one too, until all lines are judged again.
        ask(|| async { "ok" }, Duration::from_secs(10)).await;
        ask(fail, Duration::from_secs(10)).await;
        tracing::callsite::rebuild_interest_cache();
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _recording = metrics::set_default_local_recorder(&recorder);

        let response = ask(|| async { "ok" }, Duration::from_secs(10)).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key(&X_REQUEST_ID));
        assert_eq!(text(response).await, "ok");
        let response = ask(fail, Duration::from_secs(10)).await;
        assert_eq!(response.status(), 500);
        assert!(text(response).await.contains("\"request_id\""));

        let counted = "faktor_http_panics_total{part=\"record\"} 2";
        let text = handle.render();
        assert!(text.contains(counted), "{text}");
    }

    #[tokio::test]
    async fn a_panic_of_the_metrics_costs_no_answer() {
        let _recording = metrics::set_default_local_recorder(&PanickingMetrics);
        let response = ask(|| async { "ok" }, Duration::from_secs(10)).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key(&X_REQUEST_ID));
        assert_eq!(text(response).await, "ok");
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_503_with_retry_after() {
        let response = ask(std::future::pending::<Response>, Duration::ZERO).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert!(text(response).await.contains("\"timed_out\""));
    }

    #[tokio::test]
    async fn a_request_that_is_cut_off_by_the_stop_is_503_with_retry_after() {
        let cut_off = CancellationToken::new();
        cut_off.cancel();
        let hour = Duration::from_hours(1);
        let response = ask_until(std::future::pending::<Response>, hour, cut_off.clone()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert!(text(response).await.contains("\"stopping\""));
        // What is there is given.
        let response = ask_until(|| async { "ok" }, hour, cut_off).await;
        assert_eq!(response.status(), 200);
    }

    #[tokio::test]
    async fn metrics_know_routes_and_never_paths() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _recording = metrics::set_default_local_recorder(&recorder);
        ask(|| async { "ok" }, Duration::from_secs(10)).await;
        let text = handle.render();
        let counted = "faktor_http_requests_total{method=\"GET\",route=\"/{id}\",status=\"200\"} 1";
        assert!(text.contains(counted), "{text}");
        assert!(text.contains("faktor_http_request_seconds"), "{text}");
        assert!(!text.contains("secret-7"), "{text}");
    }

    #[tokio::test]
    async fn a_page_loads_nothing_from_elsewhere_and_tells_no_one_its_address() {
        let page = || async { axum::response::Html("<p>") };
        let response = ask(page, Duration::from_secs(10)).await;
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], PAGE_POLICY);
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
