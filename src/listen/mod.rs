//! Listeners: accept loops and the whole trip of a connection. Floor 6.
