//! Sockets and what travels over them. Floor 2.

pub mod systemd;
