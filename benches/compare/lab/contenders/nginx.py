"""nginx."""

from __future__ import annotations

import signal

from ..process import Process
from .base import GROUP, KEEP_ALIVE_SECONDS, BACKEND_CONNECTIONS, TLS12_CIPHERS, TLS13_CIPHERS, Contender, Place


class Nginx(Contender):
    def version(self) -> str:
        return self.say("-v").removeprefix("nginx version: ")

    def prepare(self, place: Place) -> list[str]:
        config = place.home / "nginx.conf"
        names = sorted(folder.name for folder in (place.certs / "folders").iterdir())
        servers = "".join(
            f"""
    server {{
        listen 127.0.0.1:{place.port} ssl http2;
        server_name {name};
        ssl_certificate {place.certs}/folders/{name}/fullchain.pem;
        ssl_certificate_key {place.certs}/folders/{name}/privkey.pem;
        include {place.home}/proxy.conf;
    }}
"""
            for name in names
        )
        (place.home / "proxy.conf").write_text(PROXY)
        longest = max(len(name) for name in names)
        config.write_text(
            f"""\
worker_processes {place.workers};
daemon off;
pid {place.home}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {2 * place.connections + 1_024};
events {{
    worker_connections {2 * place.connections};
}}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout {place.keep_alive}s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    client_body_temp_path {place.home}/body;
    proxy_temp_path {place.home}/proxy;
    fastcgi_temp_path {place.home}/fastcgi;
    uwsgi_temp_path {place.home}/uwsgi;
    scgi_temp_path {place.home}/scgi;
    server_names_hash_max_size {max(512, 4 * len(names))};
    server_names_hash_bucket_size {64 if longest < 40 else 128};

    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers {TLS12_CIPHERS};
    ssl_conf_command Ciphersuites {TLS13_CIPHERS};
    ssl_ecdh_curve {GROUP};
    ssl_session_cache shared:tls:10m;
    ssl_session_tickets on;

    http2_max_concurrent_streams 128;
    http2_chunk_size 16k;

    upstream app {{
        server 127.0.0.1:{place.backend};
        keepalive {BACKEND_CONNECTIONS};
        keepalive_requests 1000000000;
        keepalive_timeout {KEEP_ALIVE_SECONDS}s;
    }}
{servers}}}
"""
        )
        return [self.program, "-c", str(config), "-p", str(place.home)]

    def reload(self, process: Process, place: Place) -> None:
        process.signal(signal.SIGHUP)


PROXY = """\
location / {
    proxy_pass http://app;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 8 64k;
    proxy_busy_buffers_size 128k;
}
"""
