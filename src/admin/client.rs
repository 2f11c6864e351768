//! The command line's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::backends::{DutyRequest, Told};
use super::certs::{self, Reply};
use super::view::{EndpointView, ErrorView, ForceView, ReloadView, StatusView};

/// How long an answer may take. A reload reads every certificate, so it is not short.
const ANSWER: Duration = Duration::from_secs(120);

/// A running doorward, by its admin socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no doorward is running with the admin socket {0}; start one (`doorward run --config FILE`), or name its socket with --socket PATH or its config with --config FILE"
    )]
    NotRunning(PathBuf),
    /// The socket's mode keeps the caller out.
    #[error("no right to use the admin socket {0}; run this as doorward's user or root, or join the socket's group")]
    Denied(PathBuf),
    /// It broke off or does not speak HTTP.
    #[error("the admin socket {socket} gave no sound answer: {reason}")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// doorward says no.
    #[error("doorward answers {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Its reason.
        message: String,
    },
}

impl Client {
    /// For the socket at `socket`; nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether anybody listens at the socket; asks nothing.
    ///
    /// # Errors
    /// [`ClientError`]: [`ClientError::NotRunning`] where nobody does.
    pub async fn reach(&self) -> Result<(), ClientError> {
        self.connect().await.map(drop)
    }

