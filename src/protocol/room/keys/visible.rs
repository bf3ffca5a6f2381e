//! What everybody can see of MLS messages: read, bounded, judged.
//! Owns: the form of commits, group infos and key packages, and the verdict on a commit that takes
//! no secret.
//! Must not know: secrets, what is stored.
//! Invariants: a verdict depends on the public group, the commit and the judge alone.
//! Start reading at: [`inspect`].

use bytes::Bytes;
use openmls::credentials::{BasicCredential, Credential, CredentialType};
use openmls::framing::{
    MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProcessedMessageContent, ProtocolMessage,
    PublicMessageIn, Sender,
};
use openmls::group::{ProposalStore, PublicGroup, StagedCommit};
use openmls::key_packages::{KeyPackage, KeyPackageIn, Lifetime};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::messages::proposals::Proposal;
use openmls::prelude::tls_codec::DeserializeBytes;
use openmls::prelude::{Capabilities, LeafNodeIndex};
use openmls::treesync::LeafNode;
use openmls::versions::ProtocolVersion;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::types::Ciphersuite;

use super::Error;
use super::rules::{self, Change, Judge, Leaf, Proposed};
use crate::ids::{DeviceKey, PeerId};
use crate::limits::{COMMIT_BYTES_MAX, GROUP_INFO_BYTES_MAX, KEY_PACKAGE_BYTES_MAX};

/// The one suite of rooms.
pub(super) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// Judges a commit by what everybody can see: its form, its signatures, the tree, our rules.
pub(super) fn inspect(
    public: &PublicGroup,
    crypto: &RustCrypto,
    commit: &Bytes,
    judge: &dyn Judge,
) -> Result<Change, &'static str> {
    let message = public_message(commit).map_err(|_| "malformed")?;
    if message.group_id() != public.group_id() {
        return Err("of another group");
    }
    if message.epoch() != public.group_context().epoch() {
        return Err("of another epoch");
    }
    let processed = public.process_message(crypto, message).map_err(|error| {
        tracing::debug!(?error, "a commit is invalid");
        "against RFC 9420"
    })?;
    let sender = processed.sender().clone();
    let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
        return Err("no commit");
    };
    let leaves = leaves_of(public).ok_or("a leaf without a peer id")?;
    rules::check(&leaves, &proposed(public, &sender, &staged)?, judge)
}

fn proposed(
    public: &PublicGroup,
    sender: &Sender,
    staged: &StagedCommit,
) -> Result<Proposed, &'static str> {
    let nobody = "a leaf without a peer id";
    let leaf_at = |index: LeafNodeIndex| public.leaf(index).and_then(leaf_of).ok_or(nobody);
    let renewed = match staged.update_path_leaf_node() {
        Some(leaf) => Some(leaf_of(leaf).ok_or(nobody)?),
        None => None,
    };
    let (by, is_external) = match sender {
        Sender::Member(index) => (leaf_at(*index)?, false),
        Sender::NewMemberCommit => (renewed.ok_or(nobody)?, true),
        Sender::External(_) | Sender::NewMemberProposal => return Err("from outside"),
    };
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for queued in staged.queued_proposals() {
        match queued.proposal() {
            Proposal::Add(add) => {
                let package = add.key_package();
                if *package.life_time() != endless() {
                    return Err("a leaf that ends by the clock");
                }
                added.push(leaf_of(package.leaf_node()).ok_or(nobody)?);
            }
            Proposal::Remove(remove) => removed.push(leaf_at(remove.removed())?),
            Proposal::ExternalInit(_) if is_external => {}
            _ => return Err("a proposal of a kind that rooms do not use"),
        }
    }
    Ok(Proposed { by, renewed, is_external, added, removed })
}

pub(super) fn leaf_of(leaf: &LeafNode) -> Option<Leaf> {
    let device = DeviceKey::from_bytes(leaf.signature_key().as_slice())?;
    Some(Leaf { peer: peer_of(leaf.credential())?, device })
}

pub(super) fn peer_of(credential: &Credential) -> Option<PeerId> {
    let basic = BasicCredential::try_from(credential.clone()).ok()?;
    PeerId::from_bytes(basic.identity())
}

/// `None` if one of them is none of ours.
pub(super) fn leaves_of(public: &PublicGroup) -> Option<Vec<Leaf>> {
    public
        .members()
        .map(|member| {
            let device = DeviceKey::from_bytes(&member.signature_key)?;
            Some(Leaf { peer: peer_of(&member.credential)?, device })
        })
        .collect()
}

/// What a leaf says it can do: no more than we use, since every leaf carries it.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&[]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

pub(super) fn endless() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

pub(super) fn body(bytes: &Bytes, bytes_max: usize) -> Result<MlsMessageBodyIn, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::Malformed);
    }
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes);
    message.map(MlsMessageIn::extract).map_err(|_| Error::Malformed)
}

pub(super) fn public_message(bytes: &Bytes) -> Result<ProtocolMessage, Error> {
    match body(bytes, COMMIT_BYTES_MAX)? {
        MlsMessageBodyIn::PublicMessage(message) => Ok(PublicMessageIn::into(message)),
        _ => Err(Error::Malformed),
    }
}

pub(super) fn group_info(bytes: &Bytes) -> Result<VerifiableGroupInfo, Error> {
    match body(bytes, GROUP_INFO_BYTES_MAX)? {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        _ => Err(Error::Malformed),
    }
}

/// What everybody can see of a group, from its group info.
pub(super) fn public_group(info: &Bytes) -> Result<PublicGroup, Error> {
    let info = group_info(info)?;
    let tree = info.extensions().ratchet_tree().ok_or(Error::Malformed)?.ratchet_tree().clone();
    let (crypto, storage) = (RustCrypto::default(), MemoryStorage::default());
    PublicGroup::from_external(&crypto, &storage, tree, info, ProposalStore::new())
        .map(|(public, _)| public)
        .map_err(|_| Error::Malformed)
}

pub(super) fn key_package(bytes: &Bytes) -> Result<KeyPackage, Error> {
    if bytes.len() > KEY_PACKAGE_BYTES_MAX {
        return Err(Error::Malformed);
    }
    let package = KeyPackageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| Error::Malformed)?;
    let package = package.validate(&RustCrypto::default(), ProtocolVersion::Mls10);
    let package = package.map_err(|_| Error::Malformed)?;
    let is_ours = package.ciphersuite() == SUITE && *package.life_time() == endless();
    if is_ours { Ok(package) } else { Err(Error::Malformed) }
}

pub(super) fn message_bytes(message: &MlsMessageOut) -> Result<Bytes, Error> {
    let bytes = message.to_bytes().map_err(|_| Error::Internal("a message has no bytes"))?;
    Ok(bytes.into())
}
