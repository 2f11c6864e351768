//! Every provider of the `dns-update` crate, by one type.
//!
//! A crate of its own, so that its hundreds of requests and answers are compiled beside doorward's other dependencies
//! and not within doorward, whose build everybody waits for. So nothing here is generic, and futures are boxed.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A setting of the provider, by its name.
pub type Settings<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A request under way; the error says what the provider has against it.
pub type Request<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// A provider of `dns-update`. It reads a set of values, changes it and writes it back: whoever calls keeps changes to
/// one name apart.
pub struct Updater(DnsUpdater);

impl Updater {
    /// The provider of this name. Settings that are required are there.
    ///
    /// # Errors
    /// What the crate has against the settings, or that it has no such provider.
    pub fn new(provider: &str, settings: &Settings<'_>) -> Result<Self, String> {
        updater(provider, settings)?.map(Self).map_err(|error| explain(&error))
    }

    /// Adds a TXT value to those of `name` in the zone `origin`.
    #[must_use]
    pub fn add<'a>(&'a self, name: &'a str, ttl: u32, value: &'a str, origin: String) -> Request<'a> {
        Box::pin(async move {
            let values = vec![DnsRecord::TXT(value.to_owned())];
            let added = self.0.add_to_rrset(name, DnsRecordType::TXT, ttl, values, origin).await;
            added.map_err(|error| explain(&error))
        })
    }

    /// Takes a TXT value from those of `name` in the zone `origin`; that it is not there is no error.
    #[must_use]
    pub fn remove<'a>(&'a self, name: &'a str, value: &'a str, origin: String) -> Request<'a> {
        Box::pin(async move {
            let values = vec![DnsRecord::TXT(value.to_owned())];
            match self.0.remove_from_rrset(name, DnsRecordType::TXT, values, origin).await {
                Ok(()) | Err(Error::NotFound) => Ok(()),
                Err(error) => Err(explain(&error)),
            }
        })
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::Unauthorized => "the credentials are not taken".to_owned(),
        Error::NotFound => "it has no such zone or record".to_owned(),
        Error::BadRequest => "it does not understand the request".to_owned(),
        Error::InvalidRegion => "the region is none".to_owned(),
        other => other.to_string(),
    }
}

