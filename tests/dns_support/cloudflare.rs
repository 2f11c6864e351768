//! A fake of Cloudflare's API v4, no more: it checks what a request has to be by the published API
//! (authentication, required parameters, pages), keeps records, and answers in the published shapes.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub const TOKEN: &str = "v1.0-fake-token";
pub const KEY: (&str, &str) = ("fakekey0123456789", "ops@example.org");
/// Zones a page, whatever is asked for: few, so that pages matter.
const PAGE: usize = 2;

pub struct Cloudflare {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Id, name, content.
    records: Vec<(String, String, String)>,
    made: usize,
    faults: Vec<String>,
}

impl Cloudflare {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let endpoint = format!("http://{}/client/v4", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::default()));
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(answer(&state, request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { endpoint, state }
    }

    /// Puts records there, as others would.
    pub fn seed(&self, name: &str, contents: &[&str]) {
        contents.iter().for_each(|content| drop(self.state.lock().expect("not poisoned").add(name, content)));
    }

    pub fn contents(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().expect("not poisoned");
        state.records.iter().filter(|record| record.1 == name).map(|record| record.2.clone()).collect()
    }

    /// Requests that the published API would not take.
    pub fn faults(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").faults.clone()
    }
}

impl State {
    fn add(&mut self, name: &str, content: &str) -> String {
        self.made += 1;
        let id = format!("{:032x}", self.made);
        self.records.push((id.clone(), name.to_owned(), content.to_owned()));
        id
    }
}

async fn answer(state: &Mutex<State>, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut state = state.lock().expect("not poisoned");
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = header("authorization") == format!("Bearer {TOKEN}");
    let key = (header("x-auth-key"), header("x-auth-email")) == KEY;
    let query: Vec<(String, String)> = form(parts.uri.query().unwrap_or_default());
    let get = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let path: Vec<&str> = parts.uri.path().trim_start_matches("/client/v4/").split('/').collect();
    let (status, value) = if !(token || key) {
        (403, failure(9109, "Invalid access token"))
    } else {
        match (&parts.method, path.as_slice()) {
            (&Method::GET, ["zones"]) => {
                let all = ["other.test", "example.com", "example.org"];
                let zones = all.iter().enumerate().filter(|(_, name)| get("name").is_none_or(|asked| asked == **name));
                let zones = zones
                    .map(|(id, name)| json!({ "id": format!("{:032x}", 1000 + id), "name": name, "status": "active" }));
                (200, page(zones.collect(), get("page")))
            }
            (&Method::GET, ["zones", zone, "dns_records"]) if zone.len() == 32 => {
                let is = |record: &&(String, String, String)| {
                    get("name").is_none_or(|name| name == record.1) && get("type").is_none_or(|kind| kind == "TXT")
                };
                let records = state.records.iter().filter(is).map(shown);
                (200, page(records.collect(), get("page")))
            }
            (&Method::POST, ["zones", zone, "dns_records"]) if zone.len() == 32 => {
                let record: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (name, content) = (record["name"].as_str(), record["content"].as_str());
                let ttl = record["ttl"].as_u64().unwrap_or(1);
                match (name, content) {
                    _ if header("content-type") != "application/json" => {
                        (400, failure(6003, "Invalid request headers"))
                    }
                    _ if record["type"] != "TXT" || (ttl != 1 && !(60..=86_400).contains(&ttl)) => {
                        (400, failure(9005, "Content or TTL is invalid"))
                    }
                    (Some(name), Some(content)) if name.ends_with("example.org") => {
                        let id = state.add(name, content);
                        (200, success(json!({ "id": id, "name": name, "type": "TXT", "content": content, "ttl": ttl })))
                    }
                    _ => (400, failure(1004, "DNS Validation Error")),
                }
            }
            (&Method::DELETE, ["zones", _, "dns_records", id]) => {
                let before = state.records.len();
                state.records.retain(|record| record.0 != *id);
                match state.records.len() < before {
                    true => (200, success(json!({ "id": id }))),
                    false => (404, failure(81044, "Record does not exist.")),
                }
            }
            _ => (405, failure(10405, "Method not allowed for this authentication scheme")),
        }
    };
    if status >= 400 && status != 403 {
        state.faults.push(format!("{} {}: {value}", parts.method, parts.uri));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Full::new(Bytes::from(value.to_string()))).expect("an answer")
}

fn shown((id, name, content): &(String, String, String)) -> Value {
    json!({ "id": id, "name": name, "type": "TXT", "content": content, "ttl": 60, "proxied": false })
}

fn page(all: Vec<Value>, number: Option<&str>) -> Value {
    let number: usize = number.and_then(|number| number.parse().ok()).unwrap_or(1).max(1);
    let (count, pages) = (all.len(), all.len().div_ceil(PAGE));
    let items: Vec<Value> = all.into_iter().skip((number - 1) * PAGE).take(PAGE).collect();
    let info =
        json!({ "page": number, "per_page": PAGE, "count": items.len(), "total_count": count, "total_pages": pages });
    json!({ "success": true, "errors": [], "messages": [], "result": items, "result_info": info })
}

fn success(result: Value) -> Value {
    json!({ "success": true, "errors": [], "messages": [], "result": result })
}

fn failure(code: u32, message: &str) -> Value {
    json!({ "success": false, "errors": [{ "code": code, "message": message }], "messages": [], "result": null })
}

fn form(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.replace("%2F", "/"))).collect()
}
