//! [`Origin`]: whose bytes a connection carries, told to the backend by the PROXY protocol before all else.

use std::io;
use std::net::{IpAddr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use crate::config::ProxyVersion;

/// A client's connection, as a backend hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
    /// Its TLS, where it came over it. Version 2 only.
    pub tls: Option<OriginTls>,
}

/// What version 2 says of a client's TLS (§2.2 of the PROXY protocol's specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginTls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// The name that the client asked for (`PP2_TYPE_AUTHORITY`).
    pub sni: Option<String>,
    /// The protocol that was agreed on, as `h2`; empty: none.
    pub alpn: String,
}

/// The header's bytes. Without an origin the connection is doorward's own: a health check.
pub(super) fn header(version: ProxyVersion, origin: Option<&Origin>) -> io::Result<Vec<u8>> {
    let mut header = match origin {
        None => ProxyHeader::with_local(),
        Some(origin) => {
            let (source, destination) = one_family(origin.source, origin.destination);
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        }
    };
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => {
            if let Some(tls) = origin.and_then(|origin| origin.tls.as_ref()) {
                append(&mut header, tls);
            }
            header.encode_v2(&mut bytes)
        }
    };
    written.map_err(|error| io::Error::other(format!("no PROXY protocol header: {error}")))?;
    Ok(bytes)
}

fn append(header: &mut ProxyHeader<'_>, tls: &OriginTls) {
    if !tls.alpn.is_empty() {
        header.append_tlv(Tlv::Alpn(tls.alpn.as_bytes().into()));
    }
    if let Some(sni) = &tls.sni {
        header.append_tlv(Tlv::Authority(sni.as_str().into()));
    }
    // No client certificate, so none was verified: not zero.
    let mut ssl = SslInfo::new(true, false, false, 1);
    ssl.append_tlv(Tlv::SslVersion(tls.version.into()));
    ssl.append_tlv(Tlv::SslCipher(tls.cipher.into()));
    header.append_tlv(Tlv::Ssl(ssl));
}

/// Both addresses as IPv4, or both as IPv6: the protocol has no mixture.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use proxy_header::ParseConfig;

    use super::*;

    fn origin(source: &str, destination: &str) -> Origin {
        let tls = OriginTls {
            version: "TLSv1.3",
            cipher: "TLS13_AES_128_GCM_SHA256",
            sni: Some("app.example.com".to_owned()),
            alpn: "h2".to_owned(),
        };
        let address = |text: &str| text.parse().expect("an address");
        Origin { source: address(source), destination: address(destination), tls: Some(tls) }
    }

    #[test]
    fn version_1_is_a_line() {
        for (source, destination, line) in [
            ("192.0.2.1:5000", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n"),
            ("[::ffff:192.0.2.1]:5000", "198.51.100.2:443", "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n"),
            ("[2001:db8::1]:5", "[::1]:6", "PROXY TCP6 2001:db8::1 ::1 5 6\r\n"),
            ("192.0.2.1:5", "[::1]:6", "PROXY TCP6 ::ffff:192.0.2.1 ::1 5 6\r\n"),
        ] {
            let bytes = header(ProxyVersion::V1, Some(&origin(source, destination))).expect("a header");
            assert_eq!(String::from_utf8(bytes).expect("text"), line);
        }
        assert_eq!(header(ProxyVersion::V1, None).expect("a header"), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_tells_of_tls() {
        let bytes = header(ProxyVersion::V2, Some(&origin("192.0.2.1:5000", "198.51.100.2:443"))).expect("a header");
        let (parsed, length) = ProxyHeader::parse(&bytes, ParseConfig::default()).expect("it parses");
        assert_eq!(length, bytes.len());
        assert_eq!(parsed.proxied_address().map(|a| a.source.to_string()).as_deref(), Some("192.0.2.1:5000"));
        assert_eq!((parsed.alpn(), parsed.authority()), (Some(&b"h2"[..]), Some("app.example.com")));
        let ssl = parsed.ssl().expect("TLS");
        assert_eq!((ssl.version(), ssl.cipher()), (Some("TLSv1.3"), Some("TLS13_AES_128_GCM_SHA256")));
        assert!(ssl.client_ssl() && !ssl.client_cert_conn() && ssl.verify() != 0);
        assert_eq!(header(ProxyVersion::V2, None).expect("a header")[12], 0x20, "LOCAL");
    }
}
