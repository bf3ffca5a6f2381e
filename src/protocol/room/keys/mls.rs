//! Agreement on room keys by MLS (RFC 9420), with OpenMLS.
//! Owns: what is asked of OpenMLS, and which of its failures everybody sees alike.
//! Must not know: who orders commits, what a control entry looks like.
//! Invariants: a commit is judged by what all can see before any secret is touched; nothing is
//! merged that was not ordered (24).
//! Start reading at: [`Mls`], `Agreed::ordered`.
//!
//! Commits are MLS public messages, made of Add, Remove and `ExternalInit` by value and of nothing
//! else. Lifetimes are without end, since a verdict must not hang on a clock: who belongs is said
//! by the control log. OpenMLS keeps no past epochs: what was said is under room secrets, which a
//! keyring holds.

use bytes::Bytes;
use openmls::credentials::{BasicCredential, CredentialWithKey};
use openmls::framing::{MlsMessageBodyIn, ProcessedMessageContent};
use openmls::group::{
    self, MlsGroup, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, StagedCommit,
    StagedWelcome,
};
use openmls::key_packages::KeyPackage as MlsKeyPackage;
use openmls::prelude::tls_codec::Serialize;
use openmls::prelude::{LeafNodeIndex, LeafNodeParameters};
use openmls_traits::OpenMlsProvider;
use zeroize::Zeroizing;

use super::provider::{LeafSigner, Provider, decode_rows, encode_rows};
use super::rules::{self, Judge, Leaf};
use super::schedule::RoomSecret;
use super::visible::{
    SUITE, body, capabilities, endless, group_info, inspect, key_package, leaf_of, leaves_of,
    message_bytes, peer_of, public_group, public_message,
};
use super::{
    Begun, Changes, Error, KeyAgreement, KeyAgreements, KeyPackage, Pending, Verdict, Wish,
    commit_hash,
};
use crate::identity::Proofs;
use crate::ids::{GroupId, Hash, PeerId, RoomId};
use crate::limits::GROUP_INFO_BYTES_MAX;

/// Under what name a room's secret leaves the key schedule.
const EXPORT_LABEL: &str = "p2pgroup room key";

// Rows of our own beside OpenMLS's.
const ROW_GROUP: &[u8] = b"p2pgroup group";
const ROW_PENDING: &[u8] = b"p2pgroup pending";
const ROW_JOINING: &[u8] = b"p2pgroup joining";

/// Makes groups by OpenMLS.
#[derive(Clone, Copy, Debug)]
pub struct Mls;

/// One group.
#[derive(Debug)]
struct Agreed {
    room: RoomId,
    group: MlsGroup,
    provider: Provider,
    pending: Option<Pending>,
    stage: Stage,
}

/// How far we are in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// In.
    In,
    /// On our way in from this group info: OpenMLS is in the epoch that our commit makes already.
    Joining(Bytes),
    /// Another commit came first, or ours was refused.
    Failed,
}

