//! The wiring: from a config to a running doorward. Floor 7.
