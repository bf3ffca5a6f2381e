//! X.509: the authority is a small standard CA, and every rule of ours about it is here.
//! Owns: both profiles, revocation lists, PEM, and the checking of certificates.
//! Must not know: who registers, who is revoked, what time it is.
//! Invariants: a checked certificate is canonical DER, signed by its authority, one name, one peer.
//! Start reading at: [`check_member`].

use std::time::Duration;

use bytes::Bytes;
use rsa::RsaPublicKey;
use rsa::pss::get_default_pss_signature_algo_id;
use sha2::{Digest, Sha256};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, CrlBuilder};
use x509_cert::crl::RevokedCert;
use x509_cert::der::asn1::{Any, Ia5String, ObjectIdentifier, SetOfVec, Utf8StringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::pem::{LineEnding, PemLabel};
use x509_cert::der::{DateTime, Decode, DecodePem, Encode, EncodePem};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlNumber, CrlReason, ExtendedKeyUsage, KeyUsage,
    KeyUsages, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::{Name, RdnSequence};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoRef;
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, SubjectPublicKeyInfo, TbsCertificate, Version};

use super::keys::{self, AuthorityKey};
use super::name::{self, CheckedName};
use super::voucher::VoucherUse;
use super::{Authority, CertificateOrder, CrlOrder, Issuer, Terms};
use crate::identity::AuthorityDomain;
use crate::ids::{NetworkId, PeerId};
use crate::limits::{AUTHORITY_LIFE, CERTIFICATE_BACKDATE, CERTIFICATE_BYTES_MAX};
use crate::refusal::Refusal;
use crate::time::Wall;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// Opens the URI in a member's certificate; the peer id follows.
const SCHEME: &str = "p2p:";
/// A PEM file may hold text around the certificate, within reason.
const PEM_BYTES_MAX: usize = 64 << 10;

/// A member's certificate that passed every rule but time and revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The certified name.
    pub name: CheckedName,
    /// The fingerprint of the certified key.
    pub peer: PeerId,
    /// The authority's number for it.
    pub serial: u64,
    /// Not valid before.
    pub not_before: Wall,
    /// Not valid after.
    pub not_after: Wall,
    /// The voucher it came by.
    pub voucher: Option<VoucherUse>,
    /// The certified key.
    pub(super) key: RsaPublicKey,
}

/// Checks an authority's self-signed certificate against every rule but time.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub fn check_authority(der: &Bytes) -> Result<Authority, Refusal> {
    let certificate = parse(der)?;
    let tbs = certificate.tbs_certificate();
    let spki = tbs.subject_public_key_info().to_der().map_err(bad)?;
    let key = keys::public_key(&spki)?;
    let network = NetworkId(Sha256::digest(&spki).into());
    let subject = authority_name(&network).map_err(bad)?;
    hold(tbs.subject() == &subject && tbs.issuer() == &subject)?;
    let allowed: &[ObjectIdentifier] = &[BasicConstraints::OID, KeyUsage::OID];
    check_extensions(tbs, allowed)?;
    let (is_critical, constraints) = required::<BasicConstraints>(tbs)?;
    hold(is_critical && constraints.ca && constraints.path_len_constraint == Some(0))?;
    let (is_critical, usage) = required::<KeyUsage>(tbs)?;
    hold(is_critical && usage.0 == (KeyUsages::KeyCertSign | KeyUsages::CRLSign))?;
    let (_, identifier) = required::<SubjectKeyIdentifier>(tbs)?;
    hold(identifier == key_identifier(tbs.subject_public_key_info())?)?;
    hold(is_signed_by(&certificate, &key))?;
    Ok(Authority { network, der: der.clone() })
}

