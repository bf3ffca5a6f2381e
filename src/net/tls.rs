//! TLS 1.3 on TCP connections, as libp2p speaks it, under the cipher that costs least here.
//! Owns: which cipher is offered and taken, how much is read and written at once.
//! Must not know: who may connect: a connection ends with a peer id and nothing else.
//! Invariants: on the wire it is `/tls/1.0.0` of every libp2p; both sides prove their peer id; no
//! session is resumed, no key of one is logged.
//! Start reading at: [`Tls`].

// Under Noise a quarter of the processor's time for a file was ChaCha20-Poly1305, the only cipher it has. TLS
// lets whoever listens choose. libp2p's own wrapping takes ChaCha20-Poly1305 all the same, reads 4 KiB
// at a time and makes two records of a short frame.

use std::{fmt, io, iter, net::Ipv4Addr, sync::Arc};

use futures::{AsyncRead, AsyncWrite, FutureExt as _, future::BoxFuture, io::BufWriter};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity::Keypair,
    tls::certificate,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider,
        aws_lc_rs::{
            cipher_suite::{
                TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
            default_provider,
        },
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{Error, ahead::Ahead, behaviour::not_started};

/// Written together: a short frame goes in one record with its head; a long one's body is not copied.
const WRITE_BYTES: usize = 8 << 10;
/// What this is called when a connection is made.
const ALPN: &[u8] = b"libp2p";
/// How a certificate's key may sign, as libp2p has it.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// A connection under TLS.
pub(super) type Carried<C> = BufWriter<TlsStream<Ahead<C>>>;

/// Agreed upon when a connection is made; becomes a [`Carried`] of whoever is there.
#[derive(Clone)]
pub(super) struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// With a certificate that this key vouches for.
    ///
    /// # Errors
    /// [`Error::NotStarted`]: no certificate can be made of this key.
    pub(super) fn new(key: &Keypair) -> Result<Self, Error> {
        let (certificate, private_key) = certificate::generate(key).map_err(not_started)?;
        let keys = default_provider().key_provider;
        let signs = keys.load_private_key(private_key).map_err(not_started)?;
        Self::showing(CertifiedKey::new(vec![certificate], signs))
    }

    /// Whoever connects is shown this, and who it is shown by is left to its signature.
    fn showing(certified: CertifiedKey) -> Result<Self, Error> {
        let shown = Arc::new(SingleCertAndKey::from(certified));
        let listens = provider(taken(has_aes()));
        let mut server = ServerConfig::builder_with_provider(listens)
            .with_protocol_versions(&[&TLS13])
            .map_err(not_started)?
            .with_client_cert_verifier(Arc::new(AnyPeer))
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&shown));
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.ignore_client_order = true;
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let dials = provider(offered(has_aes()));
        let mut client = ClientConfig::builder_with_provider(dials)
            .with_protocol_versions(&[&TLS13])
            .map_err(not_started)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyPeer))
            .with_client_cert_resolver(shown);
        client.alpn_protocols = vec![ALPN.to_vec()];
        // All have one name here: another one's session would be offered.
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn provider(cipher_suites: Vec<SupportedCipherSuite>) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

const AES: [SupportedCipherSuite; 2] = [TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256];
const CHACHA: [SupportedCipherSuite; 1] = [TLS13_CHACHA20_POLY1305_SHA256];

/// What whoever listens takes, the best first: AES where the processor has instructions for it.
fn taken(has_aes: bool) -> Vec<SupportedCipherSuite> {
    if has_aes { [&AES[..], &CHACHA].concat() } else { [&CHACHA[..], &AES].concat() }
}

