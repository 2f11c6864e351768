//! Where doorward keeps what it made. Floor 3.
