//! The admin API: HTTP/1.1 with JSON on a unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`super::view::StatusView`] |
//! | `GET /certificates` | a list of [`super::view::CertificateView`] |
//! | `POST /reload` | [`super::view::ReloadView`]: 200 where the config is in force, 422 where it has faults, 500 where it could not be put in force |
//! | `POST /force` with a [`super::view::ForceView`] | the same again where the certificate that was held back is served now, else 409 with [`super::view::ErrorView`] |
//! | `GET /backends` | a list of [`super::view::EndpointView`] |
//! | `POST /backends` with a [`super::backends::DutyRequest`] | a [`super::backends::Told`]; 404 where there is no such endpoint, 409 where the config says otherwise |
//! | `POST /certs` with a [`super::certs::Request`] | a [`super::certs::Reply`]; 404 where there is no such certificate, 409 where it would do harm or cannot work, 500 where it failed |
//!
//! Anything else: 404 or 405 with [`super::view::ErrorView`]; 503 while doorward is stopping.
//! Whoever may open the socket may do all of this: its mode (0660) and its folder are the access control.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::accept::{self, Bounds};
use super::certs::{self, Refused};
use super::command::{Commands, Stopping};
use super::view::{ErrorView, ForceView, ReloadOutcome};

/// The socket's mode: its owner and its group.
const MODE: u32 = 0o660;
const BOUNDS: Bounds = Bounds { listener: "admin socket", connections: 32, head: Duration::from_secs(10) };
/// The longest body that is read, in bytes.
const BODY: usize = 4096;
/// As much for `/certs`, which carries certificates: a chain and a key have a few thousand.
const CERTS_BODY: usize = 1024 * 1024;

/// The bound admin socket. Its file goes away with it, unless somebody else's has taken its place.
#[derive(Debug)]
pub struct AdminSocket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error(
        "another doorward is running with the admin socket {0}; stop it, or give this one a `socket` of its own in [admin]"
    )]
    InUse(PathBuf),
    /// Something that is no socket.
    #[error("{0} is there already and is no socket; remove it, or set another `socket` in [admin]")]
    NotASocket(PathBuf),
    /// Longer than the kernel takes (108 bytes with the final zero, unix(7)).
    #[error("the admin socket's path is too long for the kernel ({0}); set a shorter `socket` in [admin]")]
    TooLong(PathBuf),
    /// The kernel says no.
    #[error("cannot make the admin socket {path}: {source}; does its folder exist, and may doorward write there?")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AdminSocket {
    /// Binds `path`, in place of a socket that a dead process left there. Nobody but owner and group can
    /// connect at any time: the mode is set before the kernel takes connections.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { path: path.to_owned(), source };
        let address = SockAddr::unix(path).map_err(|_| BindError::TooLong(path.to_owned()))?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                socket.bind(&address).map_err(failed)?;
            }
            other => other.map_err(failed)?,
        }
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).map_err(failed)?;
        let meta = fs::symlink_metadata(path).map_err(failed)?;
        // Until here a connect is refused (unix(7)): a bound socket that does not listen takes nobody in.
        socket.listen(128).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener: socket.into(), path: path.to_owned(), file: (meta.dev(), meta.ino()) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what is at `path` where it is a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or not allowed to: somebody's.
        _ => Err(BindError::InUse(path.to_owned())),
    }
}

/// Answers on `socket` until `shutdown` is done; then drops what is open. Runs on a tokio runtime with I/O and
/// time enabled.
///
/// # Errors
/// The socket cannot be given to the runtime.
pub async fn serve(socket: AdminSocket, commands: Commands, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
    let answer = move |request| answer(request, commands.clone());
    accept::serve(BOUNDS, listener, answer, shutdown).await;
    Ok(())
}

async fn answer(request: Request<Incoming>, commands: Commands) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    match (head.uri.path(), &head.method) {
        ("/status", &Method::GET) => shown(commands.status().await, |_| StatusCode::OK),
        ("/certificates", &Method::GET) => {
            shown(commands.status().await.map(|status| status.certificates), |_| StatusCode::OK)
        }
        ("/backends", &Method::GET) => shown(commands.status().await.map(|status| status.backends), |_| StatusCode::OK),
        ("/backends", &Method::POST) => duty(body, &commands).await,
        ("/reload", &Method::POST) => shown(commands.reload().await, |reload| match reload.outcome {
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => StatusCode::OK,
            ReloadOutcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            ReloadOutcome::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }),
        ("/force", &Method::POST) => force(body, &commands).await,
        ("/certs", &Method::POST) => change(body, &commands).await,
        ("/status" | "/certificates", _) => not_allowed("GET"),
        ("/reload" | "/force" | "/certs", _) => not_allowed("POST"),
        ("/backends", _) => not_allowed("GET, POST"),
        _ => refused(StatusCode::NOT_FOUND, "there is /status, /certificates, /certs, /backends, /reload and /force"),
    }
}

