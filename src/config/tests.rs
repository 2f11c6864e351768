//! What a config file may say, and what is said about one that is wrong.

use super::*;

/// The report on a config, with the place of each fault.
fn faults(text: &str) -> Vec<String> {
    parse(text).expect_err("faults").faults.iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_config_has_every_default() {
    let text = r#"
        [[listener]]
        address = ":443"
        [[route]]
        hosts = ["example.com"]
        backend = 3000
    "#;
    let Loaded { config, warnings } = parse(text).expect("a config");
    assert_eq!(warnings, []);
    let address = "[::]:443".parse().expect("an address");
    assert_eq!(*config.listeners[0], Listener::new(address, ListenerProtocol::Https));
    let host = RouteHost::Pattern("example.com".parse().expect("a host"));
    let backend = "127.0.0.1:3000".parse().expect("a backend");
    assert_eq!(*config.routes[0], Route::new(vec![host], vec![backend]));
    assert_eq!(
        config,
        Config {
            file: config.file.clone(),
            files: config.files.clone(),
            watched: config.watched.clone(),
            listeners: config.listeners.clone(),
            routes: config.routes.clone(),
            ..Config::default()
        }
    );
    println!("{}", config.to_toml());
    println!("{:?}", faults("a=1\nlistner=1\n[[route]]"));
}
