//! Who is believed to be a host, and what is said of who is not.
//! Owns: a receiver on this machine, and certificates made for one test each.
//! Must not know: what is posted.
//! Invariants: none.
//! Start reading at: [`Certified::make`].

use std::path::Path;
use std::process::Command;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").current_dir(dir).args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a receiver that it certified.
struct Certified(tempfile::TempDir);

impl Certified {
    /// For `localhost`, by an authority of this name.
    fn make(name: &str) -> Self {
        Self::make_for(name, 2)
    }

    /// Until so many days from now.
    fn make_for(name: &str, days: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let name = format!("-subj /CN={name}");
        openssl(dir.path(), &format!("req -x509 {key} {name} -days 2 -keyout ca.key -out ca.pem"));
        openssl(dir.path(), &format!("req {key} -subj /CN=x -keyout host.key -out host.csr"));
        std::fs::write(dir.path().join("ext"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl(
            dir.path(),
            &format!(
                "x509 -req -in host.csr -CA ca.pem -CAkey ca.key -set_serial 7 -extfile ext \
                 -days {days} -out host.pem"
            ),
        );
        Self(dir)
    }

    fn ca(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// Takes one connection and gives what it heard on it; `None`: there was no session.
    async fn receive(
        &self,
        versions: &'static [&'static rustls::SupportedProtocolVersion],
    ) -> (std::net::SocketAddr, tokio::task::JoinHandle<Option<String>>) {
        let chain = CertificateDer::pem_file_iter(self.0.path().join("host.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.path().join("host.key")).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let heard = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.ok()?;
            let mut heard = Vec::new();
            // A session that its other end gave up holds nothing.
            stream.read_to_end(&mut heard).await.ok();
            (!heard.is_empty()).then(|| String::from_utf8(heard).unwrap())
        });
        (at, heard)
    }
}

/// Posts to a receiver called so; why not, and what the receiver heard.
async fn posted(
    receiver: &Certified,
    trust: &Trust,
    host: &str,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
) -> (Option<String>, Option<String>) {
    let (at, heard) = receiver.receive(versions).await;
    let stream = TcpStream::connect(at).await.unwrap();
    let no = match trust.session(host, stream).await {
        Ok(mut session) => {
            session.write_all(b"POST").await.unwrap();
            session.shutdown().await.unwrap();
            None
        }
        Err(no) => Some(no),
    };
    (no, heard.await.unwrap())
}

const ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
const BOTH: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;

#[tokio::test]
async fn who_leads_to_a_root_of_the_file_hears_what_is_posted_by_either_version() {
    let receiver = Certified::make("house");
    let trust = Trust::open(Some(receiver.ca())).unwrap();
    let heard = (None, Some("POST".to_owned()));
    assert_eq!(posted(&receiver, &trust, "localhost", BOTH).await, heard);
    for version in [ONLY_12, ONLY_13] {
        assert_eq!(posted(&receiver, &trust, "localhost", version).await, heard);
    }
}

#[tokio::test]
async fn nobody_else_hears_anything_and_it_is_said_why() {
    let (receiver, other) = (Certified::make("house"), Certified::make("house"));
    let own = Trust::open(Some(receiver.ca())).unwrap();
    // The names of the two authorities are the same, their keys are not.
    let strange = Trust::open(Some(other.ca())).unwrap();
    let elsewhere = Certified::make("elsewhere");
    let expired = Certified::make_for("house", -1);
    let known = Trust::open(Some(expired.ca())).unwrap();
    let unknown = Trust::open(Some(elsewhere.ca())).unwrap();
    for (receiver, trust, host, why) in [
        (&receiver, &unknown, "localhost", "webhook_ca names a file of further ones: "),
        (&receiver, &strange, "localhost", "the certificate of localhost does not hold: "),
        (&expired, &known, "localhost", "the certificate of localhost has expired: "),
        (&receiver, &own, "h.example", "the certificate is not for h.example: "),
        (&receiver, &own, "[::1]", "the certificate is not for ::1: "),
    ] {
        let (no, heard) = posted(receiver, trust, host, BOTH).await;
        let no = no.unwrap();
        assert!(no.contains(why) && no.contains("invalid peer certificate"), "{no}");
        assert_eq!(heard, None, "{no}");
    }
    let (no, heard) = posted(&receiver, &own, "no host", BOTH).await;
    assert_eq!(
        (no.unwrap().as_str(), heard),
        ("no host is no name that a certificate could be for", None)
    );
}

#[tokio::test]
async fn an_end_that_speaks_no_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 x\r\n\r\n").await.unwrap();
        // Open until it was read.
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    let receiver = Certified::make("house");
    let trust = Trust::open(Some(receiver.ca())).unwrap();
    let stream = TcpStream::connect(at).await.unwrap();
    let no = trust.session("localhost", stream).await.unwrap_err();
    assert!(no.starts_with("no TLS with localhost: "), "{no}");
    plain.await.unwrap();
}

#[tokio::test]
async fn a_root_that_comes_later_counts_without_a_new_start() {
    let (receiver, other) = (Certified::make("house"), Certified::make("house"));
    let file = other.0.path().join("roots.pem");
    std::fs::copy(other.ca(), &file).unwrap();
    let trust = Trust::open(Some(file.clone())).unwrap();
    let (no, _) = posted(&receiver, &trust, "localhost", BOTH).await;
    assert!(no.is_some());
    std::fs::copy(receiver.ca(), &file).unwrap();
    let (no, heard) = posted(&receiver, &trust, "localhost", BOTH).await;
    assert_eq!((no, heard), (None, Some("POST".to_owned())));
}

#[test]
fn a_file_that_holds_no_root_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let refused = |path: &Path| Trust::open(Some(path.to_owned())).unwrap_err();
    assert_eq!(refused(&path).refusal, Refusal::ConfigBad);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no PEM", broken, "-----BEGIN CERTIFICATE-----\n"] {
        std::fs::write(&path, text).unwrap();
        let refused = refused(&path);
        assert_eq!(refused.refusal, Refusal::ConfigBad, "{text}");
        assert!(refused.detail.starts_with("webhook_ca: /"), "{}", refused.detail);
    }
    std::fs::write(&path, vec![b'\n'; (4 << 20) + 1]).unwrap();
    assert!(refused(&path).detail.ends_with("more than 4 MiB"));
    assert!(Trust::open(None).is_ok());
}