fn updater(provider: &str, o: &Settings<'_>) -> Result<dns_update::Result<DnsUpdater>, String> {
    let s = |name: &str| o(name).unwrap_or_default();
    let t = Some(TIMEOUT);
    Ok(match provider {
        "alidns" => {
            DnsUpdater::new_alidns(s("access_key"), s("secret_key"), o("region"), o("security_token"), o("line"), t)
        }
        "arvancloud" => DnsUpdater::new_arvancloud(s("api_key"), t),
        "autodns" => DnsUpdater::new_autodns(s("username"), s("password"), number(o, "context")?, t),
        "azuredns" => DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: s("tenant_id"),
            client_id: s("client_id"),
            client_secret: s("client_secret"),
            subscription_id: s("subscription_id"),
            resource_group: s("resource_group"),
            environment: AzureEnvironment::from_str_lossy(&s("environment")),
            request_timeout: t,
        }),
        "baiducloud" => DnsUpdater::new_baiducloud(s("access_key"), s("secret_key"), t),
        "bluecatv2" => DnsUpdater::new_bluecatv2(BluecatV2Config {
            server_url: s("server_url"),
            username: s("username"),
            password: s("password"),
            config_name: s("config_name"),
            view_name: s("view_name"),
            skip_deploy: false,
            request_timeout: t,
        }),
        "bunny" => DnsUpdater::new_bunny(s("api_key"), t),
        "cloudns" => DnsUpdater::new_cloudns(o("auth_id"), o("sub_auth_id"), s("auth_password"), t),
        "constellix" => DnsUpdater::new_constellix(s("api_key"), s("api_secret"), t),
        "cpanel" => DnsUpdater::new_cpanel(s("base_url"), s("username"), s("token"), t),
        "ddnss" => DnsUpdater::new_ddnss(s("api_key"), t),
        "desec" => DnsUpdater::new_desec(s("api_token"), t),
        "digitalocean" => DnsUpdater::new_digitalocean(s("api_token"), t),
        "dnsimple" => DnsUpdater::new_dnsimple(s("api_token"), s("account_id"), t),
        "dnsmadeeasy" => DnsUpdater::new_dnsmadeeasy(s("api_key"), s("api_secret"), t),
        "domeneshop" => DnsUpdater::new_domeneshop(s("api_token"), s("api_secret"), t),
        "dreamhost" => DnsUpdater::new_dreamhost(s("api_key"), t),
        "duckdns" => DnsUpdater::new_duckdns(s("api_token"), t),
        "dynu" => DnsUpdater::new_dynu(s("api_key"), t),
        "easydns" => DnsUpdater::new_easydns(s("token"), s("api_key"), t),
        "edgedns" => DnsUpdater::new_edgedns(EdgeDnsConfig {
            host: s("host"),
            client_token: s("client_token"),
            client_secret: s("client_secret"),
            access_token: s("access_token"),
            account_switch_key: o("account_switch_key"),
            request_timeout: t,
        }),
        "exoscale" => DnsUpdater::new_exoscale(s("api_key"), s("api_secret"), t),
        "freemyip" => DnsUpdater::new_freemyip(s("api_token"), t),
        "gandiv5" => DnsUpdater::new_gandiv5(s("api_token"), t),
        "gcore" => DnsUpdater::new_gcore(s("api_token"), t),
        "glesys" => DnsUpdater::new_glesys(s("username"), s("api_key"), t),
        "godaddy" => DnsUpdater::new_godaddy(s("api_key"), s("api_secret"), t),
        "googleclouddns" => DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: s("service_account_json"),
            project_id: s("project_id"),
            managed_zone: o("managed_zone"),
            private_zone: false,
            impersonate_service_account: o("impersonate_service_account"),
            request_timeout: t,
        }),
        "hetzner" => DnsUpdater::new_hetzner(s("api_token"), t),
        "hostingde" => DnsUpdater::new_hostingde(s("api_key"), t),
        "hostinger" => DnsUpdater::new_hostinger(s("api_token"), t),
        "huaweicloud" => DnsUpdater::new_huaweicloud(s("access_key"), s("secret_key"), s("region"), t),
        "hurricane" => DnsUpdater::new_hurricane(pairs(&s("credentials")), t),
        "ibmcloud" => DnsUpdater::new_ibmcloud(s("username"), s("api_key"), t),
        "infoblox" => DnsUpdater::new_infoblox(InfobloxConfig {
            host: s("host"),
            port: o("port"),
            username: s("username"),
            password: s("password"),
            wapi_version: o("wapi_version"),
            dns_view: o("dns_view"),
            request_timeout: t,
        }),
        "infomaniak" => DnsUpdater::new_infomaniak(s("api_token"), t),
        "inwx" => DnsUpdater::new_inwx(s("username"), s("password"), false, t),
        "ionos" => DnsUpdater::new_ionos(s("api_key"), t),
        "ipv64" => DnsUpdater::new_ipv64(s("api_key"), t),
        "joker" => DnsUpdater::new_joker(
            match o("api_key") {
                Some(key) => JokerAuth::ApiKey(key),
                None => JokerAuth::UsernamePassword { username: s("username"), password: s("password") },
            },
            t,
        ),
        "lightsail" => DnsUpdater::new_lightsail(LightsailConfig {
            access_key_id: s("access_key_id"),
            secret_access_key: s("secret_access_key"),
            session_token: o("session_token"),
            region: o("region"),
            domain: o("domain"),
            request_timeout: t,
        }),
        "linode" => DnsUpdater::new_linode(s("api_token"), t),
        "luadns" => DnsUpdater::new_luadns(s("username"), s("api_token"), t),
        "mythicbeasts" => DnsUpdater::new_mythicbeasts(s("username"), s("password"), t),
        "namecheap" => DnsUpdater::new_namecheap(s("api_user"), s("api_key"), s("client_ip"), o("username"), t),
        "namedotcom" => DnsUpdater::new_namedotcom(s("username"), s("api_token"), t),
        "namesilo" => DnsUpdater::new_namesilo(s("api_key"), t),
        "netcup" => DnsUpdater::new_netcup(s("customer_number"), s("api_key"), s("api_password"), t),
        "netlify" => DnsUpdater::new_netlify(s("api_token"), t),
        "nifcloud" => DnsUpdater::new_nifcloud(s("access_key"), s("secret_key"), t),
        "ns1" => DnsUpdater::new_ns1(s("api_key"), t),
        "oraclecloud" => DnsUpdater::new_oraclecloud(OracleCloudConfig {
            tenancy_ocid: s("tenancy_ocid"),
            user_ocid: s("user_ocid"),
            fingerprint: s("fingerprint"),
            private_key_pem: s("private_key"),
            private_key_password: o("private_key_password"),
            region: s("region"),
            compartment_ocid: s("compartment_ocid"),
            request_timeout: t,
        }),
        "ovh" => DnsUpdater::new_ovh(
            s("application_key"),
            s("application_secret"),
            s("consumer_key"),
            ovh(o("endpoint"))?,
            t,
        ),
        "pdns" => DnsUpdater::new_pdns(s("api_key"), o("endpoint"), o("server_name"), t),
        "plesk" => DnsUpdater::new_plesk(s("base_url"), s("api_key"), t),
        "porkbun" => DnsUpdater::new_porkbun(s("api_key"), s("secret_api_key"), t),
        "safedns" => DnsUpdater::new_safedns(s("api_token"), t),
        "scaleway" => DnsUpdater::new_scaleway(s("api_token"), t),
        "selectel" => DnsUpdater::new_selectel(s("username"), s("password"), s("account_id"), s("project_id"), t),
        "simplycom" => DnsUpdater::new_simplycom(s("account_name"), s("api_key"), t),
        "spaceship" => DnsUpdater::new_spaceship(s("api_key"), s("api_secret"), t),
        "tencentcloud" => {
            DnsUpdater::new_tencentcloud(s("secret_id"), s("secret_key"), o("region"), o("session_token"), t)
        }
        "transip" => DnsUpdater::new_transip(s("login"), s("private_key"), false, t),
        "ultradns" => DnsUpdater::new_ultradns(s("username"), s("password"), o("endpoint"), t),
        "vercel" => DnsUpdater::new_vercel(s("api_token"), o("team_id"), t),
        "volcengine" => DnsUpdater::new_volcengine(VolcengineConfig {
            access_key: s("access_key"),
            secret_key: s("secret_key"),
            region: o("region"),
            host: None,
            scheme: None,
            request_timeout: t,
        }),
        "vultr" => DnsUpdater::new_vultr(s("api_key"), t),
        "websupport" => DnsUpdater::new_websupport(s("api_key"), s("api_secret"), t),
        "yandexcloud" => DnsUpdater::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: s("iam_token"),
            folder_id: s("folder_id"),
            request_timeout: t,
        }),
        "zoneeu" => DnsUpdater::new_zoneeu(s("username"), s("api_key"), t),
        other => return Err(format!("doorward cannot change zones at {other}")),
    })
}

fn number(settings: &Settings<'_>, name: &str) -> Result<Option<u32>, String> {
    let parse = |text: String| text.parse().map_err(|_| format!("{name} = {text:?} is no number"));
    settings(name).map(parse).transpose()
}

fn ovh(endpoint: Option<String>) -> Result<OvhEndpoint, String> {
    let name = endpoint.as_deref().unwrap_or("ovh-eu");
    name.parse().map_err(|_| format!("OVH has no endpoint {name:?}; write ovh-eu, ovh-us or ovh-ca"))
}

/// `HOST=KEY`, one a line or separated by commas.
fn pairs(text: &str) -> HashMap<String, String> {
    let pair = |part: &str| part.split_once('=').map(|(host, key)| (host.trim().to_owned(), key.trim().to_owned()));
    text.split(['\n', ',']).filter_map(pair).collect()
}
