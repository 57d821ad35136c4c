//! One node: a real `faktor serve` in a process of its own.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// How long a start, or an orderly end, may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Of a failed test's logs, this much is shown.
const TAIL_BYTES: u64 = 6_000;

/// A node's place: it keeps its name and its log over all its starts.
pub(crate) struct Node {
    pub(crate) name: String,
    environment: Vec<(String, String)>,
    log: PathBuf,
    process: Option<Child>,
}

impl Node {
    pub(crate) fn new(name: String, directory: &Path, environment: Vec<(String, String)>) -> Self {
        let log = directory.join(format!("{name}.log"));
        Self {
            name,
            environment,
            log,
            process: None,
        }
    }

    /// A setting for the next start.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| known != key);
        self.environment.push((key.to_owned(), value.into()));
    }

    /// Starts the process, which is not ready yet; where in the log its story begins.
    pub(crate) fn launch(&mut self) -> u64 {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log");
        let begin = log.metadata().expect("its length").len();
        let mut command = Command::new(binary());
        command
            .arg("serve")
            .current_dir(self.log.parent().expect("a directory"))
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().expect("the binary starts"));
        begin
    }

    /// Runs another command of the binary with this node's settings; what it says.
    pub(crate) async fn command(&self, words: &[&str]) -> String {
        let mut command = Command::new(binary());
        command
            .args(words)
            .current_dir(self.log.parent().expect("a directory"))
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        let output = ended.expect("a run").expect("the binary starts");
        let [said, complained] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{words:?}: {said}{complained}");
        said
    }

    /// Waits until the log says where the node listens.
    pub(crate) async fn listening(&mut self, begin: u64) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = self.log_from(begin).lines().find_map(address_in) {
                return address;
            }
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait().expect("a status")
            {
                self.process = None;
                panic!("{} ended with {status}:\n{}", self.name, self.tail());
            }
            assert!(
                Instant::now() < deadline,
                "{} did not start in time:\n{}",
                self.name,
                self.tail()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// No farewell. The process is gone when this returns.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("a running node");
        let pid = Pid::from_child(process);
        kill_process(pid, signal).expect("it is there to be signalled");
    }

    /// Waits for the end that SIGTERM began.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let process = self.process.as_mut().expect("a running node");
            if let Some(status) = process.try_wait().expect("a status") {
                self.process = None;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end in time:\n{}",
                self.name,
                self.tail()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let length = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        self.log_from(length.saturating_sub(TAIL_BYTES))
    }

    pub(crate) fn log_from(&self, begin: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut log) = File::open(&self.log)
            && log.seek(SeekFrom::Start(begin)).is_ok()
        {
            let _ = log.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The binary under test: cargo's, or the one in `FAKTOR_CHAOS_BINARY` (such as an optimized one).
fn binary() -> PathBuf {
    let named = std::env::var_os("FAKTOR_CHAOS_BINARY").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_faktor").into());
    // Nodes run in a directory of their own.
    std::path::absolute(binary).expect("a path")
}

/// The address in the line that says where the node listens for clients.
fn address_in(line: &str) -> Option<String> {
    const SAYS: &str = "listening on http://";
    let (_, rest) = line.split_once(SAYS)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')));
    Some(format!("http://{}", &rest[..end.unwrap_or(rest.len())]))
}
