//! The proxy: one request from the client's door to the backend and back. Floor 5.
