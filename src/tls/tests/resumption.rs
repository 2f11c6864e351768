//! Sessions that go on: for their name and policy, and for their time.

use super::*;

#[tokio::test]
async fn a_session_resumes_for_its_name_and_policy_only() {
    let world = World::new();
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(world.client(&[version]));
        let acceptor = world.plain();
        assert!(!info(&acceptor, &config, "a.example").await.resumed);
        let again = connect(&acceptor, &config, "a.example").await.0.expect("a handshake");
        assert_eq!((again.info.resumed, again.outcome()), (true, "resumed"), "{version:?}");
        assert_eq!(id(&again.info), "a");
        // Workers share the tickets: another acceptor with the same policy opens them.
        assert!(info(&world.plain(), &config, "a.example").await.resumed);
        // Another policy does not.
        let other = world.acceptor(&TlsOptions { http2: false, ..TlsOptions::default() }, None);
        assert!(!info(&other, &config, "a.example").await.resumed);
        let config = Arc::new(world.client(&[version]));
        assert!(!info(&acceptor, &config, "a.example").await.resumed);
        assert!(!info(&world.acceptor(&TlsOptions::default(), Some("b")), &config, "a.example").await.resumed);
    }
}

/// Makes the client offer a session of `x.wild.example` to `y.wild.example`, by one store for all names.
#[derive(Debug)]
struct AnyName(Arc<dyn client_store::Store>);

mod client_store {
    pub(super) use rustls::client::ClientSessionStore as Store;
}

impl client_store::Store for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(any(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&any())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: rustls::client::Tls12ClientSessionValue) {
        self.0.set_tls12_session(any(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&any())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&any());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: rustls::client::Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any())
    }
}

fn any() -> ServerName<'static> {
    ServerName::try_from("any.example").expect("a name")
}

#[tokio::test]
async fn a_session_of_one_name_does_not_resume_on_another() {
    let world = World::new();
    for version in [&TLS13, &TLS12] {
        let mut config = world.client(&[version]);
        let store = Arc::new(rustls::client::ClientSessionMemoryCache::new(16));
        config.resumption = Resumption::store(Arc::new(AnyName(store)));
        let config = Arc::new(config);
        let acceptor = world.plain();
        assert!(!info(&acceptor, &config, "x.wild.example").await.resumed);
        assert!(!info(&acceptor, &config, "y.wild.example").await.resumed, "{version:?}");
        assert!(info(&acceptor, &config, "y.wild.example").await.resumed, "the client does offer its sessions");
    }
}

#[tokio::test]
async fn without_a_name_a_session_is_bound_to_the_address() {
    let world = World::new();
    world.serve("ips", Order::new(&["192.0.2.1", "192.0.2.2"]));
    let config = Arc::new(world.client(&[&TLS13]));
    let acceptor = world.acceptor(&TlsOptions::default(), Some("ips"));
    let resumed = async |ip| {
        let (served, _) = connect_at(&acceptor, &config, "192.0.2.1", local(ip)).await;
        served.expect("a handshake").info.resumed
    };
    assert!(!resumed([192, 0, 2, 1]).await);
    assert!(resumed([192, 0, 2, 1]).await);
    assert!(!resumed([192, 0, 2, 2]).await);
}

#[tokio::test]
async fn keys_rotate_and_old_tickets_end_in_full_handshakes() {
    let world = World::new();
    let hour = 3600;
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(world.client(&[version]));
        let acceptor = world.plain();
        info(&acceptor, &config, "a.example").await;
        world.now.fetch_add(7 * hour, Ordering::Relaxed);
        assert!(info(&acceptor, &config, "a.example").await.resumed, "under the key before");
        world.now.fetch_add(19 * hour, Ordering::Relaxed);
        assert!(!info(&acceptor, &config, "a.example").await.resumed, "the key is gone");
        assert!(info(&acceptor, &config, "a.example").await.resumed);
        // A clock that was set right: what was sealed while it was ahead is of no use, nor its key.
        world.now.fetch_sub(30 * hour, Ordering::Relaxed);
        assert!(!info(&acceptor, &config, "a.example").await.resumed, "a key from what is the future now");
        assert!(info(&acceptor, &config, "a.example").await.resumed);
        world.now.fetch_sub(hour, Ordering::Relaxed);
        assert!(info(&acceptor, &config, "a.example").await.resumed, "a small step back is none");
        world.now.fetch_add(100 * hour, Ordering::Relaxed);
        info(&acceptor, &config, "a.example").await;
    }
}
