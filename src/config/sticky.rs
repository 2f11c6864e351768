//! `sticky` of a backend: a client stays with the endpoint that it was given first, known by a cookie.

use std::time::Duration;

use super::reader::{Item, Section};

/// `sticky`: the cookie, as `Set-Cookie` says it (RFC 6265 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sticky {
    /// `cookie`: its name, default `doorward`, and the backend's name where it has one.
    pub cookie: String,
    /// `path`, default `/`.
    pub path: String,
    /// `lifetime`: how long clients keep it (`Max-Age`); renewed after half of it. None: until the browser is closed.
    pub lifetime: Option<Duration>,
    /// `secure`: sent back over TLS only; none: where the request that it answers came over TLS.
    pub secure: Option<bool>,
    /// `http_only`: kept from scripts, default true.
    pub http_only: bool,
    /// `same_site`, default `lax`.
    pub same_site: SameSite,
}

/// Which requests of other sites' pages carry the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// None.
    Strict,
    /// Those that lead the user here.
    #[default]
    Lax,
    /// All.
    None,
}

/// The words of [`SameSite`].
pub(super) const SAME_SITE: [(&str, SameSite); 3] =
    [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];

impl Default for Sticky {
    fn default() -> Self {
        Self {
            cookie: String::new(),
            path: "/".to_owned(),
            lifetime: None,
            secure: None,
            http_only: true,
            same_site: SameSite::default(),
        }
    }
}

/// Names the cookie of a backend where the config does not.
pub(super) fn name_cookie(sticky: &mut Option<Sticky>, backend: &str) {
    if let Some(sticky) = sticky.as_mut().filter(|sticky| sticky.cookie.is_empty()) {
        let mark = if backend.is_empty() { "" } else { "_" };
        sticky.cookie = format!("doorward{mark}{backend}");
    }
}

/// Reads `sticky`.
pub(super) fn read(mut section: Section<'_>) -> Sticky {
    let mut sticky = Sticky::default();
    let range = Duration::from_secs(1)..=Duration::from_secs(400 * 24 * 3600);
    section
        .set("cookie", &mut sticky.cookie, read_name)
        .set("path", &mut sticky.path, read_path)
        .set("lifetime", &mut sticky.lifetime, |item| item.duration(range).map(Some))
        .set("secure", &mut sticky.secure, |item| item.boolean().map(Some))
        .set("http_only", &mut sticky.http_only, Item::boolean)
        .set("same_site", &mut sticky.same_site, |item| item.choice(&SAME_SITE));
    if sticky.same_site == SameSite::None && sticky.secure == Some(false) {
        let message = "browsers refuse a cookie with same_site = \"none\" that is not secure";
        section.refuse("secure", message, "remove secure, or choose same_site = \"lax\"");
    }
    section.finish();
    sticky
}

fn read_name(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    if http::HeaderName::from_bytes(text.as_bytes()).is_err() {
        let remedy = "use letters, digits, - and _, as in \"shop_node\"";
        return item.fault(format!("{:?} cannot be a cookie's name", item.written()), remedy);
    }
    Some(text)
}

fn read_path(item: &Item<'_>) -> Option<String> {
    let text = item.words()?;
    if !text.starts_with('/') || !text.chars().all(|c| c.is_ascii_graphic() && c != ';') {
        let remedy = "start with /, without a semicolon, as in \"/app\"";
        return item.fault(format!("{:?} is not a cookie's path", item.written()), remedy);
    }
    Some(text)
}
