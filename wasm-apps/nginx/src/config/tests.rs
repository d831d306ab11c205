//! Whole configurations: what they come to, and what is said about wrong ones.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{Config, Content, Environment, Fallback, LogTarget, Root, Settings, Source, load};

#[derive(Default)]
struct Fake(HashMap<String, String>);

impl Environment for Fake {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let names = self.0.keys().filter_map(|file| file.strip_prefix(path)?.strip_prefix('/'));
        Ok(names.map(str::to_owned).collect())
    }

    fn link(&self, path: &str) -> Option<String> {
        (path == "/var/log/nginx/access.log").then(|| "/dev/stdout".to_owned())
    }

    fn resolve(&self, host: &str) -> Vec<IpAddr> {
        if host == "backend" { vec![[10, 0, 0, 7].into()] } else { Vec::new() }
    }
}

fn load_files(files: &[(&str, &str)], directives: &str) -> Result<Config, String> {
    let fake = Fake(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect());
    let source = Source {
        file: "/etc/nginx/nginx.conf".to_owned(),
        prefix: "/etc/nginx".to_owned(),
        directives: directives.to_owned(),
        error_log: None,
    };
    load(&fake, &source, None).map(|loaded| loaded.config).map_err(|error| error.to_string())
}

/// A configuration with these directives in `http`.
fn http(text: &str) -> Result<Config, String> {
    load_files(&[("/etc/nginx/nginx.conf", &format!("events {{}}\nhttp {{\n{text}\n}}\n"))], "")
}

/// The same in a server.
fn server(text: &str) -> Result<Config, String> {
    http(&format!("server {{\n{text}\n}}"))
}

/// The pattern of the location that a path belongs to.
fn location(config: &Config, path: &str) -> String {
    let found = config.listeners[0].default.locations.find(path);
    found.map_or_else(|| "none".to_owned(), |found| found.location.pattern.clone())
}

fn settings(config: &Config, path: &str) -> Rc<Settings> {
    let server = &config.listeners[0].default;
    server.locations.find(path).map_or_else(|| Rc::clone(&server.settings), |found| Rc::clone(&found.location.settings))
}