impl KeyAgreements for Mls {
    fn key_package(
        &self,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<KeyPackage, Error> {
        let provider = Provider::new(seed);
        let bundle = MlsKeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(endless())
            .build(SUITE, &provider, &LeafSigner(proofs), credential(me, proofs))
            .map_err(|_| Error::Internal("no key package"))?;
        let public = bundle.key_package().tls_serialize_detached();
        let public = public.map_err(|_| Error::Internal("a key package has no bytes"))?.into();
        Ok(KeyPackage { public, private: encode_rows(&provider.rows()?) })
    }

    fn create(
        &self,
        room: RoomId,
        group: GroupId,
        me: PeerId,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let provider = Provider::new(seed);
        let group = MlsGroup::builder()
            .with_group_id(group::GroupId::from_slice(group.as_bytes()))
            .ciphersuite(SUITE)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .max_past_epochs(0)
            .use_ratchet_tree_extension(true)
            .with_capabilities(capabilities())
            .lifetime(endless())
            .build(&provider, &LeafSigner(proofs), credential(me, proofs))
            .map_err(|_| Error::Internal("no group"))?;
        Agreed::begin(room, me, group, provider, None, Stage::In)
    }

    fn load(
        &self,
        room: RoomId,
        me: PeerId,
        rows: &[(Bytes, Bytes)],
        seed: [u8; 32],
    ) -> Result<Box<dyn KeyAgreement>, Error> {
        let provider = Provider::load(rows, seed)?;
        let id = provider.row(ROW_GROUP)?.ok_or(Error::Malformed)?;
        let group = MlsGroup::load(provider.storage(), &group::GroupId::from_slice(&id));
        let group = group.ok().flatten().ok_or(Error::Malformed)?;
        // Who is out has no leaf any more.
        if group.own_leaf().and_then(leaf_of).is_some_and(|leaf| leaf.peer != me) {
            return Err(Error::Malformed);
        }
        let pending = match provider.row(ROW_PENDING)? {
            Some(row) => Some(Pending::decode(&row).ok_or(Error::Malformed)?),
            None => None,
        };
        let stage = match provider.row(ROW_JOINING)? {
            Some(info) if info.is_empty() => Stage::Failed,
            Some(info) => Stage::Joining(info),
            None => Stage::In,
        };
        Ok(Box::new(Agreed { room, group, provider, pending, stage }))
    }

    fn join_external(
        &self,
        room: RoomId,
        me: PeerId,
        info: &Bytes,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let before = leaves_of(&public_group(info)?).ok_or(Error::Malformed)?;
        rules::check_leaves(&before, judge).map_err(Error::Refused)?;
        let own = Leaf { peer: me, device: proofs.device() };
        if before.iter().any(|leaf| leaf.peer == me && *leaf != own) {
            return Err(Error::OldLeaf);
        }
        let provider = Provider::new(seed);
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(config())
            .skip_lifetime_validation()
            .build_group(&provider, group_info(info)?, credential(me, proofs))
            .map_err(|_| Error::Malformed)?
            .leaf_node_parameters(leaf)
            .load_psks(provider.storage())
            .map_err(|_| Error::Internal("no external commit"))?
            .build(provider.rand(), provider.crypto(), &LeafSigner(proofs), |_| true)
            .map_err(|_| Error::Malformed)?
            .finalize(&provider)
            .map_err(|_| Error::Internal("no external commit"))?;
        let pending = Pending::new(message_bytes(bundle.commit())?, None);
        Agreed::begin(room, me, group, provider, Some(pending), Stage::Joining(info.clone()))
    }

    fn join_welcome(
        &self,
        room: RoomId,
        me: PeerId,
        welcome: &Bytes,
        private: &Bytes,
        judge: &dyn Judge,
        seed: [u8; 32],
    ) -> Result<Begun, Error> {
        let MlsMessageBodyIn::Welcome(welcome) = body(welcome, GROUP_INFO_BYTES_MAX)? else {
            return Err(Error::Malformed);
        };
        let provider = Provider::new(seed);
        provider.insert(&decode_rows(private).ok_or(Error::Malformed)?)?;
        let staged = StagedWelcome::build_from_welcome(&provider, &config(), welcome)
            .map_err(|error| match error {
                group::WelcomeError::NoMatchingKeyPackage
                | group::WelcomeError::JoinerSecretNotFound => Error::NotForUs,
                _ => Error::Malformed,
            })?
            .skip_lifetime_validation()
            .build()
            .map_err(|_| Error::Malformed)?;
        let group = staged.into_group(&provider).map_err(|_| Error::Malformed)?;
        let leaves = leaves_of(group.public_group()).ok_or(Error::Malformed)?;
        rules::check_leaves(&leaves, judge).map_err(Error::Refused)?;
        Agreed::begin(room, me, group, provider, None, Stage::In)
    }
}

impl Agreed {
    fn begin(
        room: RoomId,
        me: PeerId,
        group: MlsGroup,
        provider: Provider,
        pending: Option<Pending>,
        stage: Stage,
    ) -> Result<Begun, Error> {
        let own = group.own_leaf().and_then(leaf_of);
        let is_sound = GroupId::from_bytes(group.group_id().as_slice()).is_some()
            && own.is_some_and(|leaf| leaf.peer == me);
        if !is_sound {
            return Err(Error::Malformed);
        }
        provider.set(ROW_GROUP, Some(group.group_id().as_slice()))?;
        let mut agreed = Self { room, group, provider, pending, stage };
        let changes = agreed.changes()?;
        Ok((Box::new(agreed), changes))
    }

