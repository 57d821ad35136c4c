//! What the node tells of itself: its log and its metrics.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::lossy::Lossy;
use crate::config::{self, LogFormat};

mod lossy;

/// Upper bounds of the histograms whose names end in `_seconds`: from a quick read to a request
/// that runs into its time limit.
const SECONDS_BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
/// Upper bounds of the histograms whose names end in `_size`: powers of two up to a full batch.
const SIZE_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// How often samples are moved into their buckets when nobody asks for the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why the log can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.filter is not a tracing filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log was set up before, by something else: {0}")]
    Taken(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends the log to standard error, in the configured format: human lines with colours on a
/// terminal, JSON elsewhere. A line that can't be written is lost and counted, and nothing else fails
/// for it. The first call counts; later ones change nothing.
pub fn log(config: &config::Log) -> Result<(), LogError> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    let is_terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(config, is_terminal, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    DONE.get_or_init(|| ());
    Ok(())
}

fn subscriber<W>(
    config: &config::Log,
    is_terminal: bool,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, LogError>
where
    W: Write + 'static,
{
    // Each actor of the library opens a span for life, which would cost every live invoice. A filter
    // that names the library has its way.
    let filter = EnvFilter::builder().parse(format!(
        "ractor=warn,ractor_cluster=error,{}",
        config.filter
    ))?;
    let is_human = match config.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Lossy::new(writer()))
        // The library would print a failure to write to standard error: where that is what failed, it panics.
        .log_internal_errors(false);
    Ok(if is_human {
        // Colours would be noise in a file.
        Box::new(builder.with_ansi(is_terminal).finish())
    } else {
        // The request's and invoice's ids stand in the spans, so they belong to every line.
        Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(true)
                .finish(),
        )
    })
}

/// The metrics of this process, which are collected from the first call on. There is one recorder
/// for all nodes of a process, as there may be in tests.
pub fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_ok() {
            describe();
        } else {
            tracing::warn!("metrics are collected by something else; ours stay empty");
        }
        handle
    });
    handle.clone()
}

/// Keeps the histograms small while nobody asks for them; ends when the token is cancelled.
pub async fn keep_up(metrics: PrometheusHandle, cancel: CancellationToken) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while cancel.run_until_cancelled(interval.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let buckets: [(&str, &[f64]); 2] = [("_seconds", &SECONDS_BUCKETS), ("_size", &SIZE_BUCKETS)];
    buckets
        .into_iter()
        .fold(PrometheusBuilder::new(), |builder, (suffix, bounds)| {
            // It refuses an empty list only, and neither is.
            builder
                .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), bounds)
                .unwrap_or_else(|_| PrometheusBuilder::new())
        })
}

