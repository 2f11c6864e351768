//! Lines of the access log, on their way from the workers to the thread that writes them.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

/// Bytes that may wait of a worker; further lines are dropped and counted, so that a full disk stops nobody.
const ROOM: usize = 4 * 1024 * 1024;
/// So much is worth a write by itself. What is kept of a larger buffer, too.
const BATCH: usize = 64 * 1024;

/// Where lines go. Each clone, one a worker, has a buffer of its own, so that no worker writes to what another reads.
#[derive(Debug)]
pub struct AccessLog {
    own: Buffer,
    all: Buffers,
    /// A token is there, or the writer is awake, whenever something waits.
    wake: SyncSender<()>,
    readable: bool,
    dropped: IntCounter,
}

/// The writing end.
#[derive(Debug)]
pub struct AccessSink {
    all: Buffers,
    woken: Receiver<()>,
}

/// Lines, one behind the other: no allocation for each, and few places in the caches.
type Buffer = Arc<Mutex<Vec<u8>>>;
type Buffers = Arc<Mutex<Vec<Buffer>>>;

impl AccessLog {
    /// A log, readable for people or as JSON lines; `dropped` counts the lines that were not written.
    #[must_use]
    pub fn new(readable: bool, dropped: IntCounter) -> (Self, AccessSink) {
        let all = Buffers::default();
        let (wake, woken) = sync_channel(1);
        let own = added(&all);
        (Self { own, all: Arc::clone(&all), wake, readable, dropped }, AccessSink { all, woken })
    }

    /// Whether lines are for people, not JSON.
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Has a whole line written behind the others.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = lock(&self.own);
        let before = waiting.len();
        write(&mut waiting);
        if waiting.len() > ROOM {
            waiting.truncate(before);
            self.dropped.inc();
            return;
        }
        drop(waiting);
        if before == 0 {
            // A token that is there already does as well; without a writer there is nobody to wake.
            let _ = self.wake.try_send(());
        }
    }
}

impl Clone for AccessLog {
    fn clone(&self) -> Self {
        let Self { all, wake, readable, dropped, .. } = self;
        Self {
            own: added(all),
            all: Arc::clone(all),
            wake: wake.clone(),
            readable: *readable,
            dropped: dropped.clone(),
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
                let written = self.write_once(&mut batch, &mut writer);
                match written {
                    0 => break,
                    1..BATCH => std::thread::sleep(rest),
                    BATCH.. => {}
                }
            }
        }
    }

    /// Writes what every worker has; how many bytes that was.
    fn write_once(&self, batch: &mut Vec<u8>, writer: &mut impl Write) -> usize {
        let mut written = 0;
        for buffer in self.buffers() {
            std::mem::swap(batch, &mut lock(&buffer));
            if !batch.is_empty() {
                // Nobody is left to tell where the log itself cannot be written.
                let _unwritten = writer.write_all(batch).and_then(|()| writer.flush());
                written += batch.len();
                batch.clear();
                batch.shrink_to(BATCH);
            }
        }
        written
    }

    /// All, but for those that nobody will write to again.
    fn buffers(&self) -> Vec<Buffer> {
        let mut all = lock(&self.all);
        all.retain(|buffer| Arc::strong_count(buffer) > 1 || !lock(buffer).is_empty());
        all.clone()
    }
}

fn added(all: &Buffers) -> Buffer {
    let own = Buffer::default();
    lock(all).push(Arc::clone(&own));
    own
}

/// Whatever a thread that panicked left is written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn put(log: &AccessLog, line: &[u8]) {
        log.put(|out| out.extend_from_slice(line));
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
        let next = || written.recv_timeout(Duration::from_secs(20)).expect("a write");
        put(&log, b"first\n");
        assert_eq!(next(), b"first\n");
        put(&log, b"second\n");
        put(&log, b"third\n");
        // Of a worker that is gone by the time that its line is written.
        put(&log.clone(), b"fourth\n");
        permit.send(()).expect("the writer waits");
        for expected in ["second\nthird\n", "fourth\n"] {
            assert_eq!(next(), expected.as_bytes());
            permit.send(()).expect("the writer waits");
        }
        put(&log, b"last\n");
        drop(log);
        assert_eq!(next(), b"last\n");
        permit.send(()).expect("the writer waits");
        writer.join().expect("it ends with the last log");
    }

    #[test]
    fn what_a_worker_that_is_gone_had_is_not_kept() {
        let (log, sink) = AccessLog::new(false, dropped());
        for _ in 0..3 {
            put(&log.clone(), b"line\n");
        }
        let mut out = Vec::new();
        assert_eq!((sink.buffers().len(), sink.write_once(&mut Vec::new(), &mut out)), (4, 15));
        assert_eq!(sink.buffers().len(), 1);
        put(&log, b"more\n");
        assert_eq!(sink.write_once(&mut Vec::new(), &mut out), 5);
    }

    #[test]
    fn whom_nobody_reads_drops_whole_lines_and_counts_them() {
        let (log, sink) = AccessLog::new(false, dropped());
        let line = [&[b'x'; 1022][..], b"\n"].concat();
        let fit = ROOM / line.len();
        for _ in 0..fit + 3 {
            put(&log, &line);
        }
        assert_eq!(log.dropped.get(), 3);
        drop(log);
        let mut written = Vec::new();
        sink.write_to(&mut written, Duration::ZERO);
        assert_eq!(written.len(), fit * line.len());
    }
}