fn root(settings: &Settings) -> &str {
    match &settings.root {
        Root::Root(root) | Root::Alias(root, _) => root.as_fixed().unwrap(),
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, expected) in [
        ("foo on;", r#"unknown directive "foo" in /etc/nginx/nginx.conf:4"#),
        ("root;", r#"invalid number of arguments in "root" directive in /etc/nginx/nginx.conf:4"#),
        ("root /a", r#"unexpected "}" in /etc/nginx/nginx.conf:5"#),
        ("root /a {}", r#"directive "root" is not terminated by ";" in /etc/nginx/nginx.conf:4"#),
        ("location / ;", r#"directive "location" has no opening "{" in /etc/nginx/nginx.conf:4"#),
        ("location / {", r#"unexpected end of file, expecting "}" in /etc/nginx/nginx.conf:7"#),
        ("daemon off;", r#""daemon" directive is not allowed here in /etc/nginx/nginx.conf:4"#),
        (
            "autoindex yes;",
            r#"invalid value "yes" in "autoindex" directive, it must be "on" or "off" in /etc/nginx/nginx.conf:4"#,
        ),
        ("root /a;\nroot /b;", r#""root" directive is duplicate in /etc/nginx/nginx.conf:5"#),
        ("location /a {}\nlocation /a {}", r#"duplicate location "/a" in /etc/nginx/nginx.conf:5"#),
        ("return 200 $nobody;", r#"unknown "nobody" variable in /etc/nginx/nginx.conf:4"#),
        ("listen 80 ssl;", r#"the "ssl" parameter requires ngx_http_ssl_module in /etc/nginx/nginx.conf:4"#),
        ("listen 99999;", r#"invalid port in "99999" of the "listen" directive in /etc/nginx/nginx.conf:4"#),
        ("location / { proxy_pass http://gone; }", r#"host not found in upstream "gone" in /etc/nginx/nginx.conf:4"#),
        ("location / { proxy_pass gone; }", "invalid URL prefix in /etc/nginx/nginx.conf:4"),
        ("gzip on;", r#""gzip on" is not supported here, only "gzip off" in /etc/nginx/nginx.conf:4"#),
        ("access_log /x nothing;", r#"unknown log format "nothing" in /etc/nginx/nginx.conf:4"#),
        ("client_max_body_size big;", r#""client_max_body_size" directive invalid value in /etc/nginx/nginx.conf:4"#),
        ("error_page 200 /x;", r#"value "200" must be between 300 and 599 in /etc/nginx/nginx.conf:4"#),
        (
            "include /etc/nginx/no.conf;",
            r#"open() "/etc/nginx/no.conf" failed (2: No such file or directory) in /etc/nginx/nginx.conf:4"#,
        ),
        ("location /a { location /b {} }", r#"location "/b" is outside location "/a" in /etc/nginx/nginx.conf:4"#),
        ("}", r#"unexpected end of file, expecting "}" in /etc/nginx/nginx.conf:7"#),
    ] {
        let problem = server(text).unwrap_err();
        // A brace too much ends the blocks around it: what is left over is what is noticed.
        let expected = if text == "}" { r#"unexpected "}" in /etc/nginx/nginx.conf:6"# } else { expected };
        assert_eq!(problem, expected, "{text}");
    }
    assert_eq!(
        load_files(&[("/etc/nginx/nginx.conf", "")], "").unwrap_err(),
        r#"no "events" section in configuration"#
    );
    let twice = load_files(&[("/etc/nginx/nginx.conf", "daemon off; events {}")], "daemon off;").unwrap_err();
    assert_eq!(twice, r#""daemon" directive is duplicate in /etc/nginx/nginx.conf:1"#);
    let missing = load_files(&[], "").unwrap_err();
    assert_eq!(missing, r#"open() "/etc/nginx/nginx.conf" failed (2: No such file or directory)"#);
    let global = load_files(&[("/etc/nginx/nginx.conf", "events {}")], "foo off;").unwrap_err();
    assert_eq!(global, r#"unknown directive "foo" in command line"#);
}

#[test]
fn included_files_stand_in_their_place() {
    let files = [
        ("/etc/nginx/nginx.conf", "events {} http { include conf.d/*.conf; }"),
        ("/etc/nginx/conf.d/b.conf", "server { listen 81; }"),
        ("/etc/nginx/conf.d/a.conf", "server { listen 80; }"),
        ("/etc/nginx/conf.d/.hidden.conf", "wrong;"),
        ("/etc/nginx/conf.d/c.bak", "wrong;"),
    ];
    let config = load_files(&files, "").unwrap();
    let ports: Vec<u16> = config.listeners.iter().map(|one| one.address.port()).collect();
    assert_eq!(ports, [80, 81]);
    let circle = load_files(&[("/etc/nginx/nginx.conf", "include nginx.conf;")], "").unwrap_err();
    assert!(circle.starts_with("too many includes inside one another in /etc/nginx/nginx.conf:1"), "{circle}");
}

#[test]
fn locations_are_found_as_nginx_finds_them() {
    let config = server(
        "location = / {} location / {} location /documents/ {} location ^~ /images/ {} location ~* \\.(gif|jpg)$ {}
         location /nested/ { location /nested/deep/ {} location ~ \\.php$ {} }",
    )
    .unwrap();
    for (path, expected) in [
        ("/", "/"),
        ("/index.html", "/"),
        ("/documents/document.html", "/documents/"),
        ("/images/1.gif", "/images/"),
        ("/documents/1.JPG", r"\.(gif|jpg)$"),
        ("/nested/x", "/nested/"),
        ("/nested/deep/x", "/nested/deep/"),
        ("/nested/x.php", r"\.php$"),
        ("/nested/x.gif", r"\.(gif|jpg)$"),
        ("/x.php", "/"),
    ] {
        assert_eq!(location(&config, path), expected, "{path}");
    }
}

#[test]
fn inner_blocks_inherit_whatever_the_order() {
    let config = http(
        "server { location /a { autoindex on; } location /b { root b; add_header X 2; } root /r; }
         add_header X 1; add_header Y 1; keepalive_timeout 5;",
    )
    .unwrap();
    let (a, b) = (settings(&config, "/a"), settings(&config, "/b"));
    assert_eq!((root(&a), root(&b)), ("/r", "/etc/nginx/b"));
    assert!(a.autoindex && !b.autoindex);
    assert_eq!((a.add_headers.len(), b.add_headers.len()), (2, 1));
    assert_eq!(a.keepalive_timeout, Duration::from_secs(5));
    assert_eq!(a.access_logs[0].target, LogTarget::Stdout);
}

#[test]
fn servers_are_found_by_name() {
    let config = http(
        "server { listen 80; server_name a.test; } server { listen 80 default_server; server_name _; }
         server { server_name *.wild.test .dot.test; } server { server_name mail.*; } server { server_name ~^r\\d+$; }
         server { server_name a.test; }",
    )
    .unwrap();
    let listening = &config.listeners[0];
    let name = |host: &str| listening.names.find(host).unwrap_or(&listening.default).name.clone();
    for (host, expected) in [
        ("a.test", "a.test"),
        ("b.test", "_"),
        ("x.wild.test", "*.wild.test"),
        ("wild.test", "_"),
        ("dot.test", "*.wild.test"),
        ("x.dot.test", "*.wild.test"),
        ("mail.org", "mail.*"),
        ("r12", r"~^r\d+$"),
    ] {
        assert_eq!(name(host), expected, "{host}");
    }
    assert_eq!(config.warnings, [r#"conflicting server name "a.test" on 0.0.0.0:80, ignored"#]);
}

#[test]
fn requests_are_passed_on_to_upstreams() {
    let config = http(
        "server { location / { proxy_pass http://pool/base; proxy_set_header Host $host; try_files $uri =404; } }
         upstream pool { server backend:81 weight=2; server 10.0.0.9 backup; }",
    )
    .unwrap();
    let settings = settings(&config, "/x");
    let Content::Proxy(pass) = &settings.content else { panic!("no proxy") };
    let target = pass.target.as_ref().unwrap();
    assert_eq!((target.host.as_str(), target.uri.as_deref()), ("pool", Some("/base")));
    let peers: Vec<_> = target.upstream.peers.iter().map(|peer| (peer.address.to_string(), peer.weight)).collect();
    assert_eq!(peers, [("10.0.0.7:81".to_owned(), 2), ("10.0.0.9:80".to_owned(), 1)]);
    assert!(matches!(settings.try_files.as_ref().unwrap().otherwise, Fallback::Status(404)));
}
