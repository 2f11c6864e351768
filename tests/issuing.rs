//! How certificates are got, against real pebble: challenges, several issuers, budgets, on demand.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub, dead_code)]

#[path = "acme_support/mod.rs"]
mod support;

use std::sync::Arc;

use doorward::acme::State;
use doorward::config::{self, Challenge};

use support::front::Front;
use support::node::{Node, folder, open};
use support::pebble::{Options, Pebble};

fn by(acme: config::Acme, challenges: &[Challenge]) -> config::Acme {
    config::Acme { challenges: challenges.to_vec(), ..acme }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_addresses_are_proven_by_handshakes() {
    let pebble = Pebble::start(Options::default()).await;
    let (folder, storage) = folder();
    let acme = by(pebble.acme(), &[Challenge::TlsAlpn01]);
    let lists: &[&[&str]] = &[&["alpn.test", "www.alpn.test"], &["127.0.0.1"]];
    let node = Node::wanting(storage, &pebble.responder, acme.clone(), lists).await;
    for list in lists {
        let served = node.serves(list).await;
        assert!(list.iter().all(|name| served.covers(name)), "{list:?}");
    }
    drop(node);

    // Port 443 leads to another node of the cluster: it answers from the storage.
    let first = Node::wanting(open(&folder), &pebble.responder, acme.clone(), &[]).await;
    let second = Node::wanting(open(&folder), &pebble.responder, acme.clone(), &[]).await;
    let names: &[&str] = &["cluster.test"];
    first.manager.update(Some(acme), vec![support::node::wanted(names)], &[]);
    first.serves(names).await;
    second.serves(names).await;
}