/// What whoever dials offers. The other side chooses, by its own processor: so no AES without
/// instructions for it, which takes several times as long.
fn offered(has_aes: bool) -> Vec<SupportedCipherSuite> {
    if has_aes { taken(true) } else { CHACHA.to_vec() }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// Whoever proves a peer id by one certificate, as libp2p reads it. Whether it is the one that was
/// dialled is looked at by libp2p, whatever proves it.
#[derive(Debug)]
struct AnyPeer;

impl AnyPeer {
    fn check(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), rustls::Error> {
        if !intermediates.is_empty() {
            return Err(rustls::Error::General("more than one certificate".to_owned()));
        }
        certificate::parse(end_entity)?;
        Ok(())
    }

    fn check_signature(
        message: &[u8],
        of: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        certificate::parse(of)?.verify_signature(signed.scheme, message, signed.signature())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn too_old() -> rustls::Error {
        rustls::Error::General("TLS 1.3 and no other".to_owned())
    }
}

impl ClientCertVerifier for AnyPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Self::too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        of: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, of, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ServerCertVerifier for AnyPeer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(Self::too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        of: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::check_signature(message, of, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl UpgradeInfo for Tls {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/tls/1.0.0")
    }
}

type Upgrade<C> = BoxFuture<'static, io::Result<(PeerId, Carried<C>)>>;

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, Carried<C>);
    type Error = io::Error;
    type Future = Upgrade<C>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        let socket = Ahead::new(socket);
        let accepted = TlsAcceptor::from(self.server).accept(socket);
        async move { carried(accepted.await?.into()) }.boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Tls {
    type Output = (PeerId, Carried<C>);
    type Error = io::Error;
    type Future = Upgrade<C>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        let socket = Ahead::new(socket);
        // An address is not told to the other side; libp2p tells no name.
        let nobody = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let connected = TlsConnector::from(self.client).connect(nobody, socket);
        async move { carried(connected.await?.into()) }.boxed()
    }
}

/// Who is there; libp2p compares it with who was dialled.
fn carried<C>(stream: TlsStream<Ahead<C>>) -> io::Result<(PeerId, Carried<C>)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let peer = match stream.get_ref().1.peer_certificates() {
        Some([one]) => certificate::parse(one).map_err(|error| bad(error.to_string()))?.peer_id(),
        _ => return Err(bad("not one certificate".to_owned())),
    };
    Ok((peer, BufWriter::with_capacity(WRITE_BYTES, stream)))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
        task::{Context, Poll},
    };

    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use libp2p::tcp::tokio::TcpStream as Socket;
    use rustls::{CipherSuite, HandshakeKind, NamedGroup, client::ResolvesClientCert};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Who dials, and who listens.
    async fn sockets() -> [Socket; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        [ours.unwrap(), theirs.unwrap().0].map(Socket)
    }

    fn own(key: &Keypair) -> Tls {
        Tls::new(key).unwrap()
    }

    fn libp2ps(key: &Keypair) -> libp2p::tls::Config {
        libp2p::tls::Config::new(key).unwrap()
    }

    /// Connects them; gives what each made of it.
    async fn meet<D, L>(dials: D, listens: L) -> (D::Output, L::Output)
    where
        D: OutboundConnectionUpgrade<Socket, Info = &'static str, Error: fmt::Debug>,
        L: InboundConnectionUpgrade<Socket, Info = &'static str, Error: fmt::Debug>,
    {
        let [ours, theirs] = sockets().await;
        let info = "/tls/1.0.0";
        let met =
            tokio::join!(dials.upgrade_outbound(ours, info), listens.upgrade_inbound(theirs, info));
        (met.0.unwrap(), met.1.unwrap())
    }

    async fn talk(mut one: impl AsyncWrite + Unpin, mut other: impl AsyncRead + Unpin) {
        let said = vec![7; 100_000];
        let say = async {
            one.write_all(&said).await.unwrap();
            one.flush().await.unwrap();
        };
        let mut heard = vec![0; said.len()];
        let (_, read) = tokio::join!(say, other.read_exact(&mut heard));
        read.unwrap();
        assert_eq!(heard, said);
    }

    fn cipher<C>(carried: &Carried<C>) -> CipherSuite {
        carried.get_ref().get_ref().1.negotiated_cipher_suite().unwrap().suite()
    }

    #[tokio::test]
    async fn each_side_learns_who_the_other_is_and_so_does_another_libp2p() {
        let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let [alice, bob] = keys.each_ref().map(|key| key.public().to_peer_id());
        let best = taken(has_aes())[0].suite();

        let ((to, mut ours), (from, mut theirs)) = meet(own(&keys[0]), own(&keys[1])).await;
        assert_eq!((from, to), (alice, bob));
        assert_eq!([cipher(&ours), cipher(&theirs)], [best; 2]);
        let agreed_by = ours.get_ref().get_ref().1.negotiated_key_exchange_group();
        assert_eq!(agreed_by.map(|it| it.name()), Some(NamedGroup::X25519MLKEM768));
        talk(&mut ours, &mut theirs).await;
        talk(&mut theirs, &mut ours).await;

        let ((to, ours), (from, theirs)) = meet(own(&keys[0]), libp2ps(&keys[1])).await;
        assert_eq!((from, to), (alice, bob));
        talk(ours, theirs).await;

        // It would have taken the other one; whoever listens chooses.
        let ((to, theirs), (from, ours)) = meet(libp2ps(&keys[0]), own(&keys[1])).await;
        assert_eq!((from, to, cipher(&ours)), (alice, bob, best));
        talk(theirs, ours).await;
    }

    #[test]
    fn aes_is_for_processors_that_have_instructions_for_it() {
        let suites = |of: Vec<SupportedCipherSuite>| -> Vec<CipherSuite> {
            of.iter().map(SupportedCipherSuite::suite).collect()
        };
        let aes = [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256];
        let chacha = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
        assert_eq!(suites(taken(true)), [aes[0], aes[1], chacha]);
        assert_eq!(suites(offered(true)), [aes[0], aes[1], chacha]);
        assert_eq!(suites(taken(false)), [chacha, aes[0], aes[1]], "who has no other may come");
        assert_eq!(suites(offered(false)), [chacha]);
    }

    #[test]
    fn no_key_is_logged() {
        let tls = own(&Keypair::generate_ed25519());
        assert!(!tls.client.key_log.will_log("") && !tls.server.key_log.will_log(""));
    }

    #[tokio::test]
    async fn no_session_is_resumed_with_another_libp2p_either() {
        let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let (ours, theirs) = (own(&keys[0]), libp2ps(&keys[1]));
        for _ in 0..2 {
            // Tickets would come with the first bytes.
            let ((_, dialled), (_, listens)) = meet(ours.clone(), theirs.clone()).await;
            assert_eq!(kind(&dialled), Some(HandshakeKind::Full));
            talk(listens, dialled).await;
            let ((_, dialled), (_, listens)) = meet(theirs.clone(), ours.clone()).await;
            assert_eq!(kind(&listens), Some(HandshakeKind::Full));
            talk(listens, dialled).await;
        }
    }

    fn kind<C>(carried: &Carried<C>) -> Option<HandshakeKind> {
        carried.get_ref().get_ref().1.handshake_kind()
    }

    #[derive(Debug)]
    struct ShowsNothing;

    impl ResolvesClientCert for ShowsNothing {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }

        fn has_certs(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn who_proves_no_peer_id_is_refused_whoever_dials() {
        let (alice, bob) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (certificate, right) = certificate::generate(&alice).unwrap();
        let (_, wrong) = certificate::generate(&alice).unwrap();
        let load = |key| default_provider().key_provider.load_private_key(key).unwrap();
        let (right, wrong) = (load(right), load(wrong));
        let shows = |count: usize, key: &Arc<dyn rustls::sign::SigningKey>| {
            let certificates = vec![certificate.clone(); count];
            Tls::showing(CertifiedKey::new(certificates, Arc::clone(key))).unwrap()
        };
        let mut nothing = shows(1, &right);
        let mut client = (*nothing.client).clone();
        client.client_auth_cert_resolver = Arc::new(ShowsNothing);
        nothing.client = Arc::new(client);
        let info = "/tls/1.0.0";
        for (shown, is_in) in [
            (shows(1, &right), true),
            (shows(1, &wrong), false),
            (shows(2, &right), false),
            (nothing, false),
        ] {
            let is_it = is_in.then(|| alice.public().to_peer_id());
            let [dials, listens] = sockets().await;
            let (_, met) = tokio::join!(
                shown.clone().upgrade_outbound(dials, info),
                own(&bob).upgrade_inbound(listens, info),
            );
            assert_eq!(met.map(|(peer, _)| peer).ok(), is_it);
            if shown.client.client_auth_cert_resolver.has_certs() {
                let [dials, listens] = sockets().await;
                let (met, _) = tokio::join!(
                    own(&bob).upgrade_outbound(dials, info),
                    shown.upgrade_inbound(listens, info),
                );
                assert_eq!(met.map(|(peer, _)| peer).ok(), is_it);
            }
        }
        // Of two, neither is looked at.
        let both = AnyPeer.verify_client_cert(
            &certificate,
            std::slice::from_ref(&certificate),
            UnixTime::now(),
        );
        assert!(both.is_err());
        let junk = CertificateDer::from(vec![7; 100]);
        assert!(AnyPeer.verify_client_cert(&junk, &[], UnixTime::now()).is_err());
        assert!(AnyPeer.verify_client_cert(&certificate, &[], UnixTime::now()).is_ok());
    }

    #[tokio::test]
    async fn what_was_said_before_the_end_arrives() {
        let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let ((_, mut ours), (_, mut theirs)) = meet(own(&keys[0]), own(&keys[1])).await;
        ours.write_all(b"the last word").await.unwrap();
        ours.close().await.unwrap();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"the last word");
    }

    /// Counts what is written.
    struct Counted(Socket, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_close(cx)
        }
    }

    #[tokio::test]
    async fn a_frame_and_its_head_are_written_at_once() {
        let keys = [Keypair::generate_ed25519(), Keypair::generate_ed25519()];
        let [ours, theirs] = sockets().await;
        let count = Arc::new(AtomicUsize::new(0));
        let ours = Counted(ours, Arc::clone(&count));
        let info = "/tls/1.0.0";
        let (ours, theirs) = tokio::join!(
            own(&keys[0]).upgrade_outbound(ours, info),
            own(&keys[1]).upgrade_inbound(theirs, info),
        );
        let ((_, mut ours), (_, mut theirs)) = (ours.unwrap(), theirs.unwrap());
        let before = count.load(Ordering::Relaxed);
        ours.write_all(&[1; 12]).await.unwrap();
        ours.write_all(&[2; 300]).await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), before + 1);
        let mut heard = [0; 312];
        theirs.read_exact(&mut heard).await.unwrap();
        assert_eq!((heard[11], heard[12]), (1, 2));
    }
}
