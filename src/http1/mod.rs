//! HTTP/1.1 as bytes: heads, framing, chunks. Sans-I/O, for both the client's and the backend's side. Floor 2.
