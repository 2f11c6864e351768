//! The DNS room against real parts: BIND with TSIG, pebble that resolves through it, moto's Route 53 and STS.
//! PowerDNS stands for the providers of the `dns-update` crate. Cloudflare is a fake (`dns_support::cloudflare`), named so.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "acme_support/mod.rs"]
mod acme;
#[path = "dns/commands.rs"]
mod commands;
#[path = "dns/generic.rs"]
mod generic;
#[path = "dns/interrupts.rs"]
mod interrupts;
#[path = "dns_support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use doorward::acme::State;
use doorward::config::{DnsProvider as Known, DnsSolver};
use doorward::dns::aws::{Aws, Credentials, Environment, Settings, sign};
use doorward::dns::{Change, DnsProvider, Intent, Resolver, Solvers, TxtRecord, connect};
use doorward::storage::{MemoryStorage, Storage, keys};

use acme::node::{Node, folder, open, wanted};
use acme::pebble::{Options, Pebble};
use support::bind::{Bind, OTHER, ZONE};
use support::cloudflare::{Cloudflare, KEY, TOKEN};
use support::moto::{Moto, python};

fn record(name: &str, value: &str) -> TxtRecord {
    TxtRecord { name: name.parse().expect("a name"), value: value.to_owned() }
}

fn solver(provider: &str, zone: &str, settings: &[(&str, &str)]) -> DnsSolver {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let zones = vec![zone.parse().expect("a zone")];
    DnsSolver::new("1".to_owned(), Known::find(provider).expect("known"), zones, settings).expect("sound")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bind_takes_updates_that_are_signed_and_keeps_the_values_of_others() {
    let bind = Bind::start().await;
    let name = format!("_acme-challenge.many.{ZONE}");
    let provider = connect(&bind.solver("1", &[ZONE]), &bind.resolver()).unwrap();
    for value in ["one", "two", "two"] {
        provider.add(&record(&name, value), 30).await.unwrap();
    }
    assert_eq!(bind.values(&name).await, ["one", "two"]);
    provider.remove(&record(&name, "one")).await.unwrap();
    provider.remove(&record(&name, "never there")).await.unwrap();
    assert_eq!(bind.values(&name).await, ["two"]);

    let refused = async |key: &str, name: &str| {
        let provider = connect(&bind.solver_with("1", &[ZONE], key), &bind.resolver()).unwrap();
        provider.add(&record(name, "x"), 30).await.expect_err("refused").to_string()
    };
    assert!(refused("acme:d3Jvbmc=", &name).await.contains("is another one than ours"));
    assert!(refused("nobody:d3Jvbmc=", &name).await.contains("has no key nobody."));
    assert!(refused(support::bind::KEY, "_acme-challenge.example.com").await.contains("no zone for"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_awaited_at_the_servers_of_its_zone_with_a_deadline() {
    let (bind, behind) = tokio::join!(Bind::start(), Bind::start());
    let name = format!("_acme-challenge.{ZONE}");
    let solvers = Solvers::new(Arc::new(MemoryStorage::new()), bind.resolver());
    let mut config = bind.solver("1", &[ZONE]);
    config.propagation_timeout = Duration::from_secs(2);
    solvers.configure(&[config.clone()], bind.resolver());
    let base = ZONE.parse().unwrap();
    let (solver, target) = solvers.place(&base).await.unwrap();
    assert_eq!(target.as_str(), name);
    // Found by the zone's NS records.
    let presented = solvers.present(solver, record(&name, "v"), "token", "lock").await.unwrap();
    let seen = solvers.wait_for(&presented).await.unwrap();
    assert!(seen.len() == 1 && seen[0].seen && seen[0].server.starts_with("ns.example.org"), "{seen:?}");

    // One of two servers never has it.
    config.nameservers = vec![bind.address(), behind.address()];
    solvers.configure(&[config], bind.resolver());
    let (solver, _) = solvers.place(&base).await.unwrap();
    let presented = solvers.present(solver, record(&name, "w"), "token-2", "lock").await.unwrap();
    let begin = tokio::time::Instant::now();
    let error = solvers.wait_for(&presented).await.expect_err("one lacks it").to_string();
    assert!(
        error.contains(&behind.address().to_string()) && !error.contains(&format!("{} ", bind.address())),
        "{error}"
    );
    assert!(begin.elapsed() < Duration::from_secs(4));
    solvers.withdraw_all("lock").await;
    assert_eq!(bind.values(&name).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pebble_issues_wildcards_by_dns_01_also_where_the_challenge_is_delegated() {
    let bind = Bind::start().await;
    let pebble = Pebble::start(Options { dns: Some(bind.address()), ..Options::default() }).await;
    let (_folder, storage) = folder();
    let node = Node::new(Arc::clone(&storage), &pebble.responder).await;
    node.dns.configure(&[bind.solver("org", &[ZONE]), bind.solver("net", &[OTHER])], bind.resolver());
    // Two values at one name; a wildcard beside a name that goes by HTTP-01; and a CNAME into the other zone.
    let lists: &[&[&str]] =
        &[&["*.example.org", "example.org"], &["www.example.org", "*.apps.example.org"], &["*.delegated.example.org"]];
    node.manager.update(Some(pebble.acme()), lists.iter().map(|list| wanted(list)).collect(), &[]);
    for list in lists {
        let served = node.serves(list).await;
        assert!(served.covers_all(&wanted(list).names), "{list:?}");
        node.reaches(list, State::Valid).await;
    }
    assert!(bind.log().contains("updating zone 'acme.example.net/IN'"), "the delegated answer went to the other zone");
    for name in ["example.org", "apps.example.org", "delegated.example.org"] {
        assert_eq!(bind.values(&format!("_acme-challenge.{name}")).await, [""; 0], "{name} is clean");
    }
    assert_eq!(bind.values(&format!("delegated.{OTHER}")).await, [""; 0]);
    assert_eq!(storage.list(keys::DNS_RECORDS).await.unwrap(), [], "nothing is left to remove");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_without_a_solver_says_what_is_missing_and_goes_on_once_it_is_there() {
    let bind = Bind::start().await;
    let pebble = Pebble::start(Options { dns: Some(bind.address()), ..Options::default() }).await;
    let (_folder, storage) = folder();
    let node = Node::new(Arc::clone(&storage), &pebble.responder).await;
    let names: &[&str] = &["*.example.org"];
    node.manager.update(Some(pebble.acme()), vec![wanted(names)], &[]);
    let status = node.reaches(names, State::Failing).await;
    let error = status.last_error.expect("said");
    assert!(error.contains("a wildcard needs a DNS solver for its zone"), "{error}");
    node.dns.configure(&[bind.solver("1", &[ZONE])], bind.resolver());
    node.serves(names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_removed_after_a_crash_but_not_while_somebody_needs_them() {
    let bind = Bind::start().await;
    let name = format!("_acme-challenge.{ZONE}");
    let (folder, storage) = folder();
    let solvers = || async {
        let solvers = Arc::new(Solvers::new(open(&folder), bind.resolver()));
        solvers.configure(&[bind.solver("1", &[ZONE])], bind.resolver());
        solvers
    };
    let before = solvers().await;
    let lease = storage.lock("acme-x").await.unwrap();
    let (solver, _) = before.place(&ZONE.parse().unwrap()).await.unwrap();
    before.present(Arc::clone(&solver), record(&name, "mine"), "t1", "acme-x").await.unwrap();
    before.present(solver, record(&name, "gone"), "t2", "acme-y").await.unwrap();
    // What another process wrote in between is none of ours.
    let other = connect(&bind.solver("o", &[ZONE]), &bind.resolver()).unwrap();
    other.add(&record(&name, "others"), 60).await.unwrap();
    drop(before);

    let after = solvers().await;
    let events = after.load().await.unwrap();
    let (drain, watch) = doorward::drain::channel();
    let following = tokio::spawn(async move { after.follow(events, watch).await });
    let values = async || bind.values(&name).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while values().await != ["mine", "others"] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", values().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Intent::all(&*storage).await.unwrap().len(), 1);
    // Its maker ends without a word; the last sweep comes with the drain.
    drop(lease);
    assert!(drain.drain(Duration::from_secs(5)).await);
    following.await.unwrap();
    assert_eq!(values().await, ["others"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn route_53_has_what_was_written_and_nobody_elses_value_is_lost() {
    let moto = Moto::start().await;
    let zone = moto.boto3(
        "for name in ['example.org', 'apps.example.org', 'zzz.org']:\n  z = r53.create_hosted_zone(Name=name, CallerReference=name)\n  if name == 'apps.example.org': print(z['HostedZone']['Id'].split('/')[-1])",
    );
    let keys = [("access_key_id", "AKIAIOSFODNN7EXAMPLE"), ("secret_access_key", "x"), ("endpoint", &moto.endpoint)];
    // By name: the longest zone that there is.
    let config = solver("route53", ZONE, &keys);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let solvers = Arc::new(Solvers::new(Arc::clone(&storage), Resolver::new(&["127.0.0.1:9".parse().unwrap()])));
    solvers.configure(&[config], Resolver::new(&["127.0.0.1:9".parse().unwrap()]));
    let name = "_acme-challenge.x.apps.example.org";
    let list = format!(
        "sets = r53.list_resource_record_sets(HostedZoneId='{zone}')['ResourceRecordSets']\nprint(sorted(v['Value'] for s in sets if s['Type'] == 'TXT' and s['Name'] == '{name}.' for v in s['ResourceRecords']))"
    );
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let solvers = Arc::clone(&solvers);
        writers.spawn(async move {
            let solver = solvers.covering(&name.parse().unwrap()).unwrap();
            let (value, token) = (format!("v{number}"), format!("t{number}"));
            solvers.present(solver, record(name, &value), &token, "lock").await.unwrap();
        });
    }
    assert_eq!(writers.join_all().await.len(), 8);
    let all: Vec<_> = (0..8).map(|number| format!("'\"v{number}\"'")).collect();
    assert_eq!(moto.boto3(&list), format!("[{}]", all.join(", ")), "eight at once, and eight are there");
    solvers.withdraw("t3").await.unwrap();
    assert!(!moto.boto3(&list).contains("v3"));

    // By id, until INSYNC; another's value stays.
    let config = solver("route53", ZONE, &[&keys[..], &[("hosted_zone_id", zone.as_str())]].concat());
    let provider: Arc<dyn DnsProvider> = connect(&config, &Resolver::new(&[])).unwrap();
    let change: Change = provider.add(&record(name, "w"), 60).await.unwrap().expect("a change");
    provider.in_force(&change).await.unwrap();
    solvers.withdraw_all("lock").await;
    assert_eq!(moto.boto3(&list), "['\"w\"']");
    provider.remove(&record(name, "w")).await.unwrap();
    assert_eq!(moto.boto3(&list), "[]");
    let error = provider.add(&record("_acme-challenge.example.com", "v"), 60).await.expect_err("not in that zone");
    assert!(
        error.to_string().contains("Route 53 refused to change _acme-challenge.example.com: InvalidChangeBatch"),
        "{error}"
    );
    let lost = connect(&solver("route53", "example.com", &keys), &Resolver::new(&[])).unwrap();
    let error = lost.add(&record("_acme-challenge.example.com", "v"), 60).await.expect_err("no zone").to_string();
    assert!(error.contains("Route 53 has no zone for _acme-challenge.example.com"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_assumed_from_wherever_credentials_come() {
    let moto = Moto::start().await;
    let identity = moto.aws().identity().await.unwrap();
    assert_eq!(identity.account, "123456789012");
    let role = "arn:aws:iam::123456789012:role/dns";
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let token = write("token", "a.web.token\n");
    let config = write(
        "config",
        &format!(
            "[profile chained]\nrole_arn = {role}\nsource_profile = base\n[profile base]\nregion = eu-west-1\n[profile web]\nrole_arn={role}\nweb_identity_token_file={token}\n"
        ),
    );
    let credentials =
        write("credentials", "[base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = s\n");
    let metadata = Metadata::start().await;
    let access = |settings: Settings, variables: &[(&str, &str)]| {
        let mut variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        variables.push(("AWS_ENDPOINT_URL".to_owned(), moto.endpoint.clone()));
        if !variables.iter().any(|(name, _)| name == "AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            variables.push(("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()));
        }
        let look = move |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Aws::new(settings, Environment::of(look)).unwrap()
    };
    let files = [("AWS_CONFIG_FILE", config.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str())];
    let profile = |name: &str| Settings { profile: Some(name.to_owned()), ..Settings::default() };
    let plain = Settings::default;

    let found = access(plain(), &[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")]).credentials().await;
    assert_eq!(found.unwrap().source, "the environment");
    let found = access(profile("base"), &files).credentials().await.unwrap();
    assert_eq!((found.source, found.id.as_str()), ("the shared files", "AKIAIOSFODNN7EXAMPLE"));
    assert_eq!(access(profile("chained"), &files).credentials().await.unwrap().source, "an assumed role");
    let found = access(profile("web"), &files).credentials().await.unwrap();
    assert!(found.source == "a web identity" && found.token.is_some() && found.expires > Some(SystemTime::now()));
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()), ("AWS_ROLE_ARN", role)];
    assert_eq!(access(plain(), &web).credentials().await.unwrap().source, "a web identity");
    let uri = format!("{}/pod", metadata.endpoint);
    let pod =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)];
    assert_eq!(access(plain(), &pod).credentials().await.unwrap().source, "the container");
    let instance = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint.as_str())];
    let found = access(plain(), &instance).credentials().await.unwrap();
    assert_eq!((found.source, found.token.as_deref()), ("the instance's role", Some("session")));
    // A role on top, and who that is.
    let settings = Settings { role: Some(role.to_owned()), external_id: Some("x".to_owned()), ..plain() };
    let identity = access(settings, &instance).identity().await.unwrap();
    assert!(identity.arn.contains("assumed-role/dns/doorward"), "{identity:?}");
    let error = access(plain(), &[]).credentials().await.expect_err("nowhere").to_string();
    assert!(error.contains("no AWS credentials"), "{error}");
}

/// A fake of the agents that answer on a machine of AWS: EKS Pod Identity at `/pod`, and IMDSv2. Without its token
/// neither answers.
struct Metadata {
    endpoint: String,
}

impl Metadata {
    async fn start() -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
                let keys = "{\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"s\",\"Token\":\"session\",\"Expiration\":\"2999-01-01T00:00:00Z\"}";
                let authorized = text.contains("\r\nx-aws-ec2-metadata-token: imds\r\n");
                let list = "/latest/meta-data/iam/security-credentials/";
                let (status, body) = match text.split(' ').take(2).collect::<Vec<_>>().as_slice() {
                    ["put", "/latest/api/token"] if text.contains("x-aws-ec2-metadata-token-ttl-seconds: ") => {
                        (200, "imds")
                    }
                    ["get", path] if authorized && *path == list => (200, "node-role"),
                    ["get", path] if authorized && *path == format!("{list}node-role") => (200, keys),
                    ["get", "/pod"] if text.contains("\r\nauthorization: a.web.token\r\n") => (200, keys),
                    _ => (401, "no"),
                };
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { endpoint }
    }
}

#[test]
fn requests_are_signed_as_botocore_signs_them() {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let credentials = Credentials {
        id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        token: Some("session/token+with=signs".to_owned()),
        expires: None,
        source: "test",
    };
    for (method, url, body, service) in [
        (
            "GET",
            "https://route53.amazonaws.com/2013-04-01/hostedzonesbyname?dnsname=example.org&maxitems=20",
            "",
            "route53",
        ),
        ("POST", "https://route53.amazonaws.com/2013-04-01/hostedzone/Z1/rrset", "<a>\"b\"</a>", "route53"),
        ("POST", "https://sts.eu-west-1.amazonaws.com/", "Action=GetCallerIdentity&Version=2011-06-15", "sts"),
    ] {
        let mut request = http::Request::builder().method(method).uri(url);
        request = request.header("content-type", "application/xml");
        let mut request = request.body(bytes::Bytes::from_static(body.as_bytes())).unwrap();
        sign(&mut request, &credentials, "eu-west-1", service, time).unwrap();
        let theirs = python(&format!(
            "import datetime, botocore.auth, botocore.awsrequest as r, botocore.credentials as c\n\
             class Fixed(datetime.datetime):\n  \
               @classmethod\n  \
               def utcnow(cls): return cls(2026, 9, 21, 14, 13, 20)\n  \
               @classmethod\n  \
               def now(cls, tz=None): return cls(2026, 9, 21, 14, 13, 20, tzinfo=tz)\n\
             botocore.auth.get_current_datetime = lambda *a, **k: Fixed(2026, 9, 21, 14, 13, 20)\n\
             creds = c.Credentials('{}', '{}', '{}')\n\
             q = r.AWSRequest(method='{method}', url='{url}', data='''{body}''', headers={{'content-type': 'application/xml'}})\n\
             botocore.auth.SigV4Auth(creds, '{service}', 'eu-west-1').add_auth(q)\n\
             print(q.headers['Authorization'].rsplit('Signature=', 1)[1], q.headers['X-Amz-Date'])",
            credentials.id,
            credentials.secret,
            credentials.token.as_deref().unwrap()
        ));
        let (signature, date) = theirs.split_once(' ').unwrap();
        assert_eq!(request.headers()["x-amz-date"], date);
        let ours = request.headers()["authorization"].to_str().unwrap();
        assert!(ours.ends_with(&format!("Signature={signature}")), "{method} {url}: {ours} {theirs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fake_of_cloudflare_is_asked_as_its_api_says() {
    let fake = Cloudflare::start().await;
    let name = "_acme-challenge.a.example.org";
    // Three pages of other people's values.
    fake.seed(name, &["\"o1\"", "\"o2\"", "\"o3\"", "\"o4\"", "\"o5\""]);
    let ways: [&[(&str, &str)]; 2] = [
        &[("api_token", TOKEN), ("endpoint", &fake.endpoint)],
        &[("api_key", KEY.0), ("email", KEY.1), ("endpoint", &fake.endpoint)],
    ];
    for settings in ways {
        let provider = connect(&solver("cloudflare", ZONE, settings), &Resolver::new(&[])).unwrap();
        for _ in 0..2 {
            provider.add(&record(name, "mine"), 30).await.unwrap();
        }
        assert_eq!(fake.contents(name).len(), 6, "once, though it is on the last page");
        assert!(fake.contents(name).contains(&"\"mine\"".to_owned()));
        provider.remove(&record(name, "mine")).await.unwrap();
        provider.remove(&record(name, "mine")).await.unwrap();
        assert_eq!(fake.contents(name).len(), 5);
        let error =
            provider.add(&record("_acme-challenge.example.net", "x"), 60).await.expect_err("no zone").to_string();
        assert!(error.contains("Cloudflare has no zone for"), "{error}");
    }
    assert_eq!(fake.faults(), [""; 0]);
    let stranger = solver("cloudflare", ZONE, &[("api_token", "wrong"), ("endpoint", &fake.endpoint)]);
    let error =
        connect(&stranger, &Resolver::new(&[])).unwrap().add(&record(name, "x"), 60).await.expect_err("refused");
    assert!(error.to_string().contains("Invalid access token (9109)"), "{error}");
}