/// Checks a member's certificate against every rule but time and revocation.
///
/// # Refusals
/// [`Refusal::CertificateBad`], [`Refusal::CertificateForeign`], [`Refusal::CertificateOfOther`],
/// [`Refusal::NameBad`].
pub fn check_member(authority: &Authority, der: &[u8]) -> Result<Member, Refusal> {
    let certificate = parse(der)?;
    let root = parse(&authority.der)?;
    check_issuer(&certificate, &root, authority)?;
    let tbs = certificate.tbs_certificate();
    let allowed: &[ObjectIdentifier] =
        &[BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID, SubjectAltName::OID];
    check_extensions(tbs, allowed)?;
    let (is_critical, constraints) = required::<BasicConstraints>(tbs)?;
    hold(is_critical && !constraints.ca && constraints.path_len_constraint.is_none())?;
    let (is_critical, usage) = required::<KeyUsage>(tbs)?;
    hold(is_critical && usage.0 == KeyUsages::DigitalSignature)?;
    let (_, extended) = required::<ExtendedKeyUsage>(tbs)?;
    hold(extended.0 == [SERVER_AUTH, CLIENT_AUTH])?;
    let (_, identifier) = required::<SubjectKeyIdentifier>(tbs)?;
    hold(identifier == key_identifier(tbs.subject_public_key_info())?)?;
    let spki = tbs.subject_public_key_info().to_der().map_err(bad)?;
    let key = keys::public_key(&spki)?;
    let peer = PeerId::of_rsa_spki(&spki);
    let (certified, voucher) = certified_peer(tbs)?;
    if certified != peer {
        return Err(Refusal::CertificateOfOther);
    }
    let (not_before, not_after) = bounds(tbs);
    Ok(Member {
        name: certified_name(tbs.subject())?,
        peer,
        serial: serial(tbs.serial_number())?,
        not_before,
        not_after,
        voucher,
        key,
    })
}

/// What a member's certificate says about its time and its way in, where the DER is one's own.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub fn terms(der: &[u8]) -> Result<Terms, Refusal> {
    let certificate = parse(der)?;
    let tbs = certificate.tbs_certificate();
    let (not_before, not_after) = bounds(tbs);
    Ok(Terms { not_before, not_after, voucher: certified_peer(tbs)?.1 })
}

/// The public key of an authority.
pub(super) fn authority_key(authority: &Authority) -> Result<RsaPublicKey, Refusal> {
    let root = parse(&authority.der)?;
    keys::public_key(&root.tbs_certificate().subject_public_key_info().to_der().map_err(bad)?)
}

/// SHA-256 of the certified public key in hex: what people compare.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub fn key_fingerprint(der: &[u8]) -> Result<String, Refusal> {
    let certificate = parse(der)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    Ok(keys::fingerprint(&key.to_der().map_err(bad)?))
}

/// A certificate as PEM.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub fn to_pem(der: &[u8]) -> Result<String, Refusal> {
    parse(der)?.to_pem(LineEnding::LF).map_err(bad)
}

/// The certificate in a PEM file.
///
/// # Refusals
/// [`Refusal::CertificateBad`].
pub fn from_pem(pem: &[u8]) -> Result<Bytes, Refusal> {
    hold(pem.len() <= PEM_BYTES_MAX)?;
    // `openssl x509 -text` writes prose above the certificate.
    let start = format!("-----BEGIN {}-----", Certificate::PEM_LABEL);
    let at = pem.windows(start.len()).position(|window| window == start.as_bytes());
    let pem = at.and_then(|at| pem.get(at..)).ok_or(Refusal::CertificateBad)?;
    let der = Certificate::from_pem(pem).and_then(|certificate| certificate.to_der());
    der.map(Bytes::from).map_err(bad)
}

/// Of bounded length, DER without slack, version 3, our signature algorithm, and a validity that
/// does not end before it starts.
fn parse(der: &[u8]) -> Result<Certificate, Refusal> {
    hold(der.len() <= CERTIFICATE_BYTES_MAX)?;
    let certificate = Certificate::from_der(der).map_err(bad)?;
    // What is signed is checked by encoding it again, so nothing may get lost on the way.
    hold(certificate.to_der().map_err(bad)? == der)?;
    let tbs = certificate.tbs_certificate();
    hold(tbs.version() == Version::V3)?;
    hold(tbs.issuer_unique_id().is_none() && tbs.subject_unique_id().is_none())?;
    let algorithm = get_default_pss_signature_algo_id::<Sha256>().map_err(bad)?;
    hold(certificate.signature_algorithm() == &algorithm && tbs.signature() == &algorithm)?;
    let (not_before, not_after) = bounds(tbs);
    hold(not_before < not_after)?;
    Ok(certificate)
}

