//! [`Attempts`]: the endpoints that one request is taken to, until one answers or nothing more may be tried.

use std::pin::pin;
use std::sync::Arc;

use super::access_log::Record;
use super::client::Client;
use super::failure::Failure;
use super::{Proxy, Settings};
use crate::backend::{Backend, Connection, Endpoint, Place};
use crate::net::Deadline;

/// One request's tries. Costs nothing until one has failed.
pub(super) struct Attempts<'a> {
    proxy: &'a Proxy,
    backend: &'a Backend,
    tried: Vec<u64>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(proxy: &'a Proxy, backend: &'a Backend) -> Self {
        Self { proxy, backend, tried: Vec::new() }
    }

    /// Where to go next after this endpoint has failed: none where no other can serve, or the request was tried
    /// often enough, or there are too many retries already.
    pub(super) fn after(&mut self, failed: &Endpoint) -> Option<&'a Arc<Endpoint>> {
        self.tried.push(failed.id());
        if self.tried.len() > self.backend.retries() as usize {
            return None;
        }
        let other = self.proxy.pools.pick(self.backend, || None, &self.tried)?;
        let allowed = self.backend.may_retry();
        self.proxy.metrics.retry(&self.backend.label(), allowed);
        allowed.then_some(other)
    }

    /// A connection to the endpoint, or to another one where there is none to be had: the request has reached none
    /// of them. `kept`: whether one may be used again.
    pub(super) async fn reach(
        &mut self,
        endpoint: &mut &'a Arc<Endpoint>,
        settings: &Settings,
        client: &Client,
        deadline: &Deadline,
        record: &mut Record,
        kept: bool,
    ) -> Result<Connection, Failure> {
        loop {
            record.endpoint = Some(endpoint.address.clone());
            let mut place = admit(endpoint, deadline).await?;
            if kept {
                place = match self.proxy.pools.take_at(endpoint, place) {
                    Ok(connection) => return Ok(connection),
                    Err(place) => place,
                };
            }
            deadline.set(settings.timeouts.connect);
            let connecting = self.proxy.pools.connect(endpoint, place, || Some(client.origin()));
            let failure = match deadline.bound(pin!(connecting)).await {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => error.into(),
                None => Failure::connect_timeout(),
            };
            endpoint.failed();
            *endpoint = self.after(endpoint).ok_or(failure)?;
        }
    }
}

/// A connection for bytes, to the endpoint or to another one where that fails.
pub(super) async fn connect(
    proxy: &Proxy,
    settings: &Settings,
    (backend, endpoint): (&Backend, &Arc<Endpoint>),
    client: &Client,
    deadline: &Deadline,
    record: &mut Record,
) -> Result<Connection, Failure> {
    let mut endpoint = endpoint;
    Attempts::new(proxy, backend).reach(&mut endpoint, settings, client, deadline, record, false).await
}

/// A place at the endpoint, waited for as long as its queue allows.
async fn admit(endpoint: &Endpoint, deadline: &Deadline) -> Result<Place, Failure> {
    let Some(wait) = endpoint.patience() else { return Ok(Place::default()) };
    deadline.set(wait);
    match deadline.bound(pin!(endpoint.admit())).await {
        Some(Ok(place)) => Ok(place),
        Some(Err(_)) => Err(Failure::busy("its queue is full", wait)),
        None => Err(Failure::busy("no place came free in time", wait)),
    }
}