    /// `GET /status`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.ask(Method::GET, "/status", Bytes::new()).await
    }

    /// `POST /reload`, which answers when the reload has ended, well or not.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reload(&self) -> Result<ReloadView, ClientError> {
        self.ask(Method::POST, "/reload", Bytes::new()).await
    }

    /// `POST /force`: has the certificate served that is held back under `id`.
    ///
    /// # Errors
    /// [`ClientError`]; refused where there is nothing held back.
    pub async fn force(&self, id: &str) -> Result<(), ClientError> {
        let asked = ForceView { id: id.to_owned() };
        // A string in a struct: nothing that JSON could not say.
        let body = serde_json::to_vec(&asked).unwrap_or_default();
        let _served: ForceView = self.ask(Method::POST, "/force", body.into()).await?;
        Ok(())
    }

    /// `POST /certs`.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] where nothing was done.
    pub async fn certs(&self, request: &certs::Request) -> Result<Reply, ClientError> {
        // Strings, numbers and switches: nothing that JSON could not say.
        let body = serde_json::to_vec(request).unwrap_or_default();
        self.ask(Method::POST, "/certs", body.into()).await
    }

    /// `GET /backends`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn backends(&self) -> Result<Vec<EndpointView>, ClientError> {
        self.ask(Method::GET, "/backends", Bytes::new()).await
    }

    /// `POST /backends`.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] where nothing was done.
    pub async fn set_duty(&self, request: &DutyRequest) -> Result<Told, ClientError> {
        // Strings: nothing that JSON could not say.
        let body = serde_json::to_vec(request).unwrap_or_default();
        self.ask(Method::POST, "/backends", body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let (status, body) = tokio::time::timeout(ANSWER, self.exchange(method, path, body))
            .await
            .map_err(|_| self.broken(format_args!("none within {} s", ANSWER.as_secs())))??;
        // A refused reload comes with an error status and a view all the same.
        if let Ok(view) = serde_json::from_slice(&body) {
            return Ok(view);
        }
        match serde_json::from_slice::<ErrorView>(&body) {
            Ok(view) => Err(ClientError::Refused { status, message: view.error }),
            Err(error) => Err(self.broken(format_args!(
                "{error}; is the daemon of another version than this one ({})?",
                env!("CARGO_PKG_VERSION")
            ))),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning(self.socket.clone()),
            io::ErrorKind::PermissionDenied => ClientError::Denied(self.socket.clone()),
            _ => self.broken(error),
        })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "doorward")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.broken(error))?.to_bytes();
        connection.abort();
        Ok((status, body))
    }

    fn broken(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{self, AdminSocket};
    use super::super::certs::Refused;
    use super::super::command::{self, Command};
    use super::super::view::{EndpointState, ReloadOutcome, RunState};
    use super::*;

    fn status() -> StatusView {
        StatusView {
            version: "1.2.3".to_owned(),
            pid: 7,
            state: RunState::Ready,
            started: 1,
            uptime: 2,
            config: None,
            last_reload: None,
            after_restart: vec![],
            listeners: vec![],
            workers: 1,
            routes: 2,
            connections: 3,
            certificates: vec![],
            acme: vec![],
            backends: vec![],
            issuers: vec![],
        }
    }

    #[tokio::test]
    async fn status_and_reload_travel_over_the_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = AdminSocket::bind(&folder.path().join("a.sock")).expect("bound");
        let client = Client::new(socket.path());
        let (commands, mut inbox) = command::channel();
        let refused = ReloadView {
            at: 5,
            outcome: ReloadOutcome::Refused,
            changes: vec![],
            faults: vec!["doorward.toml:3:1: unknown key".to_owned()],
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(api::serve(socket, commands, async {
            let _ = stopped.await;
        }));
        let answer = refused.clone();
        let app = tokio::spawn(async move {
            while let Some(command) = inbox.recv().await {
                match command {
                    Command::Status(to) => to.send(status()).expect("somebody waits"),
                    Command::Reload(to) => to.send(answer.clone()).expect("somebody waits"),
                    Command::Force(id, to) => {
                        let held = if id == "a/é" { Ok(()) } else { Err(format!("nothing of {id} is pending")) };
                        to.send(held).expect("somebody waits");
                    }
                    Command::Backends(request, to) => {
                        let answer = Err(Refused::Unknown(format!("no endpoint is {}", request.endpoint)));
                        to.send(answer).expect("somebody waits");
                    }
                    Command::Certs(request, to) => {
                        let reply = match *request {
                            certs::Request::List => {
                                Ok(Reply::List { certificates: vec![], disabled: Default::default() })
                            }
                            _ => Err(Refused::Unknown("no such certificate".to_owned())),
                        };
                        to.send(reply).expect("somebody waits");
                    }
                }
            }
        });
        assert_eq!(client.status().await.expect("an answer"), status());
        assert_eq!(client.reload().await.expect("an answer"), refused);
        client.force("a/é").await.expect("forced");
        let error = client.force("b").await.expect_err("refused");
        assert!(error.to_string().contains("nothing of b is pending"), "{error}");
        let get = |path| client.exchange(Method::GET, path, Bytes::new());
        let (code, body) = get("/reload").await.expect("an answer");
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{body:?}");
        let (code, body) = get("/certificates").await.expect("an answer");
        assert_eq!((code, &body[..]), (StatusCode::OK, &b"[]\n"[..]));
        assert_eq!(get("/x").await.expect("an answer").0, StatusCode::NOT_FOUND);

        for body in ["", "{}", "[1]"] {
            let (code, _) = client.exchange(Method::POST, "/force", body.into()).await.expect("an answer");
            assert_eq!(code, StatusCode::BAD_REQUEST, "{body}");
        }

        let list = client.certs(&certs::Request::List).await.expect("an answer");
        assert!(matches!(list, Reply::List { .. }), "{list:?}");
        let error = client.certs(&certs::Request::Export { id: "x".to_owned() }).await.expect_err("unknown");
        assert!(matches!(&error, ClientError::Refused { status: StatusCode::NOT_FOUND, .. }), "{error}");
        let (code, _) = client.exchange(Method::POST, "/certs", "{}".into()).await.expect("an answer");
        assert_eq!(code, StatusCode::BAD_REQUEST);

        assert_eq!(client.backends().await.expect("an answer"), []);
        let request = DutyRequest { endpoint: "x:1".to_owned(), backend: None, duty: EndpointState::Draining };
        let error = client.set_duty(&request).await.expect_err("unknown");
        assert!(matches!(&error, ClientError::Refused { status: StatusCode::NOT_FOUND, .. }), "{error}");

        // An app that takes nothing any more.
        app.abort();
        let _ = app.await;
        let error = client.status().await.expect_err("the app is gone");
        assert!(error.to_string().contains("stopping"), "{error}");

        stop.send(()).expect("still serving");
        server.await.expect("no panic").expect("served");
        let error = client.status().await.expect_err("nobody there");
        assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    }
}