/// Issued by this authority: its name, its key identifier, its signature.
fn check_issuer(
    certificate: &Certificate,
    root: &Certificate,
    authority: &Authority,
) -> Result<(), Refusal> {
    let tbs = certificate.tbs_certificate();
    let expected = AuthorityKeyIdentifier {
        key_identifier: Some(key_identifier(root.tbs_certificate().subject_public_key_info())?.0),
        ..Default::default()
    };
    let (_, identifier) = required::<AuthorityKeyIdentifier>(tbs)?;
    let is_ours = tbs.issuer() == root.tbs_certificate().subject()
        && identifier == expected
        && is_signed_by(certificate, &authority_key(authority)?);
    if is_ours { Ok(()) } else { Err(Refusal::CertificateForeign) }
}

/// No extension twice, and no critical one but those whose meaning we enforce (RFC 5280 4.2).
fn check_extensions(tbs: &TbsCertificate, enforced: &[ObjectIdentifier]) -> Result<(), Refusal> {
    let mut seen = Vec::new();
    for extension in tbs.extensions().into_iter().flatten() {
        hold(!seen.contains(&extension.extn_id))?;
        hold(!extension.critical || enforced.contains(&extension.extn_id))?;
        seen.push(extension.extn_id);
    }
    Ok(())
}

fn required<T>(tbs: &TbsCertificate) -> Result<(bool, T), Refusal>
where
    T: AssociatedOid + for<'a> Decode<'a>,
{
    tbs.get_extension::<T>().ok().flatten().ok_or(Refusal::CertificateBad)
}

fn is_signed_by(certificate: &Certificate, key: &RsaPublicKey) -> bool {
    let (Ok(signed), Some(signature)) =
        (certificate.tbs_certificate().to_der(), certificate.signature().as_bytes())
    else {
        return false;
    };
    keys::is_signed_raw(key, &signed, signature)
}

/// The one common name, already in the form in which names are compared.
fn certified_name(subject: &Name) -> Result<CheckedName, Refusal> {
    let mut attributes = subject.iter();
    let (Some(only), None) = (attributes.next(), attributes.next()) else {
        return Err(Refusal::CertificateBad);
    };
    hold(only.oid == COMMON_NAME)?;
    let text = only.value.decode_as::<Utf8StringRef<'_>>().map_err(bad)?;
    let text: &str = text.as_ref();
    let checked = name::check(text).map_err(|refused| refused.refusal)?;
    if checked.name == text { Ok(checked) } else { Err(Refusal::NameBad) }
}

/// The peer id in the first subject alternative name, and the voucher in the second if there is one.
fn certified_peer(tbs: &TbsCertificate) -> Result<(PeerId, Option<VoucherUse>), Refusal> {
    let (_, names) = required::<SubjectAltName>(tbs)?;
    let mut uris = names.0.iter().map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Ok(uri.as_ref()),
        _ => Err(Refusal::CertificateBad),
    });
    let first: &str = uris.next().ok_or(Refusal::CertificateBad)??;
    let peer = first.strip_prefix(SCHEME).and_then(PeerId::parse).ok_or(Refusal::CertificateBad)?;
    let voucher = match uris.next() {
        Some(second) => Some(VoucherUse::from_uri(second?).ok_or(Refusal::CertificateBad)?),
        None => None,
    };
    hold(uris.next().is_none())?;
    Ok((peer, voucher))
}

fn serial(number: &SerialNumber) -> Result<u64, Refusal> {
    let bytes = number.as_bytes();
    hold(bytes.len() <= 9 && bytes.first().is_some_and(|first| first & 0x80 == 0))?;
    let mut serial = 0_u64;
    for byte in bytes {
        serial = serial.checked_mul(256).ok_or(Refusal::CertificateBad)?;
        serial = serial.checked_add(u64::from(*byte)).ok_or(Refusal::CertificateBad)?;
    }
    if serial == 0 { Err(Refusal::CertificateBad) } else { Ok(serial) }
}

