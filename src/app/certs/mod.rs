//! The certs commands: what operators ask of certificates, of a running doorward or of its storage alone.
//!
//! A [`Desk`] is a look at everything that a command needs, taken when it comes in; it then works on a task of
//! its own, as some of it waits for a lock, a CA or an address. What it changes it writes to the storage, from
//! where it is served as everything else.

mod alone;
mod change;
mod doors;
mod explain;
mod look;
mod names;
mod order;
mod probe;
mod public;
mod room;
mod rows;
mod usage;

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

pub use alone::Alone;

use super::State;
use crate::acme::{self, Manager};
use crate::admin::certs::{Done, Refused, Reply, Request};
use crate::certs::{Challenges, Directory, DirectoryHandle, LocalIssuer, Stored, Table, Vault, VaultError, directory};
use crate::config::{CertificateId, Config, ListenerProtocol, Storage as StorageConfig};
use crate::names::HostPattern;
use crate::storage::{FileStorage, Storage, StorageError, keys};

/// How long it may take from the storage to the table.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// How often it is asked whether a certificate was looked at.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// What a command works with.
#[derive(Clone, Debug)]
pub struct Desk {
    vault: Vault,
    table: Arc<Table>,
    config: Arc<Config>,
    directories: Vec<directory::Status>,
    listeners: Vec<Door>,
    live: Option<Live>,
}

/// A listener that speaks TLS.
#[derive(Clone, Debug)]
struct Door {
    address: String,
    default: Option<CertificateId>,
}

/// What only a running doorward has.
#[derive(Clone, Debug)]
struct Live {
    manager: Weak<Manager>,
    local: Arc<LocalIssuer>,
    challenges: Arc<Challenges>,
    refresh: Arc<Notify>,
    durable: bool,
    /// Why challenges cannot be answered here, a line each.
    shut: Arc<[String]>,
}

impl State {
    /// The desk for one command.
    pub(super) fn desk(&self) -> Desk {
        let doors = self.config.listeners.iter().zip(&self.listeners);
        let doors = doors.filter(|(_, bound)| speaks_tls(bound.protocol()));
        let sources = &self.certificates;
        Desk {
            vault: sources.vault().clone(),
            table: Arc::clone(&self.options.table),
            config: Arc::new(self.config.clone()),
            directories: sources.directory().status(),
            listeners: doors
                .map(|(config, bound)| Door {
                    address: bound.bound.to_string(),
                    default: config.default_certificate.clone(),
                })
                .collect(),
            live: Some(Live {
                manager: sources.manager(),
                local: Arc::clone(sources.local()),
                challenges: Arc::clone(sources.challenges()),
                refresh: Arc::clone(&self.refresh),
                durable: sources.is_durable(),
                shut: Arc::default(),
            }),
        }
    }
}