    /// Brings our own rows up to date, and gives all that changed.
    fn changes(&mut self) -> Result<Changes, Error> {
        let pending = self.pending.as_ref().map(Pending::encode);
        self.provider.set(ROW_PENDING, pending.as_deref())?;
        let joining = match &self.stage {
            Stage::In => None,
            Stage::Joining(info) => Some(info.clone()),
            Stage::Failed => Some(Bytes::new()),
        };
        self.provider.set(ROW_JOINING, joining.as_deref())?;
        self.provider.changes()
    }

    fn index_of(&self, peer: &PeerId) -> Option<LeafNodeIndex> {
        let mut members = self.group.members();
        members.find(|member| peer_of(&member.credential) == Some(*peer)).map(|found| found.index)
    }

    /// Our own joining, or what happens before it is ordered.
    fn ordered_while_joining(
        &mut self,
        info: &Bytes,
        commit: &Bytes,
        judge: &dyn Judge,
    ) -> Result<Verdict, Error> {
        let is_own = self.pending.as_ref().is_some_and(|own| own.hash == commit_hash(commit));
        let before = public_group(info)?;
        let verdict = match inspect(&before, self.provider.crypto(), commit, judge) {
            Ok(change) if is_own => {
                (self.stage, self.pending) = (Stage::In, None);
                return Ok(Verdict::Merged { change, is_out: false });
            }
            // Without the epoch's secrets we cannot tell whether members skip it for its
            // membership tag; joining once more is right in either case.
            Ok(_) => Verdict::BadPrivate("another commit came first"),
            Err(rule) if !is_own => return Ok(Verdict::BadPublic(rule)),
            Err(rule) => Verdict::BadPublic(rule),
        };
        (self.stage, self.pending) = (Stage::Failed, None);
        Ok(verdict)
    }

    fn ordered_as_member(&mut self, commit: &Bytes, judge: &dyn Judge) -> Result<Verdict, Error> {
        let is_own = self.pending.as_ref().is_some_and(|own| own.hash == commit_hash(commit));
        let public = self.group.public_group();
        let change = match inspect(public, self.provider.crypto(), commit, judge) {
            Ok(change) => change,
            Err(rule) => {
                if is_own {
                    self.drop_pending()?;
                }
                return Ok(Verdict::BadPublic(rule));
            }
        };
        if is_own {
            self.group
                .merge_pending_commit(&self.provider)
                .map_err(|_| Error::Internal("a pending commit does not merge"))?;
            self.pending = None;
            return Ok(Verdict::Merged { change, is_out: false });
        }
        let staged = match self.open(commit) {
            Ok(staged) => staged,
            Err(verdict) => return Ok(verdict),
        };
        let is_out = staged.self_removed();
        self.group
            .merge_staged_commit(&self.provider, staged)
            .map_err(|_| Error::Internal("a staged commit does not merge"))?;
        self.pending = None;
        Ok(Verdict::Merged { change, is_out })
    }

    /// The part of a commit that takes our secrets.
    fn open(&mut self, commit: &Bytes) -> Result<StagedCommit, Verdict> {
        let message = public_message(commit).map_err(|_| Verdict::BadPublic("malformed"))?;
        let processed = match self.group.process_message(&self.provider, message) {
            Ok(processed) => processed.into_content(),
            // All who hold the epoch hold the key of this tag.
            Err(group::ProcessMessageError::ValidationError(
                group::ValidationError::InvalidMembershipTag,
            )) => return Err(Verdict::BadPublic("the membership tag is wrong")),
            Err(error) => {
                tracing::debug!(?error, "cannot follow a commit");
                return Err(Verdict::BadPrivate("its secrets are of no use here"));
            }
        };
        match processed {
            ProcessedMessageContent::StagedCommitMessage(staged) => Ok(*staged),
            _ => Err(Verdict::BadPublic("no commit")),
        }
    }