async fn force(body: Incoming, commands: &Commands) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return refused(StatusCode::BAD_REQUEST, "the body is too long or was cut");
    };
    let Ok(asked) = serde_json::from_slice::<ForceView>(&body.to_bytes()) else {
        return refused(StatusCode::BAD_REQUEST, "the body has to be JSON as {\"id\": \"apps\"}");
    };
    match commands.force(asked.id.clone()).await {
        Ok(Ok(())) => json(StatusCode::OK, &asked),
        Ok(Err(error)) => refused(StatusCode::CONFLICT, error),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

async fn change(body: Incoming, commands: &Commands) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(body, CERTS_BODY).collect().await else {
        return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 1 MiB, or was cut");
    };
    let request = match serde_json::from_slice::<certs::Request>(&body.to_bytes()) {
        Ok(request) => request,
        // The error tells of places and types, never of what a key holds.
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("the body is no request: {error}")),
    };
    done(commands.certs(request).await)
}

async fn duty(body: Incoming, commands: &Commands) -> Response<Full<Bytes>> {
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return refused(StatusCode::BAD_REQUEST, "the body is too long or was cut");
    };
    match serde_json::from_slice(&body.to_bytes()) {
        Ok(request) => done(commands.backends(request).await),
        Err(error) => {
            let example = r#"{"endpoint": "10.0.0.5:8080", "duty": "draining"}"#;
            refused(StatusCode::BAD_REQUEST, format!("the body has to be JSON as {example}: {error}"))
        }
    }
}

fn done<T: Serialize>(answer: Result<Result<T, Refused>, Stopping>) -> Response<Full<Bytes>> {
    match answer {
        Ok(Ok(reply)) => json(StatusCode::OK, &reply),
        Ok(Err(error)) => {
            let status = match &error {
                Refused::Unknown(_) => StatusCode::NOT_FOUND,
                Refused::No(_) => StatusCode::CONFLICT,
                Refused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, error.to_string())
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn refused(status: StatusCode, error: impl Into<String>) -> Response<Full<Bytes>> {
    json(status, &ErrorView { error: error.into() })
}

fn shown<T: Serialize>(answer: Result<T, Stopping>, status: impl Fn(&T) -> StatusCode) -> Response<Full<Bytes>> {
    match answer {
        Ok(view) => json(status(&view), &view),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is understood here"));
    response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static(allowed));
    response
}

fn json(status: StatusCode, view: &impl Serialize) -> Response<Full<Bytes>> {
    // The views have string keys only and no serializer of their own that fails.
    let mut body = serde_json::to_vec(view).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        (folder, path)
    }

    #[test]
    fn only_owner_and_group_may_connect() {
        let (_folder, path) = place();
        let socket = AdminSocket::bind(&path).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(!path.exists(), "the file goes with the socket");
    }

    #[test]
    fn a_live_socket_is_refused_and_left_alone() {
        let (_folder, path) = place();
        let first = AdminSocket::bind(&path).expect("bound");
        let error = AdminSocket::bind(&path).expect_err("in use");
        assert!(matches!(&error, BindError::InUse(p) if *p == path), "{error}");
        assert!(error.to_string().contains("another doorward"), "{error}");
        std::os::unix::net::UnixStream::connect(&path).expect("the first one still answers");
        drop(first);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced() {
        let (_folder, path) = place();
        // A listener that is dropped leaves its file behind, as a killed process does.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let _socket = AdminSocket::bind(&path).expect("replaced");
        std::os::unix::net::UnixStream::connect(&path).expect("answers");
    }

    #[test]
    fn what_is_no_socket_is_not_removed() {
        let (_folder, path) = place();
        fs::write(&path, "precious").expect("written");
        assert!(matches!(AdminSocket::bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("there"), "precious");
    }

    #[test]
    fn a_successor_keeps_its_file() {
        let (_folder, path) = place();
        let first = AdminSocket::bind(&path).expect("bound");
        fs::remove_file(&path).expect("removed");
        let _second = AdminSocket::bind(&path).expect("bound");
        drop(first);
        assert!(path.exists(), "the first one must not take the second one's file away");
    }

    #[test]
    fn a_path_that_the_kernel_cannot_hold_says_so() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        assert!(matches!(AdminSocket::bind(&path), Err(BindError::TooLong(_))));
    }
}