fn bounds(tbs: &TbsCertificate) -> (Wall, Wall) {
    let wall =
        |time: Time| Wall(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX));
    (wall(tbs.validity().not_before), wall(tbs.validity().not_after))
}

fn key_identifier(spki: &SubjectPublicKeyInfo) -> Result<SubjectKeyIdentifier, Refusal> {
    let der = spki.to_der().map_err(bad)?;
    let borrowed = SubjectPublicKeyInfoRef::from_der(&der).map_err(bad)?;
    SubjectKeyIdentifier::try_from(borrowed).map_err(bad)
}

fn hold(rule: bool) -> Result<(), Refusal> {
    if rule { Ok(()) } else { Err(Refusal::CertificateBad) }
}

fn bad<E>(_why: E) -> Refusal {
    Refusal::CertificateBad
}

fn internal<E>(_why: E) -> Refusal {
    Refusal::Internal
}

// --- issuing

impl Issuer for AuthorityKey {
    fn network(&self) -> NetworkId {
        Self::network(self)
    }

    fn authority(&self, now: Wall) -> Result<Bytes, Refusal> {
        let profile = Profile::Authority { subject: authority_name(&Issuer::network(self))? };
        let from = Wall(now.0.saturating_sub(CERTIFICATE_BACKDATE.0));
        issue(self, profile, 1, (from, now.after(AUTHORITY_LIFE)), self.spki())
    }

    fn certificate(&self, order: &CertificateOrder<'_>) -> Result<Bytes, Refusal> {
        let profile = Profile::Member {
            issuer: authority_name(&Issuer::network(self))?,
            subject: common_name(order.name)?,
            peer: PeerId::of_rsa_spki(order.spki),
            voucher: order.voucher,
        };
        issue(self, profile, order.serial, (order.not_before, order.not_after), order.spki)
    }

    fn crl(&self, authority: &Authority, order: &CrlOrder) -> Result<Bytes, Refusal> {
        let root = parse(&authority.der)?;
        let number = CrlNumber::try_from(order.number).map_err(internal)?;
        let builder = CrlBuilder::new_with_this_update(&root, number, time(order.this_update)?)
            .map_err(internal)?
            .with_next_update(Some(time(order.next_update)?));
        let revoked = order.revoked.iter().map(revoked_entry).collect::<Result<Vec<_>, _>>()?;
        // An empty list must be absent (RFC 5280 5.1.2.6).
        let builder = if revoked.is_empty() {
            builder
        } else {
            builder.with_certificates(revoked.into_iter())
        };
        let list = self
            .with_signer(|key, rng| builder.build_with_rng::<_, rsa::pss::Signature, _>(key, rng))
            .map_err(internal)?;
        list.to_der().map(Bytes::from).map_err(internal)
    }

    fn sign(&self, domain: AuthorityDomain, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        Self::sign(self, domain.tag(), bytes)
    }

    fn possession(
        &self,
        name: &str,
        spki: &[u8],
        nonce: &[u8; 16],
        signature: &[u8],
    ) -> Result<PeerId, Refusal> {
        keys::check_possession(&Issuer::network(self), name, spki, nonce, signature)
    }

    fn terms(&self, der: &[u8]) -> Result<Terms, Refusal> {
        terms(der)
    }
}

