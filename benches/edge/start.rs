//! How soon a node is ready, and what it holds while nothing is asked of it.

use std::time::Duration;

use tokio::time::Instant;

use super::Figure;
use super::measure::median;
use super::server::{FIRST_USER, Server};

const RUNS: usize = 11;
/// After this, starting is over.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) async fn start() -> Vec<Figure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = directory.path().join("data");
    let first = Server::faktor(&data, FIRST_USER);
    first.ready().await;
    first.stop();
    let mut times = Vec::new();
    let mut fresh_times = Vec::new();
    let mut resident = Vec::new();
    for run in 0..RUNS {
        let begun = Instant::now();
        let server = Server::faktor(&data, &[]);
        server.ready().await;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if run < 3 {
            tokio::time::sleep(SETTLE).await;
            resident.push(server.resident_kib() / 1024.0);
        }
        server.stop();
        let fresh = directory.path().join(format!("fresh-{run}"));
        let begun = Instant::now();
        let server = Server::faktor(&fresh, &[]);
        server.ready().await;
        fresh_times.push(begun.elapsed().as_secs_f64() * 1e3);
        server.stop();
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    vec![
        Figure::at_most(
            "start: ms until ready",
            50.0,
            median(times),
            format!(
                "median of {RUNS}, slowest {slowest:.0}; with an empty data directory {:.0}",
                median(fresh_times)
            ),
        ),
        Figure::at_most(
            "idle: MiB resident",
            25.0,
            median(resident),
            "one second after it was ready".to_owned(),
        ),
    ]
}
