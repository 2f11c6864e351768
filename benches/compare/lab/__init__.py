"""The comparison of doorward with nginx, HAProxy and Caddy. `../run` is the command."""
