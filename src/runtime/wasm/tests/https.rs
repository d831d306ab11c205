//! https requests of guests, by the `wget` of the built-in tools, to TLS servers in their pod.

use std::net::{Ipv4Addr, SocketAddr};

use rcgen::CertifiedKey;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;

const PORT: u16 = 8443;

/// A TLS server whose certificate only its own key vouches for, as PEM. It answers with the `Authorization` it is given
/// and the body that has a length.
fn serve(pod: &Pod) -> String {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let network = &pod.sandbox.network;
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let listener = network.listen(network.bind_tcp(address).unwrap(), 8).unwrap();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
            let token = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("nobody");
            let length = request.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let answer = format!("{token}{}", String::from_utf8(body).unwrap());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    cert.pem()
}

/// Runs `wget` with these options and files; its exit code, standard output and standard error.
async fn wget(pod: &Pod, options: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> (i32, String, String) {
    let mut all = vec![("/bin/wget".to_owned(), guest("builtin/nettool"), 0o755)];
    all.extend(files.iter().map(|(path, text)| ((*path).to_owned(), Bytes::from((*text).to_owned()), 0o644)));
    let url = if options.contains("://") { String::new() } else { format!("https://localhost:{PORT}/") };
    let command = format!("wget -q -O - {options} {url}");
    let mut setup = Setup::with_files(&command, &all);
    setup.env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let app = pod.start(setup).await;
    let code = app.ends().await.code;
    (code, rest(&app.stdout).await, rest(&app.stderr).await)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let pod = Pod::new();
    serve(&pod);
    let (code, stdout, stderr) = wget(&pod, "", &[], &[]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("wget: can't verify the certificate of 'localhost': "), "{stderr}");
}

#[tokio::test]
async fn a_guest_may_take_any_certificate_for_itself() {
    let pod = Pod::new();
    serve(&pod);
    let options = "--no-check-certificate --header Authorization:token";
    assert_eq!(wget(&pod, options, &[], &[]).await, (0, "token".to_owned(), String::new()));
    let options = "--no-check-certificate --post-data +body";
    assert_eq!(wget(&pod, options, &[], &[]).await, (0, "nobody+body".to_owned(), String::new()));
    // The next process starts anew.
    assert_eq!(wget(&pod, "", &[], &[]).await.0, 1);
}

#[tokio::test]
async fn a_guest_may_name_its_own_authorities() {
    let pod = Pod::new();
    let own = serve(&pod);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let both = format!("{other}{own}");
    for (pem, code) in [(own.as_str(), 0), (both.as_str(), 0), (other.as_str(), 1)] {
        let files = [("/ca.crt", pem)];
        let (by_option, ..) = wget(&pod, "--ca-certificate /ca.crt", &files, &[]).await;
        let (by_variable, ..) = wget(&pod, "", &files, &[("SSL_CERT_FILE", "/ca.crt")]).await;
        assert_eq!((by_option, by_variable), (code, code), "{pem}");
    }
    // As pods reach their API server: by address.
    let options = format!("--ca-certificate /ca.crt https://127.0.0.1:{PORT}/");
    assert_eq!(wget(&pod, &options, &[("/ca.crt", &own)], &[]).await.0, 0);
    for (text, problem) in [
        ("", "wget: /ca.crt: there is no certificate in it\n"),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", "wget: /ca.crt: not PEM: "),
    ] {
        let (code, _, stderr) = wget(&pod, "--ca-certificate /ca.crt", &[("/ca.crt", text)], &[]).await;
        assert_eq!(code, 1);
        assert!(stderr.starts_with(problem), "{stderr}");
    }
}
