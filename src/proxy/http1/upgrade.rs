//! A change of protocol that the app agreed to.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::access_log::Record;
use super::super::{Proxy, headers, tunnel};
use super::Next;
use super::wire::Wire;
use crate::backend::Connection;
use crate::http1::ResponseHead;
use crate::net::{Deadline, Transport};

/// Passes the change of protocol on, then whatever is said in it.
#[expect(clippy::await_holding_refcell_ref, reason = "the body and the exchange, which shared it, are gone")]
pub(super) async fn tunnel<IO: Transport>(
    proxy: &Proxy,
    wire: &Rc<RefCell<Wire<IO>>>,
    response: &ResponseHead,
    connection: Connection,
    deadline: &Deadline,
    record: &mut Record,
) -> Next {
    let patience = tunnel::Patience::from(&proxy.settings().timeouts);
    record.status = 101;
    let mut wire = wire.borrow_mut();
    let out = wire.outbox.text();
    headers::write_answer(out, response);
    out.extend_from_slice(b"Connection: Upgrade\r\n");
    if let Some(protocol) = response.fields.first("upgrade") {
        crate::http1::field(out, b"Upgrade", protocol);
    }
    out.extend_from_slice(b"\r\n");
    let inbox = std::mem::take(&mut wire.inbox);
    let outbox = std::mem::take(&mut wire.outbox);
    let mut client = tunnel::End { io: &mut wire.io, inbox, outbox };
    let (io, inbox, outbox, _in_flight) = connection.into_parts();
    let mut backend = tunnel::End { io, inbox, outbox };
    proxy.metrics.tunnels.inc();
    let moved = |moved: tunnel::Moved| (record.bytes_in, record.bytes_out) = (moved.up, moved.down);
    let ended = tunnel::relay(&mut client, &mut backend, deadline, patience, moved).await;
    record.error = ended.failure();
    proxy.metrics.tunnels.dec();
    Next::Gone
}
