//! Every reason we say no, in one table: code, whose mistake, what to do next, exit code.
//! Owns: the stable codes; text may change, codes never.
//! Must not know: where in the program a no was said.
//! Invariants: codes are unique; every variant occurs in a test (`tests/tidy.rs` compares).
//! Start reading at: [`Refusal`].

use std::fmt;

/// Whose mistake a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another peer sent something wrong: refuse and count, never shown as our failure.
    Peer,
    /// The person at the keyboard asked for something that cannot be.
    User,
    /// Disk, network or clock.
    Environment,
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $fault:ident, $exit:literal, $retry:literal, $hint:literal;)+) => {
        /// A no. The doc line of each variant is the sentence a person reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal { $($(#[doc = $doc])+ $name,)+ }

        impl Refusal {
            /// Every refusal there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable code, as in `{"code":"name_taken"}`.
            pub const fn code(self) -> &'static str { match self { $(Self::$name => $code,)+ } }
            /// Why, in a sentence without a full stop.
            pub const fn why(self) -> &'static str { match self { $(Self::$name => trimmed(concat!($($doc),+)),)+ } }
            /// What to do now; empty where there is nothing to do.
            pub const fn hint(self) -> &'static str { match self { $(Self::$name => $hint,)+ } }
            /// Whose mistake it is.
            pub const fn fault(self) -> Fault { match self { $(Self::$name => Fault::$fault,)+ } }
            /// The process's exit code when this ends it.
            pub const fn exit(self) -> u8 { match self { $(Self::$name => $exit,)+ } }
            /// Whether trying again later may succeed without anybody changing anything.
            pub const fn is_retryable(self) -> bool { match self { $(Self::$name => $retry,)+ } }
            /// The refusal with this code, as read from another process.
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
            }
        }
    };
}

