//! What a config file may say, and what is said about one that is wrong.

mod combinations;
mod examples;
mod faults;
mod files;
mod issuing;
mod keys;
mod mangled;

use super::*;

/// Every key that there is, none with its default.
const FULL: &str = r#"
workers = 3
trusted_proxies = ["10.1.2.3/8", "192.0.2.7"]
include = []
resolvers = ["192.0.2.53", "[2001:db8::53]:5353"]
untrusted_headers = ["x-our-client"]

[[listener]]
address = "192.0.2.1:8443"
protocol = "https"
public_port = 443
default_certificate = "apps"
trusted_proxies = ["2001:db8::/32"]
default_route = "shop"
proxy_protocol = true
[listener.tls]
min_version = "1.3"
http2 = false

[[listener]]
address = ":8080"
protocol = "http"
public_port = 80

[[listener]]
address = ":6380"
protocol = "tls"
[listener.tls]
alpn = ["imap"]

[certificates]
directories = ["certs", "/srv/certs"]

[storage]
kind = "file"
path = "/srv/doorward"

[acme]
issuer = "internal"
contact = ["mailto:ops@example.com"]
key = "rsa2048"
challenges = ["tls-alpn-01", "http-01"]
staging_first = true
directory = "https://ca.example.com/dir"
trust = "/etc/ca.pem"
profile = "short"
eab = { key_id = "kid", hmac_key = "abc_-123" }

[[issuer]]
name = "internal"
directory = "https://ca.example.com/dir"
trust = "ca.pem"
profile = "long"
challenges = ["dns-01"]
staging = "https://test-ca.example.com/dir"
[issuer.eab]
key_id = "other"
hmac_key = "file:eab.key"
[issuer.limits]
orders = "10 in 1h"
per_domain = "11 in 7days"
duplicates = "12 in 2days"
failures = "13 in 1m"
renewals_exempt = true

[on_demand]
ask = "http://127.0.0.1:3000/allowed"
trust = "/etc/ca.pem"
ask_timeout = "1s"
wait = "900ms"
under_way = 5
labels = 1
per_client = "3 in 10m"
per_domain = "4 in 1day"
allowed_for = "1m"
refused_for = "2m"

[[dns]]
id = "1"
provider = "route53"
zones = ["Example.org", "apps.example.net"]
ttl = 30
propagation_timeout = "90s"
nameservers = ["192.0.2.54"]
role = "arn:aws:iam::123456789012:role/dns"
external_id = "x"
hosted_zone_id = "Z1"
region = "eu-west-1"
profile = "ops"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "abc_-123"
endpoint = "https://aws.example.com"

[[backend]]
name = "shop"
protocol = "https"
balance = "hash-cookie:session"
proxy_protocol = "v2"
slow_start = "20s"
max_connections = 7
[backend.sticky]
cookie = "node"
path = "/shop"
lifetime = "1h"
secure = true
http_only = false
same_site = "strict"
[backend.queue]
length = 3
wait = "1s"
[backend.retry]
attempts = 1
share = 0.125
per_second = 2
[backend.check]
path = "/healthz"
status = "200-204,401"
host = "shop.internal"
interval = "1s"
timeout = "500ms"
rise = 1
fall = 2
[backend.ejection]
failures = 3
time = "1m"
[[backend.endpoints]]
address = "shop.internal:8443"
weight = 2
backup = true
drain = true
addresses = "one"
[[backend.endpoints]]
address = "unix:/run/shop.sock"
[[backend.endpoints]]
address = "srv:_https._tcp.shop.internal"
[backend.tls]
ca = "shop-ca.pem"
server_name = "shop.internal"
sni = "edge.internal"
pin_sha256 = ["sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
client_certificate = "client.pem"
client_key = "client.key"
insecure = false

[[route]]
name = "shop"
hosts = ["Shop.example.com", "192.0.2.9"]
path = "/api/"
backend = ["127.0.0.1:3000", "[::1]:3001", "http://app:3002/", "http://app", 3003]
https = "both"
certificate = "auto"
self_signed_until_issued = true
host = "shop.internal:8080"
forwarded = true
tls_headers = true

[[route]]
name = "mail"
hosts = ["mail.example.com"]
mode = "tcp"
listeners = [":6380"]
backend = 1430

[timeouts]
handshake = "1s"
request_header = "2s"
request_body = "3s"
keep_alive = "4s"
connect = "500ms"
first_byte = "5s"
idle = "6s"
write = "7s"
tunnel_idle = "2d"
half_closed = "10s"
backend_keep_alive = "8s"
drain = "9s"

[limits]
header_bytes = "16KiB"
header_count = 50
response_header_bytes = 0x4001
request_body_bytes = "10 MB"
upload_rate = 100
download_rate = "1KiB"
connections = 1_000
handshakes = 10
h2_streams = 11
h2_resets = 12
backend_idle_connections = 0

[admin]
socket = "/tmp/admin.sock"

[metrics]
address = "127.0.0.1:9464"

[log]
level = "debug"
format = "json"
access = 0.25
"#;

/// The report on a config: one line for a fault, `line:column key: message; remedy`.
fn faults(text: &str) -> Vec<String> {
    short(&parse(text).expect_err("faults").faults)
}

fn warnings(text: &str) -> Vec<String> {
    short(&parse(text).unwrap_or_else(|faults| panic!("{faults}")).warnings)
}

fn short(faults: &[Fault]) -> Vec<String> {
    let short = |Fault { position, key, message, remedy, .. }: &Fault| {
        let Position { line, column } = position.expect("a place");
        format!("{line}:{column} {key}: {message}; {remedy}")
    };
    faults.iter().map(short).collect()
}

/// A config with both listeners, to put sections after; they take four lines.
fn with(rest: &str) -> String {
    format!("[[listener]]\naddress = \":443\"\n[[listener]]\naddress = \":80\"\nprotocol = \"http\"\n{rest}")
}

/// A route with these lines besides the hosts (6:1 is its header) and the backend.
fn route(lines: &str) -> String {
    with(&format!("[[route]]\nhosts = [\"a.example.com\"]\nbackend = 3000\n{lines}\n"))
}
