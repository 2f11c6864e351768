//! A line of the access log, for machines or for people.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::json::{digits, hexadecimal, ip, key, number, plain, text};
use crate::backend::BackendAddress;
use crate::http1;

/// What a line tells. A text that is empty and an `Option` that is none are left out.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) at: SystemTime,
    pub(super) message: &'static str,
    pub(super) id: u64,
    pub(super) client: IpAddr,
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) route: &'a str,
    pub(super) backend: Option<&'a BackendAddress>,
    /// None for a connection that was passed on whole.
    pub(super) status: Option<u16>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) took: Duration,
    pub(super) protocol: &'static str,
    pub(super) tls: Option<&'static str>,
    pub(super) sni: Option<&'a str>,
    /// How a connection ended that was passed on whole.
    pub(super) outcome: Option<&'static str>,
    pub(super) ended_by: Option<&'static str>,
    pub(super) error: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
}

impl Line<'_> {
    /// Appends a JSON object (RFC 8259) of one line. By hand, as there is one for each request: serde_json looks at each
    /// byte of each key, and takes four times the instructions.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        let Timestamp { second, micros } = Timestamp::of(self.at);
        out.extend_from_slice(b"{\"timestamp\":\"");
        out.extend_from_slice(&second);
        out.push(b'.');
        digits(out, micros, 6);
        out.extend_from_slice(b"Z\",\"level\":\"INFO\"");
        plain(out, key!("message"), |out| out.extend_from_slice(self.message.as_bytes()));
        plain(out, key!("request_id"), |out| hexadecimal(out, self.id));
        plain(out, key!("client"), |out| ip(out, self.client));
        for (key, value) in [(key!("method"), self.method), (key!("host"), self.host), (key!("path"), self.path)] {
            if !value.is_empty() {
                text(out, key, value);
            }
        }
        text(out, key!("route"), self.route);
        match self.backend {
            Some(BackendAddress::Socket(SocketAddr::V4(address))) => plain(out, key!("backend"), |out| {
                ip(out, (*address.ip()).into());
                out.push(b':');
                http1::number(out, address.port());
            }),
            Some(backend) => text(out, key!("backend"), &backend.to_string()),
            None => {}
        }
        if let Some(status) = self.status {
            number(out, key!("status"), status);
        }
        number(out, key!("bytes_in"), self.bytes_in);
        number(out, key!("bytes_out"), self.bytes_out);
        let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        number(out, key!("duration_ms"), micros / 1000);
        out.push(b'.');
        digits(out, (micros % 1000) as u32, 3);
        text(out, key!("protocol"), self.protocol);
        let others = [
            (key!("tls"), self.tls),
            (key!("sni"), self.sni),
            (key!("outcome"), self.outcome),
            (key!("ended_by"), self.ended_by),
            (key!("error"), self.error),
            (key!("detail"), self.detail),
        ];
        for (key, value) in others {
            if let Some(value) = value {
                text(out, key, value);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends a line that people read. Times are UTC.
    pub(super) fn write_readable(&self, out: &mut Vec<u8>) {
        let Self { method, host, path, route, bytes_in, bytes_out, protocol, .. } = self;
        let ms = self.took.as_secs_f64() * 1000.0;
        let to = self.backend.map_or_else(|| "-".to_owned(), ToString::to_string);
        out.extend_from_slice(&Timestamp::of(self.at).second[11..]);
        let _ = match self.status {
            Some(status) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                write!(
                    out,
                    " {status} {method} {scheme}://{host}{path}  {bytes_out} B in {ms:.1} ms  {protocol} → {to}"
                )
            }
            None => {
                let tls = if self.tls.is_some() { "tls → " } else { "" };
                let ended = self.ended_by.map_or_else(String::new, |side| format!("  ended by the {side}"));
                write!(
                    out,
                    " --- {route}  {bytes_in} B in, {bytes_out} B out in {ms:.1} ms  {tls}{protocol} → {to}{ended}"
                )
            }
        };
        for (mark, text) in [("  ", self.error), (": ", self.detail)] {
            if let Some(text) = text {
                let _ = write!(out, "{mark}{text}");
            }
        }
        out.push(b'\n');
    }
}

