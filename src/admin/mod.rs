//! The admin socket: what a running doorward tells and takes. Floor 6.