impl Desk {
    /// A desk on the config's storage and folders, with no doorward running. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn offline(config: Config) -> Result<Self, StorageError> {
        Self::on_storage(config).await.map(|(desk, _)| desk)
    }

    /// The same, with what keeps its table up with the storage.
    async fn on_storage(config: Config) -> Result<(Self, Stored), StorageError> {
        let StorageConfig::File { path } = &config.storage;
        let storage: Arc<dyn Storage> = Arc::new(FileStorage::open(path)?);
        let table = Arc::new(Table::new());
        let handle: DirectoryHandle = Directory::start(config.certificates.directories.clone(), Arc::clone(&table));
        let stored = Stored::load(Arc::clone(&storage), Arc::clone(&table)).await?;
        table.disabled().read(&*storage).await?;
        table.set_pins(super::certificates::pins(&config));
        let doors = config.listeners.iter().filter(|listener| speaks_tls(listener.protocol));
        let desk = Self {
            vault: Vault::new(storage),
            table,
            directories: handle.status(),
            listeners: doors
                .map(|listener| Door {
                    address: listener.address.to_string(),
                    default: listener.default_certificate.clone(),
                })
                .collect(),
            config: Arc::new(config),
            live: None,
        };
        Ok((desk, stored))
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn serve(&self, request: Request) -> Result<Reply, Refused> {
        match request {
            Request::List => self.list().await,
            Request::Show { of } => self.show(&of).await.map(|detail| Reply::Show(Box::new(detail))),
            Request::Import(import) => self.import(import).await.map(Reply::Done),
            Request::Rollback { id, force } => self.roll_back(&id, force).await.map(Reply::Done),
            Request::Delete { id, force } => self.delete(&id, force).await.map(Reply::Done),
            Request::Disable { name } => self.switch(&name, false).await.map(Reply::Done),
            Request::Enable { name } => self.switch(&name, true).await.map(Reply::Done),
            Request::Export { id } => self.export(&id).await,
            Request::Generate(generate) => self.generate(generate).await.map(Reply::Done),
            Request::Renew { id, force } => self.renew(&id, force).await.map(Reply::Done),
            Request::Revoke { id, reason } => self.revoke(&id, &reason).await.map(Reply::Done),
            Request::Budget => {
                let acme = self.config.acme.clone().unwrap_or_default();
                let issuers = acme::budget(&acme, &**self.vault.storage(), SystemTime::now()).await?;
                Ok(Reply::Budget { issuers })
            }
            Request::Explain { name, port } => self.explain(&name, port).await.map(|e| Reply::Explain(Box::new(e))),
        }
    }

    /// What only a running doorward has, or why the command cannot be done.
    fn live(&self) -> Result<&Live, Refused> {
        self.live.as_ref().ok_or_else(|| Refused::No("this needs a running doorward: start it first".to_owned()))
    }

    /// The manager, while doorward is not stopping.
    fn manager(&self) -> Option<Arc<Manager>> {
        self.live.as_ref().and_then(|live| live.manager.upgrade())
    }

    /// How ACME stands with one certificate, where it looks after it.
    fn acme(&self, id: &CertificateId) -> Option<acme::Status> {
        self.manager()?.status_one(id)
    }

    /// Waits until a certificate that has just been taken up was looked at for the first time.
    async fn settled(&self, id: &CertificateId) {
        let looked_at = async {
            while self.acme(id).is_some_and(|status| status.state == acme::State::Starting) {
                tokio::time::sleep(FIRST_LOOK).await;
            }
        };
        let _late = tokio::time::timeout(SERVED_WITHIN, looked_at).await;
    }

    /// The folder or file of a certificate that comes from one.
    fn in_directory(&self, id: &CertificateId) -> Option<&directory::Status> {
        self.directories.iter().find(|status| status.id == *id)
    }

    /// Refuses to change what is not the storage's.
    fn not_in_directory(&self, id: &CertificateId, remedy: &str) -> Result<(), Refused> {
        match self.in_directory(id) {
            Some(status) => {
                let path = status.path.display();
                Err(Refused::No(format!("{id} comes from {path}, which doorward only reads: {remedy}")))
            }
            None => Ok(()),
        }
    }

    /// Refuses where what is written would not be there after a restart.
    fn lasting(&self) -> Result<(), Refused> {
        match &self.live {
            Some(live) if !live.durable => Err(Refused::Failed(
                "the storage could not be opened when doorward started, see [storage]: nothing would last".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Waits until the table has just this certificate under `id`; whether it does.
    async fn is_served(&self, id: &CertificateId, fingerprint: &str) -> bool {
        if self.live.is_none() {
            return false;
        }
        let there = || self.table.get(id).is_some_and(|served| served.fingerprint() == fingerprint);
        self.await_table(there).await
    }

    async fn await_table(&self, there: impl Fn() -> bool) -> bool {
        let mut changed = self.table.changed();
        let wait = async {
            while !there() {
                if changed.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(SERVED_WITHIN, wait).await.unwrap_or(false)
    }
}

fn speaks_tls(protocol: ListenerProtocol) -> bool {
    matches!(protocol, ListenerProtocol::Https | ListenerProtocol::Tls)
}

/// Now, unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The day of a unix second, UTC.
fn day(at: u64) -> String {
    let when = i64::try_from(at).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    when.map_or_else(|| format!("unix second {at}"), |when| when.date().to_string())
}

fn done(id: &CertificateId, message: String, serving: bool) -> Done {
    Done { id: id.to_string(), message, warnings: Vec::new(), serving }
}

/// A name or wildcard, or why it is none.
fn pattern(name: &str) -> Result<HostPattern, Refused> {
    HostPattern::parse(name).map_err(|error| Refused::No(format!("{name:?} is no name: {error}")))
}

/// Refuses an id that is not a line of text, as tables, logs and command lines have it, or too long for a file's name.
fn sound(id: &CertificateId) -> Result<(), Refused> {
    let text = id.as_str();
    if (1..=200).contains(&keys::written(text)) && text.trim() == text && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let message = "an id has 1 to 200 bytes (each that is no ASCII letter, digit, '-', '_' or '.' counts as three), no \
                   control characters, and no space at its ends: name it with --id";
    Err(Refused::No(message.to_owned()))
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::Failed(error.to_string())
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Unknown(_) => Self::Unknown(error.to_string()),
            VaultError::NoVersion(_) => Self::No(error.to_string()),
            VaultError::Storage(_) | VaultError::Unusable(_) => failed(error),
        }
    }
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        failed(error)
    }
}
