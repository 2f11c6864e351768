//! The public suffix list.
//!
//! A crate of its own, as `psl` is a function for each part of the list, and all of them are generic: whoever calls it
//! compiles the list.

/// The part of a name that somebody registered, as `example.co.uk` of `www.example.co.uk`; none of a public suffix.
#[must_use]
pub fn registered_domain(name: &str) -> Option<&str> {
    psl::domain_str(name)
}
