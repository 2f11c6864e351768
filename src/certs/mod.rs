//! Certificates: from PEM to what a handshake is answered with. Floor 4.
