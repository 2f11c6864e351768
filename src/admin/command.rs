//! The inbox: what the admin socket asks of the app, and how the app answers.
//!
//! The app holds the one [`Inbox`] and serves it between signals and file changes, so that two reloads
//! never run at once; whoever asks holds a [`Commands`].

use tokio::sync::{mpsc, oneshot};

use super::backends::{DutyRequest, Told};
use super::certs::{Refused, Reply, Request};
use super::view::{ReloadView, StatusView};

/// How many commands may wait; a further one waits to get in.
const WAITING: usize = 16;

/// One thing asked of the app. An answer that nobody waits for any more is dropped.
#[derive(Debug)]
pub enum Command {
    /// How is it?
    Status(oneshot::Sender<StatusView>),
    /// Read the config again and put it in force.
    Reload(oneshot::Sender<ReloadView>),
    /// Serve the certificate that is held back under this id; the error says why that cannot be.
    Force(String, oneshot::Sender<Result<(), String>>),
    /// Give endpoints something else to do.
    Backends(DutyRequest, oneshot::Sender<Result<Told, Refused>>),
    /// Something about certificates.
    Certs(Box<Request>, oneshot::Sender<Result<Reply, Refused>>),
}

/// The app's end.
pub type Inbox = mpsc::Receiver<Command>;

/// The asking end. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Commands {
    sender: mpsc::Sender<Command>,
}

/// The app takes no commands any more: it is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("doorward is stopping")]
pub struct Stopping;

/// A new inbox with its asking end.
#[must_use]
pub fn channel() -> (Commands, Inbox) {
    let (sender, inbox) = mpsc::channel(WAITING);
    (Commands { sender }, inbox)
}

impl Commands {
    /// Asks how things are.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn status(&self) -> Result<StatusView, Stopping> {
        self.ask(Command::Status).await
    }

    /// Asks for a reload and waits for its end.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn reload(&self) -> Result<ReloadView, Stopping> {
        self.ask(Command::Reload).await
    }

    /// Asks that the certificate which is held back under this id be served; the inner error says why it is not.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn force(&self, id: String) -> Result<Result<(), String>, Stopping> {
        self.ask(|answer| Command::Force(id, answer)).await
    }

    /// Gives endpoints something else to do; the inner error says why not.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn backends(&self, request: DutyRequest) -> Result<Result<Told, Refused>, Stopping> {
        self.ask(|answer| Command::Backends(request, answer)).await
    }

    /// Asks something about certificates; the inner error says why nothing was done.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn certs(&self, request: Request) -> Result<Result<Reply, Refused>, Stopping> {
        self.ask(|answer| Command::Certs(Box::new(request), answer)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(command(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }
}
