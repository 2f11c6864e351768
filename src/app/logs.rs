//! The thread that writes the access log.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::proxy::AccessSink;

/// How long lines may wait for others: not seen by people, and hundreds of lines under load.
const REST: Duration = Duration::from_millis(20);

/// Writes lines to stderr until all who could send some are gone.
#[derive(Debug)]
pub(super) struct Writer(JoinHandle<()>);

impl Writer {
    pub(super) fn start(sink: AccessSink) -> io::Result<Self> {
        let run = move || sink.write_to(io::stderr(), REST);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(run).map(Self)
    }

    /// Waits for the last line.
    pub(super) fn finish(self) {
        // It can't be told anywhere that the log could not be written.
        let _panicked = self.0.join();
    }
}
