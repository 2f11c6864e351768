//! Lines of the access log, on their way from the workers to the thread that writes them.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

/// Bytes that may wait for the writer; further lines are dropped and counted, so that a full disk stops nobody.
const ROOM: usize = 4 * 1024 * 1024;
/// So much is worth a write by itself. What is kept of a larger buffer, too.
const BATCH: usize = 64 * 1024;

/// Where lines go: cheap to clone, one a worker.
#[derive(Clone, Debug)]
pub struct AccessLog {
    waiting: Waiting,
    /// A token is there, or the writer is awake, whenever something waits.
    wake: SyncSender<()>,
    readable: bool,
    dropped: IntCounter,
}

/// The writing end.
#[derive(Debug)]
pub struct AccessSink {
    waiting: Waiting,
    woken: Receiver<()>,
}

/// Lines, one behind the other: no allocation for each, and few places in the caches.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<Vec<u8>>>);

impl AccessLog {
    /// A log, readable for people or as JSON lines; `dropped` counts the lines that were not written.
    #[must_use]
    pub fn new(readable: bool, dropped: IntCounter) -> (Self, AccessSink) {
        let waiting = Waiting::default();
        let (wake, woken) = sync_channel(1);
        (Self { waiting: waiting.clone(), wake, readable, dropped }, AccessSink { waiting, woken })
    }

    /// Whether lines are for people, not JSON.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Puts a whole line behind the others.
    pub(super) fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.len() + line.len() > ROOM {
            self.dropped.inc();
            return;
        }
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(line);
        drop(waiting);
        if is_first {
            // A token that is there already does as well; without a writer there is nobody to wake.
            let _ = self.wake.try_send(());
        }
    }
}

impl AccessSink {
    /// Writes lines until every [`AccessLog`] is gone; runs on a thread of its own. A line is written at once, and those
    /// that come within `rest` after it together: a worker that serves many requests does not wake this thread for each.
    pub fn write_to(self, mut writer: impl Write, rest: Duration) {
        let mut batch = Vec::new();
        while self.woken.recv().is_ok() {
            loop {
                std::mem::swap(&mut batch, &mut *self.waiting.lock());
                if batch.is_empty() {
                    break;
                }
                // Nobody is left to tell where the log itself cannot be written.
                let _unwritten = writer.write_all(&batch).and_then(|()| writer.flush());
                if batch.len() < BATCH {
                    std::thread::sleep(rest);
                }
                batch.clear();
                batch.shrink_to(BATCH);
            }
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Says each write, and takes it when it is let.
    struct Slow {
        writes: SyncSender<Vec<u8>>,
        permits: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.permits.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn dropped() -> IntCounter {
        IntCounter::new("dropped", "Lines.").expect("a counter")
    }

    #[test]
    fn what_comes_during_a_write_is_the_next_one_and_the_last_line_is_written() {
        let (log, sink) = AccessLog::new(false, dropped());
        let (writes, written) = sync_channel(0);
        let (permit, permits) = sync_channel(0);
        let writer = std::thread::spawn(move || sink.write_to(Slow { writes, permits }, Duration::ZERO));
        log.put(b"first\n");
        assert_eq!(written.recv().expect("a write"), b"first\n");
        log.put(b"second\n");
        log.clone().put(b"third\n");
        permit.send(()).expect("the writer waits");
        assert_eq!(written.recv().expect("a write"), b"second\nthird\n");
        permit.send(()).expect("the writer waits");
        log.put(b"last\n");
        drop(log);
        assert_eq!(written.recv().expect("a write"), b"last\n");
        permit.send(()).expect("the writer waits");
        writer.join().expect("it ends with the last log");
    }

    #[test]
    fn whom_nobody_reads_drops_whole_lines_and_counts_them() {
        let (log, sink) = AccessLog::new(false, dropped());
        let line = [&[b'x'; 1022][..], b"\n"].concat();
        let fit = ROOM / line.len();
        for _ in 0..fit + 3 {
            log.put(&line);
        }
        assert_eq!(log.dropped.get(), 3);
        drop(log);
        let mut written = Vec::new();
        sink.write_to(&mut written, Duration::ZERO);
        assert_eq!(written.len(), fit * line.len());
    }
}
