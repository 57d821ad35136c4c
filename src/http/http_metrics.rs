//! `faktor_http_requests_total` and `faktor_http_request_seconds`, with their handles kept: looking
//! them up by their labels would cost every request several allocations.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use dashmap::DashMap;
use metrics::{Counter, Histogram};

/// Names of methods; any other is counted as `OTHER`, so that callers can't make up series.
const METHODS: [&str; 8] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OTHER",
];

fn method_index(method: &Method) -> usize {
    METHODS
        .iter()
        .position(|name| *name == method.as_str())
        .unwrap_or(METHODS.len() - 1)
}

struct RouteMetrics {
    seconds: Histogram,
    counts: DashMap<(usize, u16), Counter>,
}

/// Counts requests by matched path.
#[derive(Default)]
pub(super) struct HttpMetrics {
    routes: DashMap<Box<str>, RouteMetrics>,
}

impl HttpMetrics {
    pub(super) fn record(
        &self,
        method: &Method,
        route: &str,
        status: StatusCode,
        latency: Duration,
    ) {
        if let Some(known) = self.routes.get(route) {
            known.record(method, route, status, latency);
            return;
        }
        let label = route.to_owned();
        let seconds = metrics::histogram!("faktor_http_request_seconds", "route" => label);
        let entry = self.routes.entry(route.into()).or_insert(RouteMetrics {
            seconds,
            counts: DashMap::new(),
        });
        entry.record(method, route, status, latency);
    }
}

impl RouteMetrics {
    fn record(&self, method: &Method, route: &str, status: StatusCode, latency: Duration) {
        self.seconds.record(latency.as_secs_f64());
        let key = (method_index(method), status.as_u16());
        if let Some(count) = self.counts.get(&key) {
            count.increment(1);
            return;
        }
        let count = metrics::counter!(
            "faktor_http_requests_total",
            "method" => METHODS[key.0],
            "route" => route.to_owned(),
            "status" => key.1.to_string(),
        );
        count.increment(1);
        self.counts.insert(key, count);
    }
}