/// The texts beside the metrics' names. One line for each metric of the program.
fn describe() {
    describe_counter!(
        "faktor_log_lines_lost_total",
        "Lines of the log that could not be written, as to a full disk."
    );
    describe_counter!(
        "faktor_http_requests_total",
        "Requests answered, by method, route and status."
    );
    describe_histogram!(
        "faktor_http_request_seconds",
        Unit::Seconds,
        "Time from a request's head to its answer's, by route."
    );
    describe_gauge!("faktor_http_connections", "Connections that are open.");
    describe_counter!(
        "faktor_http_panics_total",
        "Panics outside of handlers, by the part each cost: connection, stream (of HTTP/2), record (a request's \
         line in the log and its metrics)."
    );
    describe_gauge!("faktor_invoices_live", "Invoices whose actor is in memory.");
    describe_counter!(
        "faktor_invoice_crashes_total",
        "Invoice actors that crashed; each cost its one request."
    );
    describe_counter!(
        "faktor_restarts_total",
        "Parts of the supervision tree that were restarted, by part."
    );
    describe_gauge!(
        "faktor_pool_queue_len",
        "Jobs waiting for a worker, by pool."
    );
    describe_counter!(
        "faktor_effects_total",
        "Attempts of side effects that ended, by kind and state (completed, failed, parked)."
    );
    describe_gauge!(
        "faktor_cluster_nodes",
        "Nodes of the cluster that are live."
    );
    describe_gauge!(
        "faktor_cluster_links",
        "Links to other nodes that are up; one less than the nodes when all is well."
    );
    describe_gauge!(
        "faktor_cluster_shards_owned",
        "Shards of 256 that this node owns."
    );
    describe_counter!(
        "faktor_cluster_shards_total",
        "Shards that changed hands at this node, by change: granted, handed_over, lost."
    );
    describe_counter!(
        "faktor_cluster_asked_again_total",
        "Times that an invoice's owner had to be asked once more."
    );
    describe_counter!(
        "faktor_cluster_feed_news_total",
        "Times that another node, where somebody waits for it, was told of something new in the feed."
    );
    describe_counter!(
        "faktor_cluster_unreachable_total",
        "Requests whose invoice's owner did not answer in time."
    );
    describe_gauge!(
        "faktor_store_queue_len",
        "Writes waiting for the next transaction."
    );
    describe_histogram!(
        "faktor_store_batch_size",
        "Commands written in one transaction."
    );
    describe_histogram!(
        "faktor_store_commit_seconds",
        Unit::Seconds,
        "Time of one transaction, its sync to disk included."
    );
    describe_counter!(
        "faktor_auth_cache_total",
        "Look-ups of checked tokens and keys, by layer (memory, redis) and result (hit, miss)."
    );
    describe_histogram!(
        "faktor_redis_seconds",
        Unit::Seconds,
        "Time of one command to Redis, by command."
    );
    describe_counter!(
        "faktor_redis_errors_total",
        "Commands to Redis that failed or took too long, by command."
    );
    describe_counter!("faktor_outbox_published_total", "Public events told of.");
    describe_counter!(
        "faktor_oidc_key_fetches_total",
        "Times the OpenID Connect issuer was asked for its keys, by outcome."
    );
    describe_counter!(
        "faktor_events_published_total",
        "Public events that the message broker took, repeats included."
    );
    describe_counter!(
        "faktor_events_failures_total",
        "Attempts to publish events that failed; each is made again."
    );
    describe_gauge!(
        "faktor_events_waiting",
        "Events read from the feed and not taken by the message broker yet, at most a batch."
    );
    describe_gauge!(
        "faktor_events_buffered",
        "Events in the message broker's client, at most a batch."
    );
    describe_gauge!(
        "faktor_events_lag_seconds",
        Unit::Seconds,
        "How long the oldest event has waited for the message broker; 0 when none does."
    );
    describe_counter!(
        "faktor_inbox_delivered_total",
        "Webhooks that reached their invoice."
    );
    describe_counter!(
        "faktor_inbox_parked_total",
        "Webhooks given up after many attempts."
    );
    describe_counter!(
        "faktor_payments_reconciled_total",
        "Payment events found by asking the provider before their webhook came."
    );
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, filter: &str, is_terminal: bool) -> String {
        let written = Written::default();
        let config = config::Log {
            filter: filter.to_owned(),
            format,
        };
        let writer = written.clone();
        let subscriber = subscriber(&config, is_terminal, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request", request.id = "req_1");
            span.in_scope(|| tracing::info!(invoice.id = "inv_1", "the invoice is paid"));
            tracing::debug!("too much");
        });
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn away_from_a_terminal_a_line_is_json_with_the_ids_of_its_request() {
        for format in [LogFormat::Auto, LogFormat::Json] {
            let line = written(format, "info", false);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["message"], "the invoice is paid");
            assert_eq!(line["invoice.id"], "inv_1");
            assert_eq!(line["spans"][0]["request.id"], "req_1");
        }
    }

    #[test]
    fn on_a_terminal_a_line_is_for_people_and_colours_stay_out_of_files() {
        let (terminal, file) = (
            written(LogFormat::Auto, "info", true),
            written(LogFormat::Human, "info", false),
        );
        assert!(terminal.contains("the invoice is paid") && terminal.contains('\u{1b}'));
        assert!(
            file.contains("request.id=\"req_1\"") && !file.contains('\u{1b}'),
            "{file}"
        );
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost_and_counted_and_the_next_one_is_tried() {
        #[derive(Clone)]
        struct FullAtFirst(Arc<Mutex<usize>>, Written);

        impl Write for FullAtFirst {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let mut tried = self.0.lock().unwrap();
                *tried += 1;
                if *tried < 3 {
                    return Err(std::io::ErrorKind::StorageFull.into());
                }
                self.1.write(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let written = Written::default();
        let config = config::Log {
            filter: "info".to_owned(),
            format: LogFormat::Json,
        };
        let writer = FullAtFirst(Arc::default(), written.clone());
        let subscriber = subscriber(&config, false, move || writer.clone()).unwrap();
        let recorder = builder().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            tracing::subscriber::with_default(subscriber, || {
                for line in ["first", "second", "third"] {
                    tracing::info!(line);
                }
            });
        });
        let text = recorder.handle().render();
        assert!(text.contains("faktor_log_lines_lost_total 2"), "{text}");
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.contains("third"), "{written}");
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        assert!(written(LogFormat::Human, "debug", false).contains("too much"));
        assert_eq!(written(LogFormat::Human, "faktor=warn", false), "");
        let loud = config::Log {
            filter: "faktor=loud".to_owned(),
            format: LogFormat::Auto,
        };
        assert!(log(&loud).is_err());
    }

    #[test]
    fn durations_and_sizes_come_out_in_buckets_and_metrics_with_their_text() {
        // Not the process's own recorder, in which other tests count as well.
        let recorder = builder().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!("faktor_store_commit_seconds").record(0.003);
            metrics::histogram!("faktor_store_batch_size").record(3.0);
            metrics::counter!("faktor_outbox_published_total").increment(1);
        });
        let text = recorder.handle().render();
        for line in [
            "faktor_store_commit_seconds_bucket{le=\"0.005\"} 1",
            "faktor_store_batch_size_bucket{le=\"4\"} 1",
            "faktor_outbox_published_total 1",
            "# HELP faktor_outbox_published_total Public events told of.",
            "# TYPE faktor_store_batch_size histogram",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_metric_of_the_program_is_described_and_no_other() {
        let mut used = metric_names(include_str!("telemetry.rs"));
        used.sort();
        let mut files = vec![std::path::PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src"
        ))];
        let mut found = Vec::new();
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if path.file_name().is_some_and(|name| name != "telemetry.rs") {
                found.extend(metric_names(&String::from_utf8_lossy(
                    &std::fs::read(&path).unwrap(),
                )));
            }
        }
        found.sort();
        found.dedup();
        used.dedup();
        assert_eq!(found, used);
    }

    /// The names behind `counter!(`, `gauge!(` and `histogram!(`, described ones as well.
    fn metric_names(source: &str) -> Vec<String> {
        ["counter!(", "gauge!(", "histogram!("]
            .into_iter()
            .flat_map(|call| source.split(call).skip(1))
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
            .filter(|name| name.starts_with("faktor_"))
            .map(ToOwned::to_owned)
            .collect()
    }

    #[test]
    fn the_recorder_is_installed_once_however_often_it_is_asked_for() {
        metrics().run_upkeep();
        metrics::counter!("test_installed_once").increment(7);
        assert!(metrics().render().contains("test_installed_once 7"));
    }
}
