//! In which form a client wants the answer (RFC 9110 §12.5.1).

use http::{HeaderMap, header};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A page, for browsers.
    Html,
    /// Lines, for curl and whoever does not say.
    Text,
    /// For programs.
    Json,
}

/// What `Accept` ranks highest; among equals what it names most exactly, then what it names first. Text where
/// it names nothing that there is, as curl's `*/*`.
pub(super) fn preferred(headers: &HeaderMap) -> Format {
    let ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0, 0, Format::Text);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (exactness, format) = match &*media {
            "text/html" | "application/xhtml+xml" => (3, Format::Html),
            "application/json" => (3, Format::Json),
            "text/plain" => (3, Format::Text),
            "application/*" => (2, Format::Json),
            "text/*" => (2, Format::Text),
            "*/*" => (1, Format::Text),
            _ => continue,
        };
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1000, thousandths);
        if (weight, exactness) > (best.0, best.1) {
            best = (weight, exactness, format);
        }
    }
    best.2
}

/// A weight (`0`, `0.8`, `1.000`) in thousandths; what is no weight counts as 0.
fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "0" => fraction,
        "1" => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_curl_text_and_programs_json() {
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
        for (accept, format) in [
            (Some(chromium), Format::Html),
            (Some("*/*"), Format::Text),
            (None, Format::Text),
            (Some("application/json"), Format::Json),
            (Some("Application/JSON; charset=utf-8"), Format::Json),
            (Some("application/json, text/plain, */*"), Format::Json),
            (Some("text/html;q=0.5, application/json;q=0.9"), Format::Json),
            (Some("text/html;q=0, */*;q=0.1"), Format::Text),
            (Some("*/*, text/html"), Format::Html),
            (Some("image/png"), Format::Text),
            (Some("text/html;q=nonsense, application/json;q=0.001"), Format::Json),
            (Some(",;,"), Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            }
            assert_eq!(preferred(&headers), format, "{accept:?}");
        }
    }
}
