"""Who is compared, each with the config that serves it best and the others fairly."""

from __future__ import annotations

from .base import Contender, Place
from .caddy import Caddy
from .doorward import Doorward
from .haproxy import Haproxy
from .nginx import Nginx

PEERS: dict[str, type[Contender]] = {"nginx": Nginx, "haproxy": Haproxy, "caddy": Caddy}

__all__ = ["Caddy", "Contender", "Doorward", "Haproxy", "Nginx", "PEERS", "Place"]
