//! [`Sink`]: log lines on their way to stderr.
//!
//! A reader of stderr that stalls (a full pipe, a stuck terminal) must not stall the proxy. Lines are put into a
//! buffer, and one thread writes it out, many lines at a time under load. Where the reader is so slow that the
//! buffer is full, lines are dropped and counted, and the count is logged when there is room again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many bytes may wait.
const ROOM: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for a slow reader.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Takes whole lines.
#[derive(Debug, Default)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// There is something to write, or the end has come.
    filled: Condvar,
    /// All was written after the end had come.
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    closing: bool,
    done: bool,
}

impl Sink {
    /// A sink whose thread writes to `output`. Where no thread can be had, nothing is logged: the process is at
    /// its end then anyway.
    pub(super) fn start(output: impl Write + Send + 'static) -> Arc<Self> {
        let sink = Arc::new(Self::default());
        let writer = sink.clone();
        let spawned = std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_out(output));
        if spawned.is_err() {
            sink.lock().done = true;
        }
        sink
    }

    /// What an event's line is written to.
    pub(super) fn handle(self: &Arc<Self>) -> Handle {
        Handle { sink: self.clone() }
    }

    /// Writes what waits, for two seconds at most.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.filled.notify_one();
        let _ = self
            .finished
            .wait_timeout_while(state, LAST_WORDS, |state| !state.done)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn write_out(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let dropped;
            {
                let idle = |state: &mut State| state.waiting.is_empty() && !state.closing;
                let mut state = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
                if state.waiting.is_empty() {
                    state.done = true;
                    self.finished.notify_all();
                    return;
                }
                batch.clear();
                std::mem::swap(&mut batch, &mut state.waiting);
                dropped = std::mem::take(&mut state.dropped);
            }
            // Nobody is left to be told that stderr is gone.
            let _ = output.write_all(&batch);
            let _ = output.flush();
            // A burst's buffer is not kept for good.
            batch.shrink_to(64 * 1024);
            if dropped > 0 {
                tracing::warn!(lines = dropped, "log lines were dropped: stderr is read too slowly");
            }
        }
    }

    fn put(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        let wake = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that takes one line at a call.
#[derive(Debug)]
pub(super) struct Handle {
    sink: Arc<Sink>,
}

impl Write for Handle {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.sink.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes when it is let: each write takes one permit.
    struct Slow {
        permits: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.permits.recv();
            self.written.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_stalls_nobody_and_lines_stay_whole() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::start(Slow { permits, written: written.clone() });
        let line = [b'x'; 1023];
        let line = [&line[..], b"\n"].concat();
        // Twice what fits: returns although nothing is read.
        for _ in 0..2 * ROOM / line.len() {
            sink.handle().write_all(&line).expect("never fails");
        }
        assert!(sink.lock().dropped > 0);
        drop(permit);
        sink.finish();
        let written = written.lock().expect("unpoisoned");
        assert!(written.len() >= ROOM && written.len() < 2 * ROOM, "{}", written.len());
        assert!(written.split_inclusive(|b| *b == b'\n').all(|l| l == line));
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::start(Slow { permits, written: written.clone() });
        drop(permit);
        sink.handle().write_all(b"last\n").expect("never fails");
        sink.finish();
        assert_eq!(&written.lock().expect("unpoisoned")[..], b"last\n");
    }
}
