//! Names as a guest sees them.

use super::*;

#[tokio::test]
async fn names_of_the_pod_resolve_inside() {
    let pod = Switch::new(Egress::Deny).attach("web-0", Some("sub.ns.svc.cluster.local")).unwrap();
    pod.add_host_alias("192.0.2.7".parse().unwrap(), &["db".to_owned(), "DB.example.com".to_owned()]);
    pod.add_host_alias("2001:db8::7".parse().unwrap(), &["db".to_owned()]);
    let long = "a".repeat(300);
    for (name, expected) in [
        ("192.0.2.1", Ok(&["192.0.2.1"][..])),
        ("::1", Ok(&["::1"])),
        ("localhost", Ok(&["127.0.0.1", "::1"])),
        ("LocalHost.", Ok(&["127.0.0.1", "::1"])),
        ("app.localhost", Ok(&["127.0.0.1", "::1"])),
        ("web-0", Ok(&["POD"])),
        ("WEB-0.sub.ns.svc.cluster.local.", Ok(&["POD"])),
        ("web-0.sub", Err(NetError::NameNotFound)),
        ("db", Ok(&["192.0.2.7", "2001:db8::7"])),
        ("db.example.com", Ok(&["192.0.2.7"])),
        ("example.com", Err(NetError::NameNotFound)),
        ("", Err(NetError::Invalid)),
        ("a b", Err(NetError::Invalid)),
        ("a\0b", Err(NetError::Invalid)),
        ("host:80", Err(NetError::Invalid)),
        (long.as_str(), Err(NetError::Invalid)),
    ] {
        let expected = expected.map(|addresses| {
            let parse = |text: &&str| text.replace("POD", &pod.ips()[0].to_string()).parse::<IpAddr>().unwrap();
            addresses.iter().map(parse).collect::<Vec<_>>()
        });
        assert_eq!(pod.resolve(name).await, expected, "{name:?}");
    }
}

#[tokio::test]
async fn names_of_one_pod_mean_nothing_in_another() {
    let (a, b) = pods();
    a.add_host_alias("192.0.2.7".parse().unwrap(), &["db".to_owned()]);
    assert_eq!(b.resolve("db").await, Err(NetError::NameNotFound));
    assert_eq!(b.resolve("web-0").await, Err(NetError::NameNotFound));
}

#[tokio::test]
async fn egress_asks_the_host_for_names() {
    if outside_ip("egress_asks_the_host_for_names").is_none() {
        return;
    }
    let pod = Switch::new(Egress::Allow).attach("web-0", None).unwrap();
    // Reserved never to exist; where there is no resolver at all the answer is that it may come later.
    let answer = pod.resolve("no-such-name.invalid").await;
    assert!(matches!(answer, Err(NetError::NameNotFound | NetError::NameTemporary)), "{answer:?}");
}