    fn drop_pending(&mut self) -> Result<(), Error> {
        self.pending = None;
        self.group
            .clear_pending_commit(self.provider.storage())
            .map_err(|_| Error::Internal("a pending commit does not clear"))
    }
}

impl KeyAgreement for Agreed {
    fn group(&self) -> GroupId {
        GroupId::from_bytes(self.group.group_id().as_slice()).unwrap_or(GroupId([0; 16]))
    }

    fn epoch(&self) -> u64 {
        self.group.epoch().as_u64()
    }

    fn authenticator(&self) -> Hash {
        Hash::of("p2pgroup/1 epoch", &[self.group.epoch_authenticator().as_slice()])
    }

    fn leaves(&self) -> Vec<Leaf> {
        leaves_of(self.group.public_group()).unwrap_or_default()
    }

    fn is_member(&self) -> bool {
        self.stage == Stage::In && self.group.is_active()
    }

    fn secret(&self) -> Result<RoomSecret, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        let crypto = self.provider.crypto();
        let exported = self.group.export_secret(crypto, EXPORT_LABEL, self.room.as_bytes(), 32);
        let exported = Zeroizing::new(exported.map_err(|_| NO_EXPORT)?);
        Ok(RoomSecret::new(exported.as_slice().try_into().map_err(|_| NO_EXPORT)?))
    }

    fn group_info(&self, proofs: &dyn Proofs) -> Result<Bytes, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        let crypto = self.provider.crypto();
        let info = self.group.export_group_info(crypto, &LeafSigner(proofs), true);
        message_bytes(&info.map_err(|_| Error::Internal("no group info"))?)
    }

    fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    fn stage(
        &mut self,
        wish: &Wish,
        judge: &dyn Judge,
        proofs: &dyn Proofs,
    ) -> Result<Changes, Error> {
        if !self.is_member() {
            return Err(Error::NotMember);
        }
        if self.pending.is_some() {
            return Err(Error::Pending);
        }
        let added = wish.add.iter().map(key_package).collect::<Result<Vec<_>, _>>()?;
        let removed = wish
            .remove
            .iter()
            .map(|peer| self.index_of(peer).ok_or(Error::Refused("not in the room")))
            .collect::<Result<Vec<_>, _>>()?;
        // Whoever was added takes part in the next renewal; adding alone renews nothing, which
        // keeps such a commit small.
        let is_renewal = added.is_empty() || !removed.is_empty();
        let bundle = self
            .group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(is_renewal)
            .propose_adds(added)
            .propose_removals(removed)
            .load_psks(self.provider.storage())
            .map_err(|_| Error::Internal("no commit"))?
            .build(self.provider.rand(), self.provider.crypto(), &LeafSigner(proofs), |_| true)
            .map_err(|_| Error::Refused("no such commit can be made"))?
            .stage_commit(&self.provider)
            .map_err(|_| Error::Internal("no commit"))?;
        let (commit, welcome, _) = bundle.into_messages();
        let welcome = welcome.as_ref().map(message_bytes).transpose()?;
        let pending = Pending::new(message_bytes(&commit)?, welcome);
        let public = self.group.public_group();
        if let Err(rule) = inspect(public, self.provider.crypto(), &pending.commit, judge) {
            self.drop_pending()?;
            return Err(Error::Refused(rule));
        }
        self.pending = Some(pending);
        self.changes()
    }

    fn clear(&mut self) -> Result<Changes, Error> {
        if self.stage == Stage::In {
            self.drop_pending()?;
        }
        self.changes()
    }

    fn ordered(&mut self, commit: &Bytes, judge: &dyn Judge) -> Result<(Verdict, Changes), Error> {
        if !self.group.is_active() {
            return Err(Error::NotMember);
        }
        let verdict = match self.stage.clone() {
            Stage::In => self.ordered_as_member(commit, judge)?,
            Stage::Joining(info) => self.ordered_while_joining(&info, commit, judge)?,
            Stage::Failed => return Err(Error::NotMember),
        };
        Ok((verdict, self.changes()?))
    }
}

const NO_EXPORT: Error = Error::Internal("no room secret");

fn credential(me: PeerId, proofs: &dyn Proofs) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(me.as_bytes().to_vec()).into(),
        signature_key: proofs.device().as_bytes().to_vec().into(),
    }
}

fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(true)
        .build()
}
