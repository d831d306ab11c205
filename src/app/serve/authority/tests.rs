//! Keys over time: made once, kept, issued anew when they must be, refused when they are broken.

use super::*;
use std::fs;

fn names() -> ServerNames {
    ServerNames::new("laptop", Ipv4Addr::LOCALHOST.into())
}

fn now() -> Timestamp {
    "2026-05-04T08:00:00Z".parse().unwrap()
}

fn after_days(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(days * 24)
}

fn content(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap()
}

impl ServerKeys {
    /// A client's certificate that the authority issues at some time.
    pub(in crate::app::serve) fn issue(&self, name: &str, group: Option<&str>, at: Timestamp) -> Issued {
        let request = issued_request(name, group, ExtendedKeyUsagePurpose::ClientAuth);
        let directory = tempfile::tempdir().unwrap();
        keep(directory.path(), "client.pem", &self.authority, (at, ADMIN_LEFT), &request).unwrap()
    }
}

#[test]
fn keys_are_made_once() {
    let root = tempfile::tempdir().unwrap();
    let pki = root.path().join("pki");
    let keys = ServerKeys::open(&pki, names(), now()).unwrap();
    keys.token_key().unwrap();
    let files = ["ca.pem", "ca.crt", "server.pem", "admin.pem", "tokens.pem", "admin-token"];
    let made = files.map(|file| content(&pki, file));
    let again = ServerKeys::open(&pki, names(), after_days(1)).unwrap();
    again.token_key().unwrap();
    assert_eq!(files.map(|file| content(&pki, file)), made);
    assert_eq!(again.admin_token, keys.admin_token);
    assert_eq!(content(&pki, "ca.crt"), keys.ca_certificate());
    assert!(content(&pki, "ca.pem").contains("BEGIN PRIVATE KEY") && !content(&pki, "ca.crt").contains("PRIVATE"));
    let mut entries = fs::read_dir(&pki).unwrap();
    assert_eq!(entries.by_ref().count(), files.len());
}

#[cfg(unix)]
#[test]
fn keys_are_the_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let pki = root.path().join("pki");
    ServerKeys::open(&pki, names(), now()).unwrap().token_key().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pki), 0o700);
    for entry in fs::read_dir(&pki).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    fs::set_permissions(pki.join("ca.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    ServerKeys::open(&pki, names(), now()).unwrap();
    assert_eq!(mode(&pki.join("ca.pem")), 0o600);
}

#[test]
fn the_servers_certificate_follows_its_names_and_ends_under_nobodys_hands() {
    let root = tempfile::tempdir().unwrap();
    let pki = root.path();
    ServerKeys::open(pki, names(), now()).unwrap();
    let (authority, first, admin) = (content(pki, "ca.pem"), content(pki, "server.pem"), content(pki, "admin.pem"));
    let mut more = names();
    more.add("husk.example").unwrap();
    more.add("192.0.2.7").unwrap();
    let keys = ServerKeys::open(pki, more.clone(), now()).unwrap();
    let second = content(pki, "server.pem");
    assert_ne!(second, first);
    let der = Issued::parse(&second).unwrap().certificate_der().unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(ServerNames::of(&certificate), more);
    for name in
        ["localhost", "laptop", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "husk.example"]
    {
        assert!(more.dns.contains(name), "{name}");
    }
    assert!(more.addresses.contains(&SERVICE_IP));
    keys.renew(after_days(300)).unwrap();
    assert_eq!(content(pki, "server.pem"), second);
    keys.renew(after_days(340)).unwrap();
    assert_ne!(content(pki, "server.pem"), second, "a server that runs issues its certificate anew");
    ServerKeys::open(pki, names(), after_days(170)).unwrap();
    assert_eq!(content(pki, "admin.pem"), admin);
    ServerKeys::open(pki, names(), after_days(190)).unwrap();
    assert_ne!(content(pki, "admin.pem"), admin);
    assert_eq!(content(pki, "ca.pem"), authority);
}

#[test]
fn an_authority_that_ends_takes_what_it_has_issued_with_it() {
    let root = tempfile::tempdir().unwrap();
    let pki = root.path();
    ServerKeys::open(pki, names(), now()).unwrap();
    let before = ["ca.pem", "ca.crt", "server.pem", "admin.pem"].map(|file| content(pki, file));
    let keys = ServerKeys::open(pki, names(), after_days(9 * 365 + 2)).unwrap();
    let after = ["ca.pem", "ca.crt", "server.pem", "admin.pem"].map(|file| content(pki, file));
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before, after);
    }
    keys.tls().unwrap();
}

#[test]
fn what_can_be_issued_anew_is_and_what_cannot_is_told() {
    let root = tempfile::tempdir().unwrap();
    let pki = root.path();
    ServerKeys::open(pki, names(), now()).unwrap().token_key().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    ServerKeys::open(elsewhere.path(), names(), now()).unwrap();
    for file in ["server.pem", "admin.pem"] {
        for broken in ["", "nonsense", &content(pki, "ca.crt"), &content(elsewhere.path(), file)] {
            fs::write(pki.join(file), broken).unwrap();
            ServerKeys::open(pki, names(), now()).unwrap().tls().unwrap();
            assert_ne!(content(pki, file), broken);
        }
    }
    let mixed =
        format!("{}{}", content(pki, "ca.crt"), Issued::parse(&content(elsewhere.path(), "ca.pem")).unwrap().key);
    for (file, broken) in
        [("ca.pem", "nonsense"), ("ca.pem", &mixed), ("admin-token", "short"), ("tokens.pem", "nonsense")]
    {
        let whole = content(pki, file);
        fs::write(pki.join(file), broken).unwrap();
        let error = ServerKeys::open(pki, names(), now()).and_then(|keys| keys.token_key()).unwrap_err();
        assert!(error.to_string().contains(file) && error.to_string().contains("if it is removed"), "{error:#}");
        assert_eq!(content(pki, file), broken, "it is the user who decides");
        fs::write(pki.join(file), whole).unwrap();
    }
}

#[test]
fn a_certificate_names_a_user_and_groups() {
    let root = tempfile::tempdir().unwrap();
    let keys = ServerKeys::open(root.path(), names(), now()).unwrap();
    let admin = identity_of(&keys.admin.certificate_der().unwrap()).unwrap();
    assert_eq!(Identity { extra: Default::default(), ..admin.clone() }, Identity::admin());
    assert!(admin.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
    let jane = identity_of(&keys.issue("jane", Some("dev"), now()).certificate_der().unwrap()).unwrap();
    assert_eq!(
        (&jane.username[..], &jane.groups[..]),
        ("jane", &["dev".to_owned(), "system:authenticated".to_owned()][..])
    );
    assert_eq!(identity_of(&keys.issue("", None, now()).certificate_der().unwrap()), None);
}

#[test]
fn names_of_certificates_are_dns_names_or_addresses() {
    let mut names = ServerNames::default();
    for good in ["Example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "my_host"] {
        names.add(good).unwrap();
    }
    assert!(names.dns.contains("example.com"));
    for bad in ["", "a..b", "a b", "https://x", "x:1", "é.example", &"a".repeat(254)] {
        assert!(names.add(bad).is_err(), "{bad}");
    }
}
