//! ACME (RFC 8555): who needs a certificate, when, and how one is got. Floor 5.