/// What goes into the two kinds of certificate.
enum Profile {
    Authority { subject: Name },
    Member { issuer: Name, subject: Name, peer: PeerId, voucher: Option<VoucherUse> },
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        match self {
            Self::Authority { .. } => subject.clone(),
            Self::Member { issuer, .. } => issuer.clone(),
        }
    }

    fn get_subject(&self) -> Name {
        match self {
            Self::Authority { subject } | Self::Member { subject, .. } => subject.clone(),
        }
    }

    fn build_extensions(
        &self,
        spki: SubjectPublicKeyInfoRef<'_>,
        issuer: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let mut push = |extension: Extension| extensions.push(extension);
        let subject = tbs.subject();
        push(SubjectKeyIdentifier::try_from(spki)?.to_extension(subject, &[])?);
        push(AuthorityKeyIdentifier::try_from(issuer)?.to_extension(subject, &[])?);
        match self {
            Self::Authority { .. } => {
                let constraints = BasicConstraints { ca: true, path_len_constraint: Some(0) };
                push(constraints.to_extension(subject, &[])?);
                let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
                push(usage.to_extension(subject, &[])?);
            }
            Self::Member { peer, voucher, .. } => {
                let constraints = BasicConstraints { ca: false, path_len_constraint: None };
                push(constraints.to_extension(subject, &[])?);
                push(KeyUsage(KeyUsages::DigitalSignature.into()).to_extension(subject, &[])?);
                let extended = ExtendedKeyUsage(vec![SERVER_AUTH, CLIENT_AUTH]);
                push(extended.to_extension(subject, &[])?);
                let uri =
                    |text: &str| Ia5String::new(text).map(GeneralName::UniformResourceIdentifier);
                let mut names = vec![uri(&format!("{SCHEME}{peer}"))?];
                if let Some(voucher) = voucher {
                    names.push(uri(&voucher.to_uri())?);
                }
                let name = SubjectAltName(names);
                push(name.to_extension(subject, &[])?);
            }
        }
        Ok(extensions)
    }
}

fn issue<P: BuilderProfile>(
    key: &AuthorityKey,
    profile: P,
    serial: u64,
    (not_before, not_after): (Wall, Wall),
    spki: &[u8],
) -> Result<Bytes, Refusal> {
    let validity = Validity::new(time(not_before)?, time(not_after)?);
    let spki = SubjectPublicKeyInfo::from_der(spki).map_err(internal)?;
    let builder = CertificateBuilder::new(profile, SerialNumber::from(serial), validity, spki)
        .map_err(internal)?;
    let certificate = key
        .with_signer(|key, rng| builder.build_with_rng::<_, rsa::pss::Signature, _>(key, rng))
        .map_err(internal)?;
    certificate.to_der().map(Bytes::from).map_err(internal)
}

fn revoked_entry(revoked: &(u64, Wall, String)) -> Result<RevokedCert, Refusal> {
    let (serial, at, reason) = revoked;
    let reason = crl_reason(reason).to_extension(&Name::default(), &[]).map_err(internal)?;
    Ok(RevokedCert {
        serial_number: SerialNumber::from(*serial),
        revocation_date: time(*at)?,
        crl_entry_extensions: Some(vec![reason]),
    })
}

/// The operator writes prose; X.509 knows ten reasons.
fn crl_reason(reason: &str) -> CrlReason {
    let reason = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if says(&["compromis", "stolen", "lost"]) {
        CrlReason::KeyCompromise
    } else if says(&["superseded", "replaced", "renewed"]) {
        CrlReason::Superseded
    } else if says(&["left", "gone", "retired"]) {
        CrlReason::CessationOfOperation
    } else {
        CrlReason::PrivilegeWithdrawn
    }
}

fn authority_name(network: &NetworkId) -> Result<Name, Refusal> {
    let hex: String = network.to_string().chars().take(8).collect();
    common_name(&format!("p2pgroup authority {hex}"))
}

fn common_name(text: &str) -> Result<Name, Refusal> {
    let value = Any::encode_from(&Utf8StringRef::new(text).map_err(internal)?).map_err(internal)?;
    let attribute = x509_cert::attr::AttributeTypeAndValue { oid: COMMON_NAME, value };
    let set = SetOfVec::try_from(vec![attribute]).map_err(internal)?;
    let mut sequence = RdnSequence::default();
    sequence.push(set.into());
    Name::from_der(&sequence.to_der().map_err(internal)?).map_err(internal)
}

/// X.509 knows seconds.
fn time(at: Wall) -> Result<Time, Refusal> {
    let at = DateTime::from_unix_duration(Duration::from_secs(at.0 / 1000)).map_err(internal)?;
    Ok(Time::from(at))
}

#[cfg(test)]
mod tests;
