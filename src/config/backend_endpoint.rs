//! `endpoints` of a backend: addresses with or without a scheme, or tables that say more.

use toml::de::DeValue;

use super::backend::BackendProtocol;
use super::backend_address::{self, BackendAddress};
use super::reader::{Item, Reading};
use super::source::Place;

/// What a backend looks like in the config.
pub(super) const EXAMPLE: &str = "\"127.0.0.1:3000\"";

/// One of a backend's endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: BackendAddress,
    /// `weight`: its share among the others; 0: as `drain`; default 1.
    pub weight: u16,
    /// `backup`: used where no other can be; default false.
    pub backup: bool,
    /// `drain`: takes no new requests but of clients that stick to it; default false.
    pub drain: bool,
    /// `addresses`: what the addresses of its name are, default each an endpoint; meaningless without a name.
    pub addresses: Addresses,
}

/// What the addresses are to which a name leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Each is an endpoint: another machine with the same app.
    #[default]
    Each,
    /// All together are one endpoint, and a connection goes to whichever takes it.
    One,
}

/// The words of [`Addresses`].
pub(super) const ADDRESSES: [(&str, Addresses); 2] = [("each", Addresses::Each), ("one", Addresses::One)];

impl Endpoint {
    /// An endpoint with every default.
    #[must_use]
    pub fn new(address: BackendAddress) -> Self {
        Self { address, weight: 1, backup: false, drain: false, addresses: Addresses::default() }
    }
}

/// An endpoint, what its scheme says, and where it is written.
pub(super) struct ReadEndpoint {
    pub(super) endpoint: Endpoint,
    pub(super) protocol: Option<BackendProtocol>,
    pub(super) place: Place,
}

/// One address, or a list of them.
pub(super) fn read(item: &Item<'_>) -> Option<Vec<ReadEndpoint>> {
    let list = match item.value.get_ref() {
        DeValue::Array(_) => item.some("backend", EXAMPLE, &format!("as in [{EXAMPLE}]"), read_endpoint)?,
        _ => vec![read_endpoint(item)?],
    };
    for (index, read) in list.iter().enumerate() {
        let address = &read.endpoint.address;
        if list[..index].iter().any(|other| other.endpoint.address == *address) {
            let remedy = "remove one of them; for a greater share write weight = 2 for the other";
            item.reading.fault(&read.place, format!("{address} is listed twice"), remedy);
        }
    }
    Some(list)
}

fn read_endpoint(item: &Item<'_>) -> Option<ReadEndpoint> {
    let DeValue::Table(_) = item.value.get_ref() else {
        let (protocol, address) = read_address(item)?;
        return Some(ReadEndpoint { endpoint: Endpoint::new(address), protocol, place: item.place() });
    };
    let mut section = item.section()?;
    let place = section.place_of("address");
    let (protocol, address) = section.required("address", EXAMPLE, read_address)?;
    let mut endpoint = Endpoint::new(address);
    section
        .set("weight", &mut endpoint.weight, |item| item.integer(0..=1000))
        .set("backup", &mut endpoint.backup, Item::boolean)
        .set("drain", &mut endpoint.drain, Item::boolean)
        .set("addresses", &mut endpoint.addresses, |item| item.choice(&ADDRESSES));
    if !matches!(endpoint.address, BackendAddress::Name(..)) {
        let remedy = "remove addresses, or write a name and a port, as in \"app.internal:8080\"";
        section.refuse("addresses", &format!("{} is no name with addresses", endpoint.address), remedy);
    }
    section.finish();
    Some(ReadEndpoint { endpoint, protocol, place })
}

fn read_address(item: &Item<'_>) -> Option<(Option<BackendProtocol>, BackendAddress)> {
    let text = match item.value.get_ref() {
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::String(_) => item.text()?,
        _ => return item.wrong_type("a backend's address", "\"127.0.0.1:3000\""),
    };
    match BackendAddress::parse(&text) {
        Ok(parsed) => Some(parsed),
        Err(error) => item.fault(error.to_string(), backend_address::remedy(&error)),
    }
}

/// What the endpoints' schemes say, none where they have none; they have to agree.
#[expect(clippy::option_option, reason = "the outer one is absent where a fault was reported")]
pub(super) fn shared_protocol(item: &Item<'_>, endpoints: &[ReadEndpoint]) -> Option<Option<BackendProtocol>> {
    let written = |read: &ReadEndpoint| match (&read.endpoint.address, read.protocol) {
        (BackendAddress::Unix(_) | BackendAddress::Service(_), _) => None,
        (_, protocol) => protocol,
    };
    let mut protocols = endpoints.iter().filter_map(written);
    let first = protocols.next();
    if let Some(other) = protocols.find(|protocol| Some(*protocol) != first) {
        let first = first.unwrap_or_default().word();
        let remedy = "use one scheme, or make two backends";
        return item.fault(format!("one endpoint is {first}://, another {}://", other.word()), remedy);
    }
    Some(first)
}

/// Warns of endpoints that get nothing new, all of them, and of backups of nobody.
pub(super) fn warn(reading: &Reading, place: &Place, endpoints: &[Endpoint]) {
    if endpoints.iter().all(|endpoint| endpoint.drain || endpoint.weight == 0) {
        let remedy = "take drain = true or weight = 0 from one of them, if that is not meant";
        reading.warning(place, "all endpoints are drained: requests get 503", remedy);
    }
    if endpoints.iter().all(|endpoint| endpoint.backup) {
        let remedy = "take backup = true from those that are to be used first";
        reading.warning(place, "all endpoints are backups, so none of them is one", remedy);
    }
}