/// A time as RFC 3339 has it: `2026-11-22T05:25:14`, and what is to follow.
struct Timestamp {
    second: [u8; 19],
    micros: u32,
}

thread_local! {
    /// The last second and its text: many lines are of the same one.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

impl Timestamp {
    fn of(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut second, mut text) = SECOND.get();
        if second != since.as_secs() {
            second = since.as_secs();
            let date = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
            let written = date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default();
            if let Some((begins, _)) = written.as_bytes().split_first_chunk() {
                text = *begins;
            }
            SECOND.set((second, text));
        }
        Self { second: text, micros: since.subsec_micros() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::{Value, json};

    use super::*;

    fn line() -> Line<'static> {
        Line {
            at: UNIX_EPOCH + Duration::new(1_795_325_114, 4_873_999),
            message: "request",
            id: 0xabc,
            client: Ipv4Addr::new(192, 0, 2, 1).into(),
            method: "GET",
            host: "app.example.com",
            path: "/a",
            route: "app",
            backend: None,
            status: Some(200),
            bytes_in: 0,
            bytes_out: 1024,
            took: Duration::from_nanos(12_034_999),
            protocol: "HTTP/1.1",
            tls: Some("TLSv1.3"),
            sni: Some("app.example.com"),
            outcome: None,
            ended_by: None,
            error: None,
            detail: None,
        }
    }

    fn json_of(line: &Line<'_>) -> Value {
        let mut out = Vec::new();
        line.write_json(&mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "{out:?}");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn readable(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write_readable(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_machine_reads_each_field() {
        let expected = json!({
            "timestamp": "2026-11-22T05:25:14.004873Z", "level": "INFO", "message": "request",
            "request_id": "0000000000000abc", "client": "192.0.2.1", "method": "GET", "host": "app.example.com",
            "path": "/a", "route": "app", "status": 200, "bytes_in": 0, "bytes_out": 1024, "duration_ms": 12.034,
            "protocol": "HTTP/1.1", "tls": "TLSv1.3", "sni": "app.example.com",
        });
        assert_eq!(json_of(&line()), expected);
        let of_a_minute_later = Line { at: UNIX_EPOCH + Duration::from_secs(1_795_325_174), ..line() };
        assert_eq!(json_of(&of_a_minute_later)["timestamp"], "2026-11-22T05:26:14.000000Z");
    }

    #[test]
    fn a_text_may_hold_anything() {
        for odd in ["\"", "\\", "\u{0}\u{1f}\n\r\t", "/\u{7f}ü→\u{10ffff}", "{\"a\":1}", "\u{2028}"] {
            let unix = BackendAddress::Unix(odd.into());
            let read = json_of(&Line { path: odd, route: odd, detail: Some(odd), backend: Some(&unix), ..line() });
            assert_eq!([&read["path"], &read["route"], &read["detail"]], [odd; 3]);
            assert_eq!(read["backend"], format!("unix:{odd}"));
        }
    }

    #[test]
    fn addresses_are_told_as_they_are_written() {
        for (client, backend) in
            [("192.0.2.255", "10.0.0.1:65535"), ("2001:db8::1", "[::1]:80"), ("0.0.0.0", "1.2.3.4:0")]
        {
            let address = BackendAddress::Socket(backend.parse().expect("an address"));
            let read = json_of(&Line { client: client.parse().expect("an IP"), backend: Some(&address), ..line() });
            assert_eq!([&read["client"], &read["backend"]], [client, backend]);
        }
    }

    #[test]
    fn people_read_what_matters() {
        assert_eq!(readable(&line()), "05:25:14 200 GET https://app.example.com/a  1024 B in 12.0 ms  HTTP/1.1 → -\n");
        let backend = "127.0.0.1:3000".parse().map(BackendAddress::Socket).expect("an address");
        let passed = Line {
            status: None,
            protocol: "tcp",
            backend: Some(&backend),
            ended_by: Some("client"),
            error: Some("cut"),
            detail: Some("why"),
            ..line()
        };
        let expected = "05:25:14 --- app  0 B in, 1024 B out in 12.0 ms  tls → tcp → 127.0.0.1:3000";
        assert_eq!(readable(&passed), format!("{expected}  ended by the client  cut: why\n"));
    }
}
