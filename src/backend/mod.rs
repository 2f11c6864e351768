//! Backends: endpoints, pools of connections, one exchange with an app. Floor 3.
