//! The accept loop of one worker's socket on one address.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::context::Context;
use super::peers::Taken;
use super::{Listener, connection};

/// How long to wait after a failure that only time mends, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until told to stop, or until `stop`'s other end is gone. What the kernel has queued for
/// this socket by then is still taken, so that a listener that closes loses nobody.
pub(super) async fn accept(
    context: Rc<Context>,
    listener: Arc<Listener>,
    socket: TcpListener,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                failed(&context, &listener, &error).await;
                continue;
            }
        };
        // The permit last: a loop that waits for a connection with a permit in its hand would keep it from the
        // loops that have one. At the limit one connection waits here, and the others in the kernel's queue.
        if context.shared.permits.connections.available_permits() == 0 && context.may_complain() {
            tracing::warn!(
                address = %listener.bound,
                "as many client connections are open as [limits] connections, the open files limit or the memory limit allows: others wait"
            );
        }
        let taken = Taken { listener: Arc::clone(&listener), stream, peer, permit: None };
        tokio::select! {
            biased;
            permit = Arc::clone(&context.shared.permits.connections).acquire_owned() => {
                serve(&context, Taken { permit: permit.ok(), ..taken });
            }
            _ = &mut stop => {
                // It was taken, so it is served: those before it are about to be sent away.
                spawn(&context, taken);
                break;
            }
        }
    }
    let mut task = Task::from_waker(Waker::noop());
    while let Ok(permit) = Arc::clone(&context.shared.permits.connections).try_acquire_owned()
        && let Poll::Ready(Ok((stream, peer))) = socket.poll_accept(&mut task)
    {
        spawn(&context, Taken { listener: Arc::clone(&listener), stream, peer, permit: Some(permit) });
    }
}

/// Serves a connection here, or where there is more room.
fn serve(context: &Rc<Context>, taken: Taken<TcpStream>) {
    let Some(other) = context.shared.peers.with_room(context.index) else { return spawn(context, taken) };
    // Where it fails, the connection is gone.
    let Ok(taken) = taken.try_map(TcpStream::into_std) else { return };
    match other.give(taken) {
        Ok(()) => context.metrics.given.inc(),
        Err(taken) => {
            context.metrics.load.inc();
            take(context, taken);
        }
    }
}

/// Serves a connection that another worker took, and that is counted already.
pub(super) fn take(context: &Rc<Context>, taken: Taken) {
    let peer = taken.peer;
    match taken.try_map(TcpStream::from_std) {
        Ok(taken) => run(context, taken),
        Err(error) => {
            context.metrics.load.dec();
            tracing::error!(%peer, %error, "a connection that another worker took cannot be served");
        }
    }
}

fn spawn(context: &Rc<Context>, taken: Taken<TcpStream>) {
    context.metrics.load.inc();
    run(context, taken);
}

/// Runs a connection that counts towards the worker's load.
fn run(context: &Rc<Context>, taken: Taken<TcpStream>) {
    let Taken { listener, stream, peer, permit } = taken;
    let context = Rc::clone(context);
    let drain = context.drain.watch();
    context.metrics.accepted.inc();
    context.metrics.open.inc();
    tokio::task::spawn_local(async move {
        let _open = Open(&context);
        connection::serve(&context, &listener, stream, peer, drain).await;
        drop(permit);
    });
}

/// Counts the connection as closed, also where its task panics.
struct Open<'a>(&'a Context);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.open.dec();
        self.0.metrics.load.dec();
    }
}

async fn failed(context: &Context, listener: &Listener, error: &io::Error) {
    // These are about the one connection that was to be taken, not about us.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    context.metrics.accept_errors.inc();
    if context.may_complain() {
        tracing::error!(address = %listener.bound, %error, "cannot take connections; trying on (raise the open files limit if it says so)");
    }
    tokio::time::sleep(PAUSE).await;
}
