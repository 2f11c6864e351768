"""The app behind all contenders: nginx, on the load's core."""

from __future__ import annotations

from pathlib import Path

from .contenders.base import KEEP_ALIVE_SECONDS
from .process import Process, free_port, listens
from .setup import find

FILES = {"1m": 1 << 20, "100m": 100 << 20}
SMALL = "x" * (1 << 10)


class Backend(Process):
    """Answers `/tiny`, `/1k`, `/1m`, `/100m`, and `/upload` once all of a body is there."""

    def __init__(self, home: Path, core: int):
        home.mkdir(parents=True)
        for name, size in FILES.items():
            with (home / name).open("wb") as file:
                # A hole costs no memory until it is read, and reads as any file does.
                file.truncate(size)
        self.port = free_port()
        config = CONFIG.format(home=home, port=self.port, idle=2 * KEEP_ALIVE_SECONDS, small=SMALL)
        (home / "nginx.conf").write_text(config)
        program = find("nginx") or "nginx"
        super().__init__([program, "-c", str(home / "nginx.conf"), "-p", str(home)], {core}, home / "log")
        self.wait_for(lambda: listens(self.port), "the backend")


CONFIG = """\
worker_processes 1;
daemon off;
pid {home}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events {{
    worker_connections 8192;
}}
http {{
    access_log off;
    server_tokens off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout {idle}s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_buffer_size 16m;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    open_file_cache max=16 inactive=1h;

    upstream end {{
        server unix:{home}/end.sock;
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen unix:{home}/end.sock;
        return 200 "ok";
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {home};
        default_type application/octet-stream;
        location = /tiny {{
            return 200 "ok";
        }}
        # Head and body in one piece, as apps send what is small; a file's would come in two.
        location = /1k {{
            return 200 "{small}";
        }}
        # Only what is proxied is read to its end before it is answered.
        location = /upload {{
            proxy_pass http://end/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
}}
"""
