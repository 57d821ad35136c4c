//! A writer for lines that nobody may fail for.

use std::io::{self, Write};

/// Takes each line whole. One that can't be written, as to a full disk or a pipe whose reader went
/// away, is counted and gone: whoever logs learns nothing of it.
pub(super) struct Lossy<W> {
    inner: W,
}

impl<W: Write> Lossy<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner }
    }
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.inner.write_all(line).is_err() {
            metrics::counter!("faktor_log_lines_lost_total").increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
