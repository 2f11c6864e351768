//! TLS with clients: the ClientHello, the certificate, the handshake, tickets. Floor 5.
