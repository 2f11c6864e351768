//! The route table: host, then path. Floor 4; no I/O.
