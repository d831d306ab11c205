//! What the switch is told, from objects as YAML.

use super::*;
use crate::net::{Protocol, Record};

fn objects<T: serde::de::DeserializeOwned>(all: &[&str]) -> Vec<Arc<T>> {
    let parse = |yaml: &&str| serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    all.iter().map(|yaml| Arc::new(parse(yaml))).collect()
}

fn slice(name: &str, service: &str, ports: &str, endpoints: &str) -> String {
    format!(
        "{{metadata: {{name: {name}, namespace: ns, labels: {{kubernetes.io/service-name: {service}}}}}, \
         addressType: IPv4, ports: [{ports}], endpoints: [{endpoints}]}}"
    )
}

const WEB: &str = "{metadata: {name: web, namespace: ns}, spec: {clusterIP: 10.96.1.1, \
    ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}, {name: s, port: 9, protocol: SCTP}]}}";
const HTTP: &str = "{name: http, port: 8080, protocol: TCP}";
const BOTH: &str = "{name: http, port: 8080, protocol: TCP}, {name: dns, port: 5353, protocol: UDP}";

/// The backends of port 80 of `web` with these endpoints.
fn backends(endpoints: &str) -> Vec<String> {
    let slices = [slice("a", "web", HTTP, endpoints)];
    let slices: Vec<&str> = slices.iter().map(String::as_str).collect();
    let tables = service_tables(&objects(&[WEB]), &objects(&slices), &[], "d");
    tables.ports[0].backends.iter().map(ToString::to_string).collect()
}

#[test]
fn traffic_goes_to_ready_endpoints_or_to_those_that_still_serve() {
    let ready = "{addresses: [10.88.0.2], conditions: {ready: true, serving: true, terminating: false}}";
    let silent = "{addresses: [10.88.0.3], conditions: {}}";
    let unready = "{addresses: [10.88.0.4], conditions: {ready: false, serving: false, terminating: false}}";
    let leaving = "{addresses: [10.88.0.5], conditions: {ready: false, serving: true, terminating: true}}";
    let gone = "{addresses: [10.88.0.6], conditions: {ready: false, serving: false, terminating: true}}";
    let odd = "{addresses: [not an address]}";
    for (endpoints, expected) in [
        (vec![ready, silent, unready, leaving, gone, odd], &["10.88.0.2:8080", "10.88.0.3:8080"][..]),
        (vec![unready, leaving, gone], &["10.88.0.5:8080"]),
        (vec![unready, gone], &[]),
        (vec![], &[]),
    ] {
        assert_eq!(backends(&endpoints.join(", ")), expected, "{endpoints:?}");
    }
}

#[test]
fn each_port_has_the_endpoints_that_offer_it() {
    let slices = [
        slice("a", "web", BOTH, "{addresses: [10.88.0.2]}"),
        slice("b", "web", HTTP, "{addresses: [10.88.0.3]}"),
        slice("c", "other", BOTH, "{addresses: [10.88.0.4]}"),
        slice("d", "web", BOTH, "{addresses: [10.88.0.5]}").replace("namespace: ns", "namespace: other"),
        slice("e", "web", BOTH, "{addresses: ['fd00::1']}").replace("IPv4", "IPv6"),
    ];
    let slices: Vec<&str> = slices.iter().map(String::as_str).collect();
    let sticky = WEB.replace("clusterIP", "sessionAffinity: ClientIP, clusterIP");
    let tables = service_tables(&objects(&[&sticky]), &objects(&slices), &[], "d");
    let shown: Vec<_> = tables.ports.iter().map(|port| (port.protocol, port.port, port.backends.len())).collect();
    assert_eq!(shown, [(Protocol::Tcp, 80, 2), (Protocol::Udp, 53, 1)]);
    assert_eq!(tables.ports[0].affinity, Some(std::time::Duration::from_secs(10_800)));
}

#[test]
fn services_without_an_address_have_no_ports() {
    for spec in ["{clusterIP: None, ports: [{port: 80}]}", "{type: ExternalName, externalName: x, ports: [{port: 80}]}"]
    {
        let service = format!("{{metadata: {{name: web, namespace: ns}}, spec: {spec}}}");
        assert_eq!(service_tables(&objects(&[&service]), &[], &[], "d").ports, []);
    }
}

