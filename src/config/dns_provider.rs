//! [`DnsProvider`]: every DNS provider that a solver can use, and what each has to be told.
//!
//! One catalogue for the config's keys, the command line's options and what is stored. The names of settings
//! are keys in `[[dns]]`; as options they have `-` in place of `_`.

/// A DNS provider, as config and command line know it.
#[derive(Debug)]
pub struct DnsProvider {
    /// What it is called in `provider = "…"` and on the command line.
    pub name: &'static str,
    /// What it can be told.
    pub settings: &'static [DnsSetting],
    /// Groups of settings of which exactly one has to be there, whole.
    pub either: &'static [&'static [&'static str]],
}

/// Something that a provider is told.
#[derive(Debug)]
pub struct DnsSetting {
    /// Its key.
    pub name: &'static str,
    /// Whether it is never shown, and taken from stdin or a file only on the command line.
    pub secret: bool,
    /// Whether nothing works without it.
    pub required: bool,
    /// What it is.
    pub help: &'static str,
}

impl DnsProvider {
    /// The provider of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// All of them; those with code of their own first, the rest by name.
    #[must_use]
    pub fn all() -> &'static [Self] {
        PROVIDERS
    }

    /// The setting of this name.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'static DnsSetting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// Providers are told apart by their names.
impl PartialEq for DnsProvider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for DnsProvider {}

const fn of(name: &'static str, settings: &'static [DnsSetting]) -> DnsProvider {
    DnsProvider { name, settings, either: &[] }
}

/// A secret that has to be there.
const fn key(name: &'static str) -> DnsSetting {
    DnsSetting { name, secret: true, required: true, help: "" }
}

/// A text that has to be there.
const fn text(name: &'static str) -> DnsSetting {
    DnsSetting { name, secret: false, required: true, help: "" }
}

/// A text that may be there.
const fn may(name: &'static str) -> DnsSetting {
    DnsSetting { name, secret: false, required: false, help: "" }
}

/// A secret that may be there.
const fn may_key(name: &'static str) -> DnsSetting {
    DnsSetting { name, secret: true, required: false, help: "" }
}

const fn help(setting: DnsSetting, help: &'static str) -> DnsSetting {
    DnsSetting { help, ..setting }
}

const TOKEN: &[DnsSetting] = &[key("api_token")];
const KEY: &[DnsSetting] = &[key("api_key")];
const KEY_AND_SECRET: &[DnsSetting] = &[key("api_key"), key("api_secret")];
const ACCESS_AND_SECRET: &[DnsSetting] = &[text("access_key"), key("secret_key")];
const USER_AND_KEY: &[DnsSetting] = &[text("username"), key("api_key")];
const USER_AND_PASSWORD: &[DnsSetting] = &[text("username"), key("password")];

static PROVIDERS: &[DnsProvider] = &[
    of(
        "route53",
        &[
            help(may("role"), "ARN of a role to assume through STS"),
            help(may("external_id"), "External id that the role's trust policy asks for"),
            help(may("hosted_zone_id"), "The hosted zone; looked up by name where it is not given"),
            help(
                may("region"),
                "Region to sign for and whose STS to ask (default: from the environment, or us-east-1)",
            ),
            help(may("profile"), "Profile in the shared config and credentials files"),
            help(may("access_key_id"), "Static credentials, in place of the credential chain"),
            help(may_key("secret_access_key"), "The key to access_key_id"),
            help(may("endpoint"), "URL of Route 53 and STS in place of AWS's, as for AWS_ENDPOINT_URL"),
        ],
    ),
    DnsProvider {
        name: "cloudflare",
        settings: &[
            help(may_key("api_token"), "API token with the permissions Zone:Read and DNS:Edit"),
            help(may_key("api_key"), "Global API key; needs email"),
            help(may("email"), "Mail address of the account that api_key is of"),
            help(may("endpoint"), "URL in place of https://api.cloudflare.com/client/v4"),
        ],
        either: &[&["api_token"], &["api_key", "email"]],
    },
    of(
        "rfc2136",
        &[
            help(text("server"), "The primary server: an address or name, and a port where it is not 53"),
            help(key("tsig_key"), "NAME:BASE64 or ALGORITHM:NAME:BASE64 (default hmac-sha256), or a key file of BIND"),
        ],
    ),
    of("alidns", &[text("access_key"), key("secret_key"), may("region"), may_key("security_token"), may("line")]),
    of("arvancloud", KEY),
    of("autodns", &[text("username"), key("password"), may("context")]),
    of(
        "azuredns",
        &[
            text("tenant_id"),
            text("client_id"),
            key("client_secret"),
            text("subscription_id"),
            text("resource_group"),
            help(may("environment"), "public, china or usgovernment"),
        ],
    ),
    of("baiducloud", ACCESS_AND_SECRET),
    of("bluecatv2", &[text("server_url"), text("username"), key("password"), text("config_name"), text("view_name")]),
    of("bunny", KEY),
    of("cloudns", &[may("auth_id"), may("sub_auth_id"), key("auth_password")]),
    of("constellix", KEY_AND_SECRET),
    of("cpanel", &[text("base_url"), text("username"), key("token")]),
    of("ddnss", KEY),
    of("desec", TOKEN),
    of("digitalocean", TOKEN),
    of("dnsimple", &[key("api_token"), text("account_id")]),
    of("dnsmadeeasy", KEY_AND_SECRET),
    of("domeneshop", &[text("api_token"), key("api_secret")]),
    of("dreamhost", KEY),
    of("duckdns", TOKEN),
    of("dynu", KEY),
    of("easydns", &[text("token"), key("api_key")]),
    of(
        "edgedns",
        &[text("host"), key("client_token"), key("client_secret"), key("access_token"), may("account_switch_key")],
    ),
    of("exoscale", KEY_AND_SECRET),
    of("freemyip", TOKEN),
    of("gandiv5", TOKEN),
    of("gcore", TOKEN),
    of("glesys", &[text("username"), key("api_key")]),
    of("godaddy", KEY_AND_SECRET),
    of(
        "googleclouddns",
        &[key("service_account_json"), text("project_id"), may("managed_zone"), may("impersonate_service_account")],
    ),
    of("hetzner", TOKEN),
    of("hostingde", KEY),
    of("hostinger", TOKEN),
    of("huaweicloud", &[text("access_key"), key("secret_key"), text("region")]),
    of("hurricane", &[help(key("credentials"), "HOST=KEY, one a line or separated by commas")]),
    of("ibmcloud", USER_AND_KEY),
    of(
        "infoblox",
        &[text("host"), may("port"), text("username"), key("password"), may("wapi_version"), may("dns_view")],
    ),
    of("infomaniak", TOKEN),
    of("inwx", USER_AND_PASSWORD),
    of("ionos", KEY),
    of("ipv64", KEY),
    DnsProvider {
        name: "joker",
        settings: &[may_key("api_key"), may("username"), may_key("password")],
        either: &[&["api_key"], &["username", "password"]],
    },
    of(
        "lightsail",
        &[text("access_key_id"), key("secret_access_key"), may_key("session_token"), may("region"), may("domain")],
    ),
    of("linode", TOKEN),
    of("luadns", &[text("username"), key("api_token")]),
    of("mythicbeasts", USER_AND_PASSWORD),
    of("namecheap", &[text("api_user"), key("api_key"), text("client_ip"), may("username")]),
    of("namedotcom", &[text("username"), key("api_token")]),
    of("namesilo", KEY),
    of("netcup", &[text("customer_number"), key("api_key"), key("api_password")]),
    of("netlify", TOKEN),
    of("nifcloud", ACCESS_AND_SECRET),
    of("ns1", KEY),
    of(
        "oraclecloud",
        &[
            text("tenancy_ocid"),
            text("user_ocid"),
            text("fingerprint"),
            key("private_key"),
            may_key("private_key_password"),
            text("region"),
            text("compartment_ocid"),
        ],
    ),
    of(
        "ovh",
        &[
            text("application_key"),
            key("application_secret"),
            key("consumer_key"),
            help(
                may("endpoint"),
                "ovh-eu (default), ovh-us, ovh-ca, kimsufi-eu, kimsufi-ca, soyoustart-eu or soyoustart-ca",
            ),
        ],
    ),
    of("pdns", &[key("api_key"), may("endpoint"), may("server_name")]),
    of("plesk", &[text("base_url"), key("api_key")]),
    of("porkbun", &[key("api_key"), key("secret_api_key")]),
    of("safedns", TOKEN),
    of("scaleway", TOKEN),
    of("selectel", &[text("username"), key("password"), text("account_id"), text("project_id")]),
    of("simplycom", &[text("account_name"), key("api_key")]),
    of("spaceship", KEY_AND_SECRET),
    of("tencentcloud", &[text("secret_id"), key("secret_key"), may("region"), may_key("session_token")]),
    of("transip", &[text("login"), key("private_key")]),
    of("ultradns", &[text("username"), key("password"), may("endpoint")]),
    of("vercel", &[key("api_token"), may("team_id")]),
    of("volcengine", &[text("access_key"), key("secret_key"), may("region")]),
    of("vultr", KEY),
    of("websupport", KEY_AND_SECRET),
    of("yandexcloud", &[key("iam_token"), text("folder_id")]),
    of("zoneeu", USER_AND_KEY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sound() {
        for (index, provider) in PROVIDERS.iter().enumerate() {
            assert!(
                PROVIDERS[..index].iter().all(|other| other.name != provider.name),
                "{} is there twice",
                provider.name
            );
            for (index, setting) in provider.settings.iter().enumerate() {
                assert!(provider.settings[..index].iter().all(|other| other.name != setting.name));
                for taken in ["id", "provider", "zones", "ttl", "propagation_timeout", "nameservers"] {
                    assert_ne!(setting.name, taken, "{}", provider.name);
                }
            }
            assert!(provider.either.iter().flat_map(|group| *group).all(|name| provider.setting(name).is_some()));
        }
        let names: Vec<_> = PROVIDERS[3..].iter().map(|provider| provider.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
