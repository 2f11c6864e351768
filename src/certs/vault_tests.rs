use super::super::testing::{Issued, Order, TestCa};
use super::*;
use crate::storage::MemoryStorage;

fn bundle(issued: &Issued) -> Bundle {
    let text = format!("{}{}", issued.key, issued.certificate);
    Bundle::from_text(CertificateId::new("x"), "x", text.as_bytes(), unix_now()).expect("sound")
}

fn about(since: u64) -> About {
    About { origin: Origin::Imported, since, from: None }
}

#[tokio::test]
async fn what_was_there_is_kept_and_comes_back() {
    let vault = Vault::new(Arc::new(MemoryStorage::new()));
    let ca = TestCa::new("vault");
    let id = CertificateId::new("x");
    let all: Vec<_> = (0..8).map(|_| bundle(&ca.issue(Order::new(&["a.test"])))).collect();
    for (at, bundle) in (100..).zip(&all) {
        vault.put(bundle, &about(at)).await.expect("stored");
    }
    let versions = vault.versions(&id).await.expect("reads");
    assert_eq!(versions.len(), KEPT);
    assert_eq!((versions[0].since, versions[0].until), (106, 107));
    assert_eq!(versions[0].bundle, all[6].pem);

    let back = vault.roll_back::<VaultError>(&id, 200, |_| Ok(())).await.expect("rolled back");
    assert_eq!(back.pem, all[6].pem);
    assert_eq!(vault.bundle(&id).await.expect("there").pem, all[6].pem);
    assert_eq!(vault.about(&id).await.expect("reads"), Some(about(200)));
    let versions = vault.versions(&id).await.expect("reads");
    assert_eq!(versions[0].bundle, all[7].pem, "what was rolled back can be brought back");
    assert!(versions.iter().all(|version| version.bundle != all[6].pem));

    vault.roll_back::<VaultError>(&id, 201, |_| Err(VaultError::Unknown(id.clone()))).await.expect_err("not allowed");
    assert_eq!(vault.bundle(&id).await.expect("there").pem, all[6].pem);

    vault.delete(&id).await.expect("deleted");
    assert!(matches!(vault.bundle(&id).await, Err(VaultError::Unknown(_))));
    let none = vault.roll_back::<VaultError>(&id, 202, |_| Ok(())).await;
    assert!(matches!(none, Err(VaultError::NoVersion(_))));
    assert_eq!(vault.storage().list(keys::CERTIFICATES).await.expect("lists"), []);
}

#[tokio::test]
async fn one_from_a_ca_is_told_from_one_that_was_brought() {
    let vault = Vault::new(Arc::new(MemoryStorage::new()));
    let id = CertificateId::new("x");
    let first = bundle(&TestCa::new("vault").issue(Order::new(&["a.test"])));
    vault.storage().write(&keys::certificate(&id), first.pem.as_bytes()).await.expect("stored");
    let meta = br#"{"issuer":"ca","directory":"https://ca.test/","profile":null,"issued":5,"ari":null}"#;
    vault.storage().write(&keys::certificate_meta(&id), meta).await.expect("stored");
    let generated = About { origin: Origin::Generated, since: 5, from: Some("ca".to_owned()) };
    assert_eq!(vault.about(&id).await.expect("reads"), Some(generated));

    let second = bundle(&TestCa::new("vault").issue(Order::new(&["a.test"])));
    vault.put(&second, &about(9)).await.expect("stored");
    assert_eq!(vault.about(&id).await.expect("reads"), Some(about(9)));
    vault.roll_back::<VaultError>(&id, 10, |_| Ok(())).await.expect("back");
    assert_eq!(vault.about(&id).await.expect("reads").map(|about| about.origin), Some(Origin::Generated));
}

#[tokio::test]
async fn wishes_are_remembered_and_junk_hides_none() {
    let vault = Vault::new(Arc::new(MemoryStorage::new()));
    let wish = Wish {
        id: "cert-1".to_owned(),
        names: vec!["*.a.test".to_owned()],
        issuer: None,
        key: Some("p384".to_owned()),
        profile: None,
        at: 3,
    };
    vault.wish(&wish).await.expect("stored");
    vault.storage().write(&keys::wanted(&CertificateId::new("junk")), b"junk").await.expect("stored");
    assert_eq!(vault.wishes().await.expect("reads"), [wish]);
}