/// The zone that has these records and those every zone has.
fn zone(records: &[(&str, Record)]) -> Zone {
    let mut zone = Zone::new("d");
    zone.add("dns-version.d", Record::Text("1.1.0".to_owned()));
    for (name, record) in records {
        zone.add(name, record.clone());
    }
    zone
}

fn ip(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

fn service_record(weight: u16, port: u16, target: &str) -> Record {
    Record::Service { weight, port, target: target.to_owned() }
}

fn pointer(name: &str) -> Record {
    Record::Pointer(name.to_owned())
}

#[test]
fn a_service_with_an_address_has_names_for_itself_its_ports_and_its_endpoints() {
    let slices =
        slice("a", "web", BOTH, "{addresses: [10.88.0.2]}, {addresses: [10.88.0.3], conditions: {ready: false}}");
    let tables = service_tables(&objects(&[WEB]), &objects(&[&slices]), &[], "d");
    let expected = zone(&[
        ("web.ns.svc.d", ip("10.96.1.1")),
        ("1.1.96.10.in-addr.arpa", pointer("web.ns.svc.d")),
        ("_http._tcp.web.ns.svc.d", service_record(100, 80, "web.ns.svc.d")),
        ("_dns._udp.web.ns.svc.d", service_record(100, 53, "web.ns.svc.d")),
        ("_s._sctp.web.ns.svc.d", service_record(100, 9, "web.ns.svc.d")),
        ("10-88-0-2.web.ns.svc.d", ip("10.88.0.2")),
    ]);
    assert_eq!(tables.zone, expected);
}

#[test]
fn a_headless_service_has_the_addresses_of_its_endpoints() {
    let service = "{metadata: {name: db, namespace: ns}, spec: {clusterIP: None, ports: [{name: sql, port: 1}]}}";
    let endpoints = "{addresses: [10.88.0.2], hostname: db-0}, {addresses: [10.88.0.3]}, \
        {addresses: [10.88.0.4], conditions: {ready: false}}";
    let slices = slice("a", "db", "{name: sql, port: 5432, protocol: TCP}", endpoints);
    let pods = [("p", "10.88.0.2"), ("q", "10.88.0.9")].map(|(name, ip)| {
        format!("{{metadata: {{name: {name}, namespace: ns}}, status: {{phase: Running, podIP: {ip}}}}}")
    });
    let ended = "{metadata: {name: r, namespace: ns}, status: {phase: Failed, podIP: 10.88.0.8}}";
    let tables =
        service_tables(&objects(&[service]), &objects(&[&slices]), &objects(&[&pods[0], &pods[1], ended]), "d");
    let expected = zone(&[
        ("db.ns.svc.d", ip("10.88.0.2")),
        ("db.ns.svc.d", ip("10.88.0.3")),
        ("db-0.db.ns.svc.d", ip("10.88.0.2")),
        ("10-88-0-3.db.ns.svc.d", ip("10.88.0.3")),
        ("2.0.88.10.in-addr.arpa", pointer("db-0.db.ns.svc.d")),
        ("3.0.88.10.in-addr.arpa", pointer("10-88-0-3.db.ns.svc.d")),
        ("_sql._tcp.db.ns.svc.d", service_record(50, 5432, "db-0.db.ns.svc.d")),
        ("_sql._tcp.db.ns.svc.d", service_record(50, 5432, "10-88-0-3.db.ns.svc.d")),
        ("10-88-0-2.ns.pod.d", ip("10.88.0.2")),
        ("10-88-0-9.ns.pod.d", ip("10.88.0.9")),
        ("9.0.88.10.in-addr.arpa", pointer("10-88-0-9.ns.pod.d")),
    ]);
    assert_eq!(tables.zone, expected);
}

#[test]
fn names_without_anything_behind_them_do_not_exist_and_external_ones_are_aliases() {
    let services = [
        "{metadata: {name: empty, namespace: ns}, spec: {clusterIP: None, ports: [{name: a, port: 1}]}}",
        "{metadata: {name: out, namespace: ns}, spec: {type: ExternalName, externalName: example.com.}}",
    ];
    let tables = service_tables(&objects(&services), &[], &[], "d");
    assert_eq!(tables.zone, zone(&[("out.ns.svc.d", Record::Alias("example.com".to_owned()))]));
}
