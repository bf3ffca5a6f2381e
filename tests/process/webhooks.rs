//! Outgoing webhooks over TLS, as a receiver meets them.
//! Owns: a receiver that shows this certificate or that.
//! Must not know: how the API is built.
//! Invariants: as in `main.rs`.
//! Start reading at: the first test.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{KeyInit, Mac};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::api::{Served, header};
use crate::harness::{LONG, LOOK, Lab, Value, json};

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").current_dir(dir).args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// An authority of this name.
fn authority(dir: &Path, name: &str) {
    let own = format!("-subj /CN={name} -days 2 -keyout {name}.key -out {name}.pem");
    openssl(dir, &format!("req -x509 {KEY} {own}"));
}

/// What an authority certified for this machine, until so many days from now.
fn certified(dir: &Path, name: &str, days: i32) -> Arc<ServerConfig> {
    openssl(dir, &format!("req {KEY} -subj /CN=x -keyout host.key -out host.csr"));
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        dir,
        &format!(
            "x509 -req -in host.csr -CA {name}.pem -CAkey {name}.key -set_serial 7 -extfile ext \
             -days {days} -out host.pem"
        ),
    );
    let chain = CertificateDer::pem_file_iter(dir.join("host.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("host.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
        .unwrap();
    Arc::new(config)
}

/// Takes one connection with each of these; what was heard there, or why nothing was.
fn receiver(
    listener: &TcpListener,
    shown: Vec<Arc<ServerConfig>>,
) -> std::thread::JoinHandle<Vec<Result<String, String>>> {
    let listener = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        let take = |config: Arc<ServerConfig>| {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
            let (mut request, mut part) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"}") {
                match stream.read(&mut part) {
                    Ok(0) => break,
                    Ok(count) => request.extend_from_slice(&part[..count]),
                    Err(error) if request.is_empty() => return Err(error.to_string()),
                    Err(error) => panic!("{error}"),
                }
            }
            stream.write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
            Ok(String::from_utf8(request).unwrap())
        };
        shown.into_iter().map(take).collect()
    })
}

/// Asks for the webhooks until why the only one fails is as meant.
fn listed_until(api: &Served<'_>, what: &str, is: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + LONG;
    loop {
        let listed = api.get("/v1/webhooks").json();
        if is(&listed["webhooks"][0]["failing"]) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}: {listed}");
        std::thread::sleep(LOOK);
    }
}

#[test]
fn a_webhook_by_https_goes_to_whom_the_named_authority_certified_and_to_nobody_else() {
    let lab = Lab::new();
    let dir = lab.dir.path().to_owned();
    authority(&dir, "own");
    authority(&dir, "other");
    let other = certified(&dir, "other", 2);
    let expired = certified(&dir, "own", -1);
    let own = certified(&dir, "own", 2);
    let ca = dir.join("own.pem");
    let lab = lab.with("WEBHOOK_CA", ca.to_str().unwrap());
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let api = Served::new(&lab, "alice");
    let alice = api.start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/in?a=b", listener.local_addr().unwrap());
    // The wrong certificates first: tried again each time, and at last it is the right one.
    let heard = receiver(&listener, vec![other, expired]);
    let wanted = json!({ "url": url, "allow_local": true, "room": "main" });
    let added = api.post("/v1/webhooks", &wanted, &[]);
    assert_eq!(added.status, 201, "{}", added.text);
    let secret = added.json()["secret"].clone();
    alice.say("for whom it is");
    let heard = heard.join().unwrap();
    let noes: Vec<&String> = heard.iter().map(|it| it.as_ref().unwrap_err()).collect();
    assert!(noes[0].contains("UnknownCA") && noes[1].contains("CertificateExpired"), "{noes:?}");
    // Who asks meanwhile is told why it does not arrive.
    let why = |why: &Value| why.as_str().is_some_and(|it| it.contains("127.0.0.1 has expired"));
    listed_until(&api, "it is said why", why);
    let heard = receiver(&listener, vec![own]).join().unwrap();
    let request = heard[0].as_ref().unwrap();
    assert!(request.starts_with("POST /in?a=b HTTP/1.1\r\n"), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!(message["text"], "for whom it is");
    let mut mac =
        hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_str().unwrap().as_bytes()).unwrap();
    mac.update(format!("{}.{body}", header(request, "X-P2pgroup-Timestamp")).as_bytes());
    let bytes = mac.finalize().into_bytes();
    let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header(request, "X-P2pgroup-Signature"), format!("sha256={expected}"));
    listed_until(&api, "nothing fails any more", Value::is_null);
    let dead = api.get("/v1/webhooks/dead").json();
    assert_eq!(dead["dead"], json!([]), "{dead}");
    alice.exit();
    // A file that holds no certificate is said before anything starts.
    std::fs::write(&ca, "no PEM").unwrap();
    let ended = lab.start_with("alice", &["--no-embedded", "--api", "127.0.0.1:0"]);
    let ended = ended.ended(Duration::from_secs(30));
    assert_eq!((ended.code, ended.fatal()), (Some(2), "config_bad"), "{}", ended.text());
}
