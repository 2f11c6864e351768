//! The app's answer on its way into a stream.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::HeaderValue;

use super::super::access_log::Record;
use super::super::pace::Pace;
use super::super::{Settings, headers};
use super::allowance::Allowance;
use super::body::{RequestBody, trailers};
use super::head::{http_head, insert_length};
use crate::backend::Exchange;
use crate::http1::{Framing, ResponseHead, declared_length};
use crate::net::Deadline;

/// Sends the app's answer.
pub(super) async fn relay(
    settings: &Settings,
    respond: &mut SendResponse<Bytes>,
    allowance: &Allowance,
    response: &ResponseHead,
    mut exchange: Exchange<RequestBody>,
    deadline: &Deadline,
    record: &mut Record,
) {
    record.status = response.status;
    let framing = exchange.framing();
    let empty = matches!(framing, Framing::None | Framing::Length(0));
    let mut head = http_head(response, framing);
    if framing == Framing::None
        && response.status != 204
        && let Some(length) = declared_length(&response.fields)
    {
        insert_length(head.headers_mut(), length);
    }
    if let Some(date) = headers::missing_date(response).and_then(|date| HeaderValue::try_from(date).ok()) {
        head.headers_mut().insert(http::header::DATE, date);
    }
    let Ok(mut send) = respond.send_response(head, empty) else {
        record.error = Some(("client_gone", None));
        return;
    };
    if empty {
        allowance.answered();
        exchange.finish_if_over();
        return;
    }
    let timeouts = &settings.timeouts;
    let mut outlet = Outlet { pending: Bytes::new(), ending: false, bytes: 0, progress: 0 };
    let mut seen = None;
    let mut pace = Pace::new(timeouts.write, settings.limits.download_rate);
    let result = poll_fn(|cx| {
        if let Poll::Ready(result) = outlet.poll(&mut exchange, &mut send, allowance, cx) {
            return Poll::Ready(result);
        }
        let now = (exchange.progress, outlet.progress);
        if seen != Some(now) {
            seen = Some(now);
            if outlet.pending.is_empty() {
                pace.pause(outlet.progress);
                deadline.set(timeouts.idle);
            } else {
                let Some(left) = pace.wait(outlet.progress) else {
                    return Poll::Ready(Err(End::Broken("the client takes too little".to_owned())));
                };
                deadline.set(left);
            }
        }
        if deadline.poll_passed(cx).is_ready() {
            return Poll::Ready(Err(End::Broken("nothing moved for too long".to_owned())));
        }
        send.poll_reset(cx).map(|_| Err(End::ClientGone))
    })
    .await;
    record.bytes_out = outlet.bytes;
    match result {
        Ok(()) => allowance.answered(),
        Err(End::ClientGone) => {
            allowance.reset();
            record.error = Some(("client_gone", None));
        }
        Err(End::Broken(detail)) => {
            // What came is sent first: a reset drops what is queued, and the connection's task runs in between.
            tokio::task::yield_now().await;
            // Never a clean end: the client has to see that something is missing (RFC 9113 §8.1).
            send.send_reset(Reason::INTERNAL_ERROR);
            record.error = Some(("truncated", Some(detail)));
        }
    }
}

/// How an answer ends short of its end.
enum End {
    ClientGone,
    Broken(String),
}

/// The app's answer on its way into a stream.
struct Outlet {
    pending: Bytes,
    /// Whether `pending` is the last of it.
    ending: bool,
    bytes: u64,
    progress: u64,
}

impl Outlet {
    fn poll(
        &mut self,
        exchange: &mut Exchange<RequestBody>,
        send: &mut SendStream<Bytes>,
        allowance: &Allowance,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), End>> {
        loop {
            while !self.pending.is_empty() {
                send.reserve_capacity(self.pending.len());
                let room = match send.capacity() {
                    0 => match ready!(send.poll_capacity(cx)) {
                        Some(Ok(room)) => room,
                        Some(Err(_)) | None => return Poll::Ready(Err(End::ClientGone)),
                    },
                    room => room,
                };
                let part = self.pending.split_to(room.min(self.pending.len()));
                self.progress += part.len() as u64;
                let last = self.ending && self.pending.is_empty();
                if send.send_data(part, last).is_err() {
                    return Poll::Ready(Err(End::ClientGone));
                }
                if last {
                    return Poll::Ready(Ok(()));
                }
            }
            let sent = match ready!(exchange.poll_frame(cx)) {
                None => send.send_data(Bytes::new(), true),
                Some(Err(error)) => return Poll::Ready(Err(End::Broken(error.to_string()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.bytes += data.len() as u64;
                        allowance.earn_by_piece(data.len());
                        self.pending = data;
                        if matches!(exchange.framing(), Framing::Length(_)) && exchange.is_body_over() {
                            exchange.finish_if_over();
                            self.ending = true;
                        }
                        continue;
                    }
                    Err(frame) => send.send_trailers(trailers(frame.into_trailers().unwrap_or_default(), &[])),
                },
            };
            return Poll::Ready(sent.map_err(|_| End::ClientGone));
        }
    }
}
