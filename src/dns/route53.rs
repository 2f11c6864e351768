//! Amazon Route 53.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use serde::Deserialize;

use super::aws::{Aws, Service, reason};
use super::provider::{Change, DnsProvider, ancestors};
use super::{DnsError, TxtRecord};
use crate::net::{form, percent_encoded};

const PROVIDER: &str = "Route 53";
const API: &str = "/2013-04-01";
/// Between two looks at a change.
const LOOK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// The most zones of one name that are looked at.
const ZONES: &str = "20";

/// Zones at Route 53.
#[derive(Debug)]
pub(super) struct Route53 {
    aws: Aws,
    hosted_zone: Option<String>,
}

#[derive(Deserialize)]
struct Zones {
    #[serde(rename = "HostedZones")]
    zones: List<Zone>,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(alias = "HostedZone", alias = "ResourceRecordSet", alias = "ResourceRecord", default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Zone {
    id: String,
    name: String,
    config: Option<ZoneConfig>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ZoneConfig {
    #[serde(default)]
    private_zone: bool,
}

#[derive(Deserialize)]
struct Sets {
    #[serde(rename = "ResourceRecordSets")]
    sets: List<Set>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    name: String,
    r#type: String,
    set_identifier: Option<String>,
    #[serde(rename = "TTL")]
    ttl: Option<u32>,
    resource_records: Option<List<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Value {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    change_info: ChangeInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeInfo {
    id: String,
    status: String,
}

/// The TXT values of a name, as Route 53 writes them: in quotation marks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Values {
    ttl: Option<u32>,
    values: Vec<String>,
}

impl Route53 {
    /// The zone with this id; the public one with the name's zone's name where there is none.
    pub(super) fn new(aws: Aws, hosted_zone: Option<&str>) -> Self {
        Self { aws, hosted_zone: hosted_zone.map(|id| id.trim_start_matches("/hostedzone/").to_owned()) }
    }

    /// The id of the zone that a name is in.
    async fn zone_of(&self, name: &str) -> Result<String, DnsError> {
        if let Some(id) = &self.hosted_zone {
            return Ok(id.clone());
        }
        for zone in ancestors(name) {
            let query = form(&[("dnsname", zone), ("maxitems", ZONES)]);
            let action = format!("look for the hosted zone {zone}");
            let found: Zones = self.ask(Method::GET, &format!("/hostedzonesbyname?{query}"), "", &action).await?;
            let is = |found: &&Zone| found.name.trim_end_matches('.').eq_ignore_ascii_case(zone);
            let public = |found: &&Zone| !found.config.as_ref().is_some_and(|config| config.private_zone);
            let zones: Vec<_> = found.zones.items.iter().filter(is).filter(public).collect();
            match zones.as_slice() {
                [] => {}
                [zone] => return Ok(zone.id.trim_start_matches("/hostedzone/").to_owned()),
                several => {
                    let ids: Vec<_> = several.iter().map(|zone| zone.id.trim_start_matches("/hostedzone/")).collect();
                    let reason = format!(
                        "{zone} is the name of several public zones; set hosted_zone_id to one of {}",
                        ids.join(", ")
                    );
                    return Err(DnsError::refused(PROVIDER, action, reason));
                }
            }
        }
        Err(DnsError::NoZone {
            provider: PROVIDER.to_owned(),
            name: name.to_owned(),
            remedy: "create a public hosted zone, or set hosted_zone_id".to_owned(),
        })
    }

    async fn values(&self, zone: &str, name: &str) -> Result<Values, DnsError> {
        let query = form(&[("name", name), ("type", "TXT"), ("maxitems", "1")]);
        let action = format!("list the values of {name}");
        let path = format!("/hostedzone/{}/rrset?{query}", percent_encoded(zone));
        let found: Sets = self.ask(Method::GET, &path, "", &action).await?;
        let is = |set: &Set| set.r#type == "TXT" && set.name.trim_end_matches('.').eq_ignore_ascii_case(name);
        let Some(set) = found.sets.items.into_iter().find(is) else { return Ok(Values::default()) };
        if set.set_identifier.is_some() {
            let reason = "it has a routing policy, which is not kept; make it a simple record".to_owned();
            return Err(DnsError::refused(PROVIDER, action, reason));
        }
        let values = set.resource_records.map(|list| list.items.into_iter().map(|value| value.value).collect());
        Ok(Values { ttl: set.ttl, values: values.unwrap_or_default() })
    }

    async fn change(&self, zone: &str, verb: &str, name: &str, values: &Values) -> Result<Change, DnsError> {
        let body = change_request(verb, name, values);
        let path = format!("/hostedzone/{}/rrset", percent_encoded(zone));
        let changed: Changed = self.ask(Method::POST, &path, &body, &format!("change {name}")).await?;
        Ok(Change(changed.change_info.id.trim_start_matches("/change/").to_owned()))
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: &str,
        action: &str,
    ) -> Result<T, DnsError> {
        let answer = self.aws.send(Service::Route53, method, &format!("{API}{path}"), body).await?;
        if !answer.status().is_success() {
            return Err(DnsError::refused(PROVIDER, action, reason(&answer)));
        }
        let text = String::from_utf8_lossy(answer.body());
        quick_xml::de::from_str(&text)
            .map_err(|e| DnsError::refused(PROVIDER, action, format!("it answers nonsense: {e}")))
    }
}

#[async_trait]
impl DnsProvider for Route53 {
    async fn add(&self, record: &TxtRecord, ttl: u32) -> Result<Option<Change>, DnsError> {
        let name = record.name.as_str();
        let zone = self.zone_of(name).await?;
        let mut values = self.values(&zone, name).await?;
        let value = quoted(&record.value);
        if values.values.contains(&value) {
            return Ok(None);
        }
        values.values.push(value);
        values.ttl = Some(values.ttl.map_or(ttl, |other| other.min(ttl)));
        self.change(&zone, "UPSERT", name, &values).await.map(Some)
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), DnsError> {
        let name = record.name.as_str();
        let zone = self.zone_of(name).await?;
        let mut values = self.values(&zone, name).await?;
        let value = quoted(&record.value);
        if !values.values.contains(&value) {
            return Ok(());
        }
        if values.values.len() == 1 {
            return self.change(&zone, "DELETE", name, &values).await.map(drop);
        }
        values.values.retain(|other| *other != value);
        self.change(&zone, "UPSERT", name, &values).await.map(drop)
    }

    async fn in_force(&self, change: &Change) -> Result<(), DnsError> {
        let mut pause = LOOK.0;
        loop {
            let path = format!("/change/{}", percent_encoded(&change.0));
            let seen: Changed = self.ask(Method::GET, &path, "", "say whether a change is in force").await?;
            if seen.change_info.status == "INSYNC" {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }
}

fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

fn change_request(verb: &str, name: &str, values: &Values) -> String {
    let records: String = values
        .values
        .iter()
        .map(|value| {
            format!("<ResourceRecord><Value>{}</Value></ResourceRecord>", quick_xml::escape::escape(value.as_str()))
        })
        .collect();
    format!(
        "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch>\
         <Comment>doorward: ACME DNS-01</Comment><Changes><Change><Action>{verb}</Action><ResourceRecordSet>\
         <Name>{name}.</Name><Type>TXT</Type><TTL>{}</TTL><ResourceRecords>{records}</ResourceRecords>\
         </ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>",
        values.ttl.unwrap_or(crate::config::DEFAULT_TTL)
    )
}

/// The least that the policy of a user or role has to allow for DNS-01 in these zones, and how others get the role.
#[must_use]
pub fn policies(
    hosted_zones: &[String],
    names: &[String],
    principal: Option<&str>,
) -> (serde_json::Value, serde_json::Value) {
    let zones: Vec<String> = match hosted_zones {
        [] => vec!["arn:aws:route53:::hostedzone/*".to_owned()],
        ids => ids.iter().map(|id| format!("arn:aws:route53:::hostedzone/{id}")).collect(),
    };
    let records: Vec<String> = match names {
        [] => vec!["_acme-challenge.*".to_owned()],
        names => {
            names.iter().flat_map(|n| [format!("_acme-challenge.{n}"), format!("_acme-challenge.*.{n}")]).collect()
        }
    };
    let permissions = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": ["route53:ListHostedZonesByName"], "Resource": "*" },
            { "Effect": "Allow", "Action": ["route53:GetChange"], "Resource": "arn:aws:route53:::change/*" },
            { "Effect": "Allow", "Action": ["route53:ListResourceRecordSets"], "Resource": zones },
            {
                "Effect": "Allow",
                "Action": ["route53:ChangeResourceRecordSets"],
                "Resource": zones,
                "Condition": {
                    "ForAllValues:StringEquals": { "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"] },
                    "ForAllValues:StringLike": { "route53:ChangeResourceRecordSetsNormalizedRecordNames": records }
                }
            }
        ]
    });
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": principal.unwrap_or("arn:aws:iam::ACCOUNT:role/WHO-DOORWARD-IS") },
            "Action": "sts:AssumeRole"
        }]
    });
    (permissions, trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let text = "<?xml version=\"1.0\"?><ListResourceRecordSetsResponse xmlns=\"x\"><ResourceRecordSets><ResourceRecordSet>\
            <Name>_acme-challenge.a.test.</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords><ResourceRecord><Value>\"a\"</Value>\
            </ResourceRecord><ResourceRecord><Value>&quot;b c&quot;</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>\
            </ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>";
        let sets: Sets = quick_xml::de::from_str(text).expect("XML");
        let values: Vec<_> =
            sets.sets.items[0].resource_records.iter().flat_map(|list| &list.items).map(|v| v.value.as_str()).collect();
        assert_eq!(values, ["\"a\"", "\"b c\""]);
        let none: Sets = quick_xml::de::from_str("<R><ResourceRecordSets/></R>").expect("XML");
        assert!(none.sets.items.is_empty());
    }

    #[test]
    fn a_change_says_what_it_means() {
        let values = Values { ttl: Some(30), values: vec!["\"a<b\"".to_owned()] };
        let body = change_request("UPSERT", "_acme-challenge.a.test", &values);
        assert!(body.contains("<Action>UPSERT</Action>") && body.contains("<TTL>30</TTL>"), "{body}");
        assert!(body.contains("<Value>&quot;a&lt;b&quot;</Value>"), "{body}");
    }
}