/// Doc lines arrive with the space that follows `///`.
const fn trimmed(text: &'static str) -> &'static str {
    match text.split_at_checked(1) {
        Some((_, rest)) => rest,
        None => text,
    }
}

refusals! {
    // --- names and admission
    /// the name is taken by another key
    NameTaken = "name_taken", User, 4, false, "choose another name, or use the home directory that holds this name's key";
    /// the name looks like one that is taken
    NameLooksAlike = "name_looks_alike", User, 4, false, "choose a name that cannot be confused with an existing one";
    /// the name is not allowed
    NameBad = "name_bad", User, 4, false, "names have 1 to 32 letters, digits or marks of one script, and no control or invisible characters";
    /// no name was given and none is stored here
    NameMissing = "name_missing", User, 2, false, "p2pgroup join --name NAME, or the --home of a member that has one";
    /// this key is certified under another name
    KeyHasOtherName = "key_has_other_name", User, 4, false, "use the name this home was created with, or another --home";
    /// the authority's operator has not approved this name yet
    ApprovalPending = "approval_pending", User, 4, true, "the operator runs: p2pgroup keyauth approve NAME";
    /// the authority asks newcomers for a proof of work
    WorkMissing = "work_missing", Peer, 4, true, "join does the work by itself; an older version cannot";
    /// the proof of work is not enough
    WorkTooLittle = "work_too_little", Peer, 4, true, "join does the work by itself; an older version cannot";
    /// the authority is not known here and nobody is there to confirm it
    AuthorityUnknown = "authority_unknown", User, 4, false, "pin it with --authority FILE|FINGERPRINT after comparing the fingerprint with the operator";
    /// the key authority does not answer
    AuthoritySilent = "authority_silent", Environment, 3, true, "start it, or ask its operator";
    /// the authority is not the one pinned here
    AuthorityChanged = "authority_changed", User, 4, false, "if the change is intended, use another --home; otherwise somebody is posing as the authority";
    /// the certificate was signed by another authority
    CertificateForeign = "certificate_foreign", User, 4, false, "join with a home that belongs to this network";
    /// the certificate has expired
    CertificateExpired = "certificate_expired", User, 4, false, "start the key authority and join again to renew it";
    /// the certificate is not valid yet by more than a day
    CertificateEarly = "certificate_early", User, 4, true, "check this machine's clock";
    /// the certificate was revoked
    CertificateRevoked = "certificate_revoked", User, 4, false, "ask the operator of the key authority";
    /// the certificate is malformed or breaks a rule
    CertificateBad = "certificate_bad", User, 4, false, "register again with the key authority";
    /// the certificate belongs to another peer id
    CertificateOfOther = "certificate_of_other", Peer, 4, false, "";
    /// the certificate names another member
    CertificateName = "certificate_name", User, 4, false, "";
    /// this peer is not a member of the network
    NotAMember = "not_a_member", User, 4, false, "join first";
    /// this member was removed from the network
    Removed = "removed", User, 4, false, "ask an admin of the network; its key and name stay out, a new key under another name may be admitted";
    /// a network needs an owner, and this is the last one
    LastOwner = "last_owner", User, 4, false, "make somebody else an owner first: /role NAME owner";
    /// this identity is in use on another machine
    IdentityInUse = "identity_in_use", User, 4, false, "stop the other process that uses this home or a copy of it";
    /// the proof that the key is held is wrong
    PossessionUnproved = "possession_unproved", Peer, 4, false, "";
    /// this authority certifies only who brings an invite
    VoucherNeeded = "voucher_needed", User, 4, false, "p2pgroup join --name NAME --invite-file FILE, with an invite from the operator";
    /// the invite has been used as often as it may be
    VoucherSpent = "voucher_spent", User, 4, false, "ask whoever invited you for a new one";
    /// the invite has expired
    VoucherExpired = "voucher_expired", User, 4, false, "ask whoever invited you for a new one";
    /// the invite was withdrawn
    VoucherRevoked = "voucher_revoked", User, 4, false, "ask whoever invited you";
    /// the invite is not one that this network's authority signed
    VoucherBad = "voucher_bad", User, 4, false, "ask whoever invited you for a new one";
    /// the invite is for another name
    VoucherName = "voucher_name", User, 4, false, "leave --name out, or use the name that the invite is for";
    /// no such invite
    VoucherUnknown = "voucher_unknown", User, 1, false, "p2pgroup invite list";
    /// this is no invite, or a character of it is wrong
    InviteBad = "invite_bad", User, 2, false, "copy the whole line that starts with p2pgroup1-";
    /// the operator's order is too old, or was heeded before
    OrderStale = "order_stale", User, 1, false, "check that both clocks agree, and give the order again";
    // --- leadership
    /// the ballot is older than one already promised
    BallotStale = "ballot_stale", Peer, 1, false, "";
    /// a control entry lacks the signature of a leader that was elected to write it
    EntryForged = "entry_forged", Peer, 1, false, "";
    /// the leader's control log says something else where this one is settled for ever
    LogContradicts = "log_contradicts", Peer, 1, false, "a leader ordered two different things; /alarms names it once its signatures on both are here";
    /// the ballot's term lies too far ahead
    BallotFar = "ballot_far", Peer, 1, false, "";
    /// a signature does not verify
    SignatureBad = "signature_bad", Peer, 1, false, "";
    /// the sender is no voter
    NotAVoter = "not_a_voter", Peer, 1, false, "";
    /// this member does not lead
    NotLeader = "not_leader", Peer, 1, true, "";
    /// no leader is reachable just now
    NoLeader = "no_leader", Environment, 3, true, "messages are sent all the same; changes of membership wait for a leader";
    /// a majority of the voters is away, so membership is frozen
    NoQuorum = "no_quorum", Environment, 3, true, "messages are sent all the same; membership resumes when enough voters are back";
    /// the statement has expired
    StatementExpired = "statement_expired", Peer, 1, true, "";
    /// the statement does not prove that its maker leads
    StatementBad = "statement_bad", Peer, 1, false, "";
    /// no such network is known here
    NetworkUnknown = "network_unknown", Environment, 3, true, "";
    /// this bootstrap serves as many networks as it can
    NetworksFull = "networks_full", Environment, 3, true, "raise max_networks at the bootstrap";
    /// the frame belongs to another network
    NetworkOther = "network_other", Peer, 4, false, "";
    /// the genesis is not the one this network was founded with
    GenesisOther = "genesis_other", Peer, 4, false, "";
    /// another member was chosen to found this group and has not done so yet
    FoundingElsewhere = "founding_elsewhere", Environment, 3, true, "wait for that member, or start it";
    // --- frames
    /// a frame is longer than allowed
    FrameTooLong = "frame_too_long", Peer, 1, false, "";
    /// a frame is malformed
    FrameBad = "frame_bad", Peer, 1, false, "";
    /// a frame lacks a field or holds one out of range
    FieldBad = "field_bad", Peer, 1, false, "";
    /// a frame came out of turn
    FrameUnexpected = "frame_unexpected", Peer, 1, false, "";
    /// the peer speaks another version of the protocol
    VersionOther = "version_other", Environment, 1, false, "upgrade the older of the two";
    /// a frame took too long to arrive
    FrameSlow = "frame_slow", Peer, 1, false, "";
    /// too many requests
    TooMany = "too_many", Peer, 5, true, "";
    // --- talk
    /// the message is longer than 64 KiB
    MessageTooLong = "message_too_long", User, 2, false, "split it";
    /// the message is empty
    MessageEmpty = "message_empty", User, 2, false, "";
    /// that is no mark for a message
    MarkBad = "mark_bad", User, 2, false, "a mark is 1 to 64 bytes without a space, such as +1 or one emoji";
    /// no message here has such an id
    MessageUnknown = "message_unknown", User, 1, false, "of each room the newest 20,000 messages are looked through";
    /// several messages have ids that begin so
    MessageAmbiguous = "message_ambiguous", User, 2, false, "give more digits of the id";
    /// no such room
    RoomUnknown = "room_unknown", User, 1, false, "/rooms lists the rooms";
    /// there is a room of this name
    RoomExists = "room_exists", User, 1, false, "choose another name";
    /// this member may not renew keys of the room for now
    Suspended = "suspended", User, 1, true, "most members could not follow a commit of its; it ends a day later, or by an admin of the room: /room forgive NAME; messages go on";
    /// the room holds no more members
    RoomFull = "room_full", User, 1, false, "its owner can raise the limit: /room capacity N";
    /// the room is archived
    RoomArchived = "room_archived", User, 1, false, "its owner can open it again: /room archive off";
    /// something about the room was ordered in between
    RoomMoved = "room_moved", Peer, 1, true, "";
    /// not a member of the room
    NotInRoom = "not_in_room", User, 1, false, "/rooms lists the rooms, /room ROOM its members";
    /// already in the room
    AlreadyInRoom = "already_in_room", User, 1, false, "";
    /// the join code is wrong
    CodeWrong = "code_wrong", User, 4, false, "ask an owner of the room for its code";
    /// somebody waits there for a yes to write to you
    RequestWaiting = "request_waiting", User, 1, false, "/accept NAME shows what was written, /refuse NAME drops it";
    /// this member stores no more of what you write
    QuotaFull = "quota_full", Environment, 1, true, "what you wrote stays here and goes there once it stores more; others are not affected";
    /// this role does not allow it
    NotAllowed = "not_allowed", User, 4, false, "/who shows the owners and admins of the network, /room those of a room";
    /// this member does not hold the room's keys yet
    NoKeys = "no_keys", Environment, 3, true, "another member of the room lets it in as soon as one is connected";
    /// the message could not be stored, so it was not sent
    NotStored = "not_stored", Environment, 3, true, "free some disk space and send it again";
    /// an entry does not continue its author's log
    EntryBroken = "entry_broken", Peer, 1, false, "";
    /// an entry's Lamport time lies too far ahead
    EntryFar = "entry_far", Peer, 1, false, "";
    /// the message is stored here, and those it is for do not hold it yet
    NotDelivered = "not_delivered", Environment, 6, true, "nothing is lost: it goes to each of them when they are connected; p2pgroup do '/info ID' tells how far it is";
    /// the member did not answer in time
    TimedOut = "timed_out", Environment, 6, true, "it may still do what it was asked for; p2pgroup doctor tells how it is";
    /// no such place was reached here yet
    CursorUnknown = "cursor_unknown", User, 1, false, "a cursor is of one member's home alone; begin with the one that tail shows";
    /// what follows this place was deleted before it was read
    CursorGone = "cursor_gone", User, 1, false, "go on from the earliest that is left";
    // --- files
    /// no file here has such an id
    FileUnknown = "file_unknown", User, 1, false, "/files lists them";
    /// the file cannot be read
    FileUnread = "file_unread", User, 1, false, "check the path and its permissions; a directory is not sent; a text with an end: /say --expires 10m text";
    /// the file is larger than 64 GiB
    FileTooLarge = "file_too_large", User, 2, false, "split it";
    /// the file is not any more what was sent
    FileChanged = "file_changed", Environment, 1, false, "who sent it can send it again";
    /// files may take no more of the disk
    FilesQuota = "files_quota", User, 1, true, "/files lists them, /drop ID lets one go; p2pgroup config shows files.quota_mib";
    /// the directory for files from others cannot be written
    DownloadsUnusable = "downloads_unusable", Environment, 3, true, "check files.downloads: its owner, its permissions, the space on its disk";
    // --- commands
    /// no such command
    CommandUnknown = "command_unknown", User, 2, false, "/help lists the commands; //text sends a line that starts with a slash";
    /// the line is not a command this program knows
    CommandBad = "command_bad", User, 2, false, "";
    /// no such name here
    NameUnknown = "name_unknown", User, 1, false, "";
    // --- the local API
    /// the API is for this machine alone
    ApiExposed = "api_exposed", User, 2, false, "give 127.0.0.1:PORT, [::1]:PORT or unix:PATH; to reach it from elsewhere, use ssh -L";
    /// the request brings no token that is good here
    TokenMissing = "token_missing", User, 4, false, "send Authorization: Bearer TOKEN; the first token is in api.token of the home, p2pgroup api token makes others";
    /// no token of that id, or several of that beginning
    TokenUnknown = "token_unknown", User, 1, false, "p2pgroup api list";
    /// the token is not good for this
    ScopeMissing = "scope_missing", User, 4, false, "p2pgroup api token --scope read|send|admin makes another";
    /// a token does not belong into a URL
    TokenInUrl = "token_in_url", User, 2, false, "send it as Authorization: Bearer TOKEN, and make a new one: this one may be in a log by now";
    /// the request is meant for or comes from somewhere else
    OriginForeign = "origin_foreign", User, 4, false, "ask 127.0.0.1, localhost or [::1] by the port of the API";
    /// this Idempotency-Key was used for another message
    KeyReused = "key_reused", User, 1, false, "take a fresh key for every message";
    /// the request is not understood
    RequestBad = "request_bad", User, 2, false, "/v1/openapi.json describes every path";
    /// a webhook may not post there
    WebhookRefused = "webhook_refused", User, 2, false, "https:// or http:// to another machine; with allow_local also to this one and its network";
    // --- this machine
    /// the settings are wrong
    ConfigBad = "config_bad", User, 2, false, "p2pgroup config show prints every setting and where it came from";
    /// the settings file cannot be read
    ConfigUnreadable = "config_unreadable", User, 3, false, "";
    /// another process uses this home
    HomeInUse = "home_in_use", Environment, 1, true, "end the other process, or choose another --home";
    /// the home directory cannot be used
    HomeUnusable = "home_unusable", Environment, 3, false, "check the directory's owner and permissions, or choose another --home";
    /// the directory is not empty
    HomeNotEmpty = "home_not_empty", User, 1, false, "choose another --home; a backup is restored into a new one";
    /// this is no backup
    BackupBad = "backup_bad", User, 1, false, "p2pgroup backup create FILE makes one";
    /// the backup was made by a newer version
    BackupNewer = "backup_newer", Environment, 3, false, "upgrade p2pgroup";
    /// the backup is not whole: its end is missing
    BackupTruncated = "backup_truncated", Environment, 3, false, "copy it again, or take another";
    /// the backup was altered or is damaged
    BackupAltered = "backup_altered", Environment, 3, false, "take another";
    /// the backup cannot be read
    BackupUnread = "backup_unread", User, 3, false, "check the path and its permissions";
    /// the file cannot be written
    FileUnwritable = "file_unwritable", User, 3, false, "check the path and its permissions, or choose another file";
    /// a key file may be read by others
    KeyFileOpen = "key_file_open", User, 3, false, "chmod 600 the file";
    /// a passphrase is needed
    PassphraseNeeded = "passphrase_needed", User, 2, false, "--passphrase-file FILE, or start it in a terminal, which asks";
    /// the passphrase is wrong
    PassphraseWrong = "passphrase_wrong", User, 4, false, "nothing was changed; try again";
    /// a passphrase was given, and this home is under none
    PassphraseNone = "passphrase_none", User, 2, false, "p2pgroup id passphrase sets one; without it, leave --passphrase-file out";
    /// the passphrase is too short
    PassphraseWeak = "passphrase_weak", User, 2, false, "take 8 characters at least; several words are better";
    /// the passphrase cannot be read
    PassphraseUnread = "passphrase_unread", User, 3, false, "check the path and its permissions";
    /// the database key is wrong or the database is damaged
    DatabaseKey = "database_key", Environment, 3, false, "restore the key file that belongs to this database";
    /// the database was written by a newer version
    DatabaseNewer = "database_newer", Environment, 3, false, "upgrade p2pgroup";
    /// the database was written by an older version, which did not encrypt messages or sign changes of membership
    DatabaseOlder = "database_older", Environment, 3, false, "choose another --home; what is in this one stays readable by the older version alone";
    /// the database reports an error
    DatabaseFailed = "database_failed", Environment, 3, false, "check the disk";
    /// the address cannot be listened on
    ListenFailed = "listen_failed", Environment, 3, true, "choose another address with --listen, or with --api for the API";
    /// the address is not understood
    AddressBad = "address_bad", User, 2, false, "write host:port or a multiaddr such as /ip4/192.0.2.1/tcp/9001";
    /// nothing is running here
    NothingRunning = "nothing_running", Environment, 7, true, "start p2pgroup first";
    /// something inside this program went wrong
    Internal = "internal", Environment, 1, false, "please report this line";
}

/// A refusal with what it was about: names, numbers, paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which no.
    pub refusal: Refusal,
    /// What it was about; already free of control characters.
    pub detail: String,
}

impl Refused {
    /// A refusal about something; control characters in `detail` are made visible.
    pub fn new(refusal: Refusal, detail: impl AsRef<str>) -> Self {
        Self { refusal, detail: crate::text::one_line(detail.as_ref()) }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, detail: String::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            f.write_str(self.refusal.why())
        } else {
            write!(f, "{}: {}", self.refusal.why(), self.detail)
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_again() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
            assert!(!refusal.why().is_empty() && !refusal.why().starts_with(' '));
            assert!(matches!(refusal.exit(), 1..=7));
        }
    }
}
