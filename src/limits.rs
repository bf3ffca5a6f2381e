//! Every bound of the program, with its reason.
//! Owns: the numbers, and the relations between them (checked when compiling).
//! Must not know: who keeps to them.
//! Invariants: nothing read from outside is held beyond one of these.
//! Start reading at: the first line; they are in the order a byte meets them.

use crate::time::Millis;

/// A frame between members: a page of entries fits, and the largest message several times.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// A frame from a peer that has not said who it is: a hello with its certificate.
pub const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;
/// A question or answer over request-response: a certificate list page at the largest.
pub const ASK_BYTES_MAX: usize = 256 << 10;
/// A frame that started must be complete within this time (slow loris).
pub const FRAME_DEADLINE: Millis = Millis(15_000);
/// Frames waiting for one peer; past it the link closes and sync repairs.
pub const QUEUE_FRAMES_MAX: usize = 4_096;
/// Bytes waiting for one peer.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Connections of one peer: a dial from each side at the same moment.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Connections of strangers at the bootstrap, in all.
pub const CONNECTIONS_MAX: u32 = 4_096;
/// Streams one peer may open towards us at once.
pub const STREAMS_PER_PEER_MAX: usize = 32;

/// A message's text, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// A mark on a message, in bytes: the longest emoji that are one picture have 35.
pub const MARK_BYTES_MAX: usize = 64;
/// The name of an application's kind of message, in bytes.
pub const APPLICATION_BYTES_MAX: usize = 64;
/// A line of input in `--json`: the largest text with every byte escaped as `\u00XX`.
pub const INPUT_LINE_BYTES_MAX: usize = TEXT_BYTES_MAX * 6 + 4_096;
/// Notices on their way to a face; past it they wait in the driver.
pub const NOTICES_MAX: usize = 1_024;
/// Faces beside the main one: connections to the local socket and the API, and a program's own.
pub const FACES_MAX: usize = 256;
/// News that waits for such a face; past it the face is told that it lags.
pub const FACE_NOTICES_MAX: usize = 4_096;
/// The same in bytes.
pub const FACE_BYTES_MAX: usize = 8 << 20;
/// Commands of such a face whose answers it has not read.
pub const FACE_COMMANDS_MAX: usize = 1_024;
/// A request's body to the local API: the longest line of `--json`.
pub const API_BODY_BYTES_MAX: usize = INPUT_LINE_BYTES_MAX;
/// A request's headers, in all.
pub const API_HEADER_BYTES_MAX: usize = 16 << 10;
/// What a QR code holds at the lowest level of correction.
pub const QR_BYTES_MAX: usize = 2_953;
/// Streams of events that are open at once.
pub const API_STREAMS_MAX: usize = 64;
const _: () = assert!(API_STREAMS_MAX * 2 < FACES_MAX);
/// Connections to the API at once, whoever makes them; further ones wait outside. Else any program of
/// this machine could take all the files that the member may open, without a token.
pub const API_CONNECTIONS_MAX: usize = 256;
const _: () = assert!(API_STREAMS_MAX * 2 < API_CONNECTIONS_MAX);
/// Tokens beside the first.
pub const API_TOKENS_MAX: usize = 256;
/// Idempotency keys remembered.
pub const API_KEYS_MAX: usize = 10_000;
/// Such a key, in bytes.
pub const API_KEY_BYTES_MAX: usize = 255;
/// Bytes of all files sent by the API, which stay in the home so that others can have them.
pub const API_UPLOADS_MAX: u64 = 10 << 30;
/// How long a request may wait for delivery.
pub const API_WAIT_MAX: Millis = Millis(300_000);
/// Outgoing webhooks.
pub const API_WEBHOOKS_MAX: usize = 16;
/// Messages listed that no webhook could deliver; the newest count.
pub const API_DEAD_MAX: usize = 1_000;
/// Batches of commands between a face and the driver: one in work, one ready.
pub const COMMAND_BATCHES_MAX: usize = 2;
/// A settings file.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;
/// What a program attaches to a command to find its answer again, in bytes.
pub const REF_BYTES_MAX: usize = 256;
/// Messages one question for the history may ask for.
pub const HISTORY_MAX: usize = 100_000;
/// A member's name, in characters.
pub const NAME_CHARS_MAX: usize = 32;
/// A member's name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;
/// A certificate in DER.
pub const CERTIFICATE_BYTES_MAX: usize = 8 << 10;
/// An intent: a commit and its signature at the largest.
pub const INTENT_BYTES_MAX: usize = ORDER_SEALED_MAX + (4 << 10);
/// A control entry: an intent, the leader's signature and the votes that elected it.
pub const CONTROL_ENTRY_BYTES_MAX: usize = INTENT_BYTES_MAX + (2 << 10);
/// An order or a question to the authority: a credential and its signature at the largest.
pub const ORDER_BYTES_MAX: usize = 12 << 10;

/// Members of one network, away ones included.
pub const MEMBERS_MAX: usize = 4_096;
/// Author logs in one vector.
pub const VECTOR_MAX: usize = 8_192;
/// Author logs whose end is kept beyond a gap, in all rooms.
pub const PENDING_LOGS_MAX: usize = 64;
/// Entries of such an end.
pub const PENDING_ENTRIES_MAX: usize = 256;
/// Bytes of all such ends.
pub const PENDING_BYTES_MAX: usize = 8 << 20;
/// Marks in one frame: what a large group holds of a few authors.
pub const MARKS_MAX: usize = 256;
/// Marks of one room kept on their way: each member's of as many authors as fall to one who passes
/// them on.
pub const MARKS_KEPT_MAX: usize = 16_384;
/// Links that are not wanted and were not opened here; past it the oldest are closed.
pub const LINKS_SPARE_MAX: usize = 64;
/// What others say of their links, in all, while somebody looks: under a MiB, and more than a leader hears
/// from a group of 500.
pub const HEARSAY_MAX: usize = 16_384;
/// Questions for the links of all that wait for others' answers at once.
pub const HEARSAY_WAITING_MAX: usize = 64;
/// Entries under one signature.
pub const BATCH_MAX: usize = 64;
/// Entries in one page of sync.
pub const PAGE_ENTRIES_MAX: usize = 512;
/// Entries looked at for one question about what arrived: some 300 KiB of texts as a rule, and an
/// answer within milliseconds.
pub const SINCE_MAX: usize = 1_024;
/// Bytes of entries in one page of sync; leaves room for headers within a frame.
pub const PAGE_BYTES_MAX: usize = 768 << 10;
/// Control entries in one append.
pub const APPEND_ENTRIES_MAX: usize = 64;
/// Bytes of control entries in one append.
pub const APPEND_BYTES_MAX: usize = 512 << 10;
/// Addresses a peer may claim.
pub const ADDRESSES_MAX: usize = 16;
/// An address as text.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Branches kept of a forked author log.
pub const FORK_BRANCHES_MAX: usize = 4;

/// Voters of one network, the witness included.
pub const VOTERS_MAX: usize = 5;
/// Random numbers in a rank.
pub const RANK_LEN: usize = 4;
/// How far a ballot's term may lie above one's promise.
pub const TERM_JUMP_MAX: u64 = 1_024;
/// How far an entry's Lamport time may lie above everything known.
pub const LAMPORT_JUMP_MAX: u64 = 1 << 20;
/// How long a leader statement holds.
pub const STATEMENT_LIFE: Millis = Millis(30_000);
/// Networks one bootstrap serves by default.
pub const NETWORKS_MAX: usize = 1_024;
/// How early a certificate may be used by a machine whose clock is behind.
pub const CLOCK_SKEW_MAX: Millis = Millis(24 * 3_600_000);
/// How long a certificate lasts.
pub const CERTIFICATE_LIFE: Millis = Millis(90 * 24 * 3_600_000);
/// How long a group still accepts an expired certificate, so that a dead authority kills none.
pub const CERTIFICATE_GRACE: Millis = Millis(30 * 24 * 3_600_000);

/// RSA keys of members and authorities: weaker ones are refused …
pub const RSA_BITS_MIN: u32 = 3_072;
/// … and larger ones too, because checking them costs everybody.
pub const RSA_BITS_MAX: u32 = 4_096;
/// A signature of the largest RSA key.
pub const RSA_SIGNATURE_BYTES_MAX: usize = 512;
/// A refusal's detail, a revocation's reason.
pub const DETAIL_BYTES_MAX: usize = 200;
/// A credential: a certificate, a device key, a signature.
pub const CREDENTIAL_BYTES_MAX: usize = CERTIFICATE_BYTES_MAX + (1 << 10);
/// A voucher: the authority's signature and a handful of short fields.
pub const VOUCHER_BYTES_MAX: usize = 1 << 10;
/// A voucher with a joiner's key and name.
pub const VOUCHED_BYTES_MAX: usize = 2 << 10;
/// How many one voucher may admit.
pub const VOUCHER_USES_MAX: u32 = 4_096;
/// How long a voucher may be good for.
pub const VOUCHER_LIFE_MAX: Millis = Millis(366 * 24 * 3_600_000);
/// Vouchers an authority keeps account of: held in memory.
pub const VOUCHERS_MAX: usize = 16_384;
/// Vouchers of one member that still admit: the operator's account is not for one to fill.
pub const VOUCHERS_OPEN_MAX: usize = 256;
/// A room's name in a voucher, in bytes.
pub const VOUCHER_ROOM_BYTES_MAX: usize = 64;
/// An invite as text: a voucher and 16 of the longest addresses in base58.
pub const INVITE_CHARS_MAX: usize = 8 << 10;
/// A passphrase as typed, in bytes: sentences in any script.
pub const PASSPHRASE_BYTES_MAX: usize = 1 << 10;
/// A passphrase that is set, in characters: with fewer even slow guesses come through them all.
pub const PASSPHRASE_CHARS_MIN: usize = 8;
/// Alarms kept, each of two credentials and perhaps two control entries: far more than an honest
/// authority and honest leaders ever give reason for.
pub const ALARMS_MAX: usize = 256;
/// Combining marks on one letter of a name.
pub const NAME_MARKS_MAX: usize = 4;
/// A certificate with less time left is renewed when its holder asks.
pub const CERTIFICATE_RENEW: Millis = Millis(30 * 24 * 3_600_000);
/// How far a certificate's start lies before its making, for clocks that are behind.
pub const CERTIFICATE_BACKDATE: Millis = Millis(5 * 60_000);
/// How long the authority's own certificate lasts.
pub const AUTHORITY_LIFE: Millis = Millis(20 * 365 * 24 * 3_600_000);
/// How long a revocation list lasts; it is made anew long before.
pub const CRL_LIFE: Millis = Millis(7 * 24 * 3_600_000);
/// A revocation list of this age is made anew when somebody asks.
pub const CRL_RENEW: Millis = Millis(24 * 3_600_000);
/// Rows of the authority's register, renewed certificates included: held in memory.
pub const REGISTER_MAX: usize = 16_384;
/// Registrations that wait for the operator.
pub const WAITING_MAX: usize = 1_000;
/// Revocations in force: the list of them must fit into one answer.
pub const REVOKED_MAX: usize = 2_048;
/// Parts of a proof of work: enough that the time it takes is much the same every time.
pub const WORK_PARTS: usize = 16;
/// Work that an authority may ask for, in tries as a power of two: a minute of a core.
pub const WORK_BITS_MAX: u32 = 28;
/// Invites of one member that lead into rooms.
pub const INVITES_LEADING_MAX: usize = 256;
/// Wishes about members that wait to be ordered, of one member.
pub const WISHES_MAX: usize = 64;
/// Rows of the register in one answer.
pub const REGISTER_PAGE_MAX: usize = 64;
/// How old an operator's order may be, and how far ahead its clock.
pub const ORDER_FRESH: Millis = Millis(5 * 60_000);
/// Operator's orders remembered, so that none is heeded twice.
pub const ORDERS_MAX: usize = 1_024;
/// Questions one peer may put to the authority at once …
pub const ASK_BURST: u64 = 32;
/// … and per second from then on.
pub const ASK_PER_SECOND: u64 = 8;
/// Questions all strangers together may put at once: each answer costs an RSA signature.
pub const ASK_BURST_ALL: u64 = 1_024;
/// … and per second from then on: about a third of a core.
pub const ASK_PER_SECOND_ALL: u64 = 128;
/// Peers whose questions are counted one by one.
pub const ASKERS_MAX: usize = 4_096;

/// Events handled inside one transaction.
pub const EVENTS_PER_TURN_MAX: usize = 64;

/// How long leaving may take before the process ends without more ado: within 5 s, seen from
/// outside.
pub const LEAVE_DEADLINE: Millis = Millis(4_700);
/// Lines of one message that line mode shows after its first.
pub const SHOWN_LINES_MAX: usize = 200;

/// Entries under one chunk key: what a grant opens at least, and deletion keeps at most.
pub const CHUNK_ENTRIES: u64 = 64;
/// Chunks in one stretch of a log's keys.
pub const STRETCH_CHUNKS: u64 = 1_024;
/// Stretches of one log: with the two above this bounds the steps to any key, and a log to
/// 268 million entries under one room secret.
pub const STRETCHES_MAX: u64 = 4_096;
/// Logs whose last chunk key is remembered, so that neighbours open without a walk.
pub const CHUNK_KEYS_MAX: usize = 256;
/// Plaintexts are padded to the first of these that holds them, so that a length says little.
pub const PADDED_BYTES: [usize; 6] =
    [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, (64 << 10) + (1 << 10)];
/// A sealed entry: the largest padded plaintext, its tag and its header.
pub const SEALED_BYTES_MAX: usize = (64 << 10) + (2 << 10);
/// Room secrets and grants one room's keyring holds.
pub const KEYRING_MAX: usize = 65_536;
/// A commit: one ciphertext for each of the members of a room whose tree is all blank.
pub const COMMIT_BYTES_MAX: usize = 384 << 10;
/// An order with a commit and cuts, sealed and padded.
pub const ORDER_SEALED_MAX: usize = COMMIT_BYTES_MAX + (64 << 10);
/// Logs of one member that a cut names.
pub const CUT_LOGS_MAX: usize = 64;
/// Cuts in one order.
pub const CUTS_MAX: usize = 16;
/// A room's topic, and its description, in bytes.
pub const TOPIC_BYTES_MAX: usize = 512;
/// Rooms that one member may create.
pub const ROOMS_PER_MEMBER_MAX: usize = 1_024;
/// Rooms a member may be in.
pub const ROOMS_MAX: usize = 2_048;
/// Chunk keys handed over in one frame.
pub const CHUNKS_MAX: usize = 1_024;
/// A group info or a welcome, with the tree of a room of [`MEMBERS_MAX`].
pub const GROUP_INFO_BYTES_MAX: usize = (1 << 20) - (64 << 10);
/// Keys asked for, or handed over, in one frame.
pub const KEYS_MAX: usize = 256;
/// A key package.
pub const KEY_PACKAGE_BYTES_MAX: usize = 2 << 10;

/// A file's name as sent, in bytes: with a number and an ending it stays below what file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 200;
/// Chunks of a file, at the least: what costs more in frames and hashes than in bytes is smaller.
pub const FILE_CHUNK_BYTES_MIN: u32 = 256 << 10;
/// … and at the most: who sends has one of them in memory for each stream, who fetches two.
pub const FILE_CHUNK_BYTES_MAX: u32 = 4 << 20;
/// Chunks of one file: with the longest ones 64 GiB, and half a mebibyte of hashes.
pub const FILE_CHUNKS_MAX: u32 = 16_384;
/// What is added to a chunk by its seal.
pub const FILE_TAG_BYTES: u32 = 16;
/// A frame of a file's stream: the longest chunk, or all the hashes.
pub const FILE_FRAME_BYTES_MAX: usize = (4 << 20) + 64;
/// A frame of who fetches: a wish.
pub const FILE_WISH_BYTES_MAX: usize = 128;
/// Bytes asked for and not yet here, of one source: at first, and where it is not quick.
pub const FILE_WINDOW_BYTES: u32 = 2 << 20;
/// The same of one that gives each chunk within a quarter of a second: so the line is not idle while a disk
/// syncs.
pub const FILE_WINDOW_BYTES_MAX: u32 = 8 << 20;
/// Sources of one file at once.
pub const FILE_SOURCES_MAX: usize = 8;
/// Files that are fetched at once; the others wait.
pub const FILES_FETCHED_MAX: usize = 3;
/// Files that are begun, with those of which nothing comes: each costs a part on the disk.
pub const FILES_STARTED_MAX: usize = 64;
/// Streams on which files are given to others, in all …
pub const FILE_STREAMS_MAX: usize = 32;
/// … and to one of them.
pub const FILE_STREAMS_PER_PEER_MAX: usize = 4;
/// Files that are known here; past it those go that were offered first and not fetched.
pub const FILES_MAX: usize = 4_096;
/// Searches that may wait for their answers at once: each has its turn.
pub const SEARCHES_MAX: usize = 64;
/// Files being made ready for sending at once.
pub const FILES_PREPARED_MAX: usize = 8;
/// Orders on their way to who reads and writes files, and reports back.
pub const FILE_ORDERS_MAX: usize = 1_024;

const _: () = assert!(FILE_CHUNKS_MAX * 32 < 4 << 20);

/// Minutes over which an author's entries are counted: a conversation has bursts.
pub const RATE_MINUTES: u64 = 10;
/// Orders about rooms that a leader takes from one member at once: several for each of the rooms
/// of a member that comes back, all of them tried again.
pub const ROOM_ORDERS_BURST: u64 = 256;
/// … and per second from then on.
pub const ROOM_ORDERS_PER_SECOND: u64 = 4;
/// Ways into rooms and keys that one member asks for at once: each costs a signature and a tree, or a look
/// through the newest messages. Who comes to a room late asks a few times a second.
pub const ASKS_BURST: u64 = 64;
/// And so many a second from then on.
pub const ASKS_PER_SECOND: u64 = 8;
/// How short a message may live, and how long.
pub const EXPIRY_MIN: Millis = Millis(1_000);
/// As long as an invite at the most.
pub const EXPIRY_MAX: Millis = Millis(366 * 24 * 3_600_000);
/// A message that was taken out so much before its end, by our clock, is taken as it is; of one that
/// was taken out earlier somebody else is asked first.
pub const EXPIRY_SKEW: Millis = Millis(10 * 60_000);
/// Entries that somebody leaves who may not write to us yet: enough to say who one is.
pub const REQUEST_ENTRIES_MAX: u64 = 64;
/// People who wait to write to us: nobody looks through more.
pub const REQUESTS_MAX: usize = 256;
/// Contact codes that one member shows us within an hour: a code has 66 bits.
pub const CODE_GUESSES_MAX: u32 = 20;

/// Deposits with a keeper are padded to the first of these that holds them; a batch of the longest
/// texts fits the last.
pub const DEPOSIT_PADDED_BYTES: [usize; 6] =
    [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10];
/// What a deposit counts beside its bytes: its row.
pub const DEPOSIT_ROW_BYTES: u64 = 512;
/// Shelves of a keeper that are asked for in one frame.
pub const SHELVES_MAX: usize = 256;
/// Shelves of which a keeper tells one linked member when something comes.
pub const SHELVES_TOLD_MAX: usize = 4_096;
/// Deposits in one frame.
pub const COLLECTED_MAX: usize = 512;
/// Bytes of deposits in one frame, once there is one.
pub const COLLECTED_BYTES_MAX: usize = 768 << 10;
/// What one depositor may have kept, as a part of a keeper's quota: a quarter.
pub const KEEP_SHARES: u64 = 4;

/// So long a member commits nothing in a room where most could not follow a commit of its: long enough
/// that who does it on purpose stops nobody more than seconds a day, and no end for who could not help it.
pub const SUSPENDED_FOR: Millis = Millis(24 * 3_600_000);
/// So long after a commit somebody may say that it cannot follow it: who was away over a weekend counts.
pub const CLAIM_WITHIN: Millis = Millis(7 * 24 * 3_600_000);
/// Commits of a room of which one member says so at one time; of more the oldest is forgotten. One that
/// cannot follow is out until it is back in, so more than one is rare.
pub const CLAIMS_MAX: usize = 4;
/// Commits of a sealed room that are known to be ones: whoever is cut off says so once it is back in, and
/// others may have had as many ordered at once in between.
pub const COMMITS_MAX: usize = 256;

const _: () = assert!(SUSPENDED_FOR.0 < CLAIM_WITHIN.0);
const _: () = assert!(DEPOSIT_PADDED_BYTES[5] + (64 << 10) < COLLECTED_BYTES_MAX);
const _: () = assert!(
    COLLECTED_BYTES_MAX + SHELVES_MAX * 64 + COLLECTED_MAX * 8 + (64 << 10) < FRAME_BYTES_MAX
);
const _: () = assert!(PADDED_BYTES[5] + (1 << 10) <= SEALED_BYTES_MAX);
const _: () = assert!(TEXT_BYTES_MAX + 512 < PADDED_BYTES[5]);
const _: () = assert!(SEALED_BYTES_MAX < PAGE_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX + (64 << 10) < FRAME_BYTES_MAX);
const _: () = assert!(TEXT_BYTES_MAX + (4 << 10) < PAGE_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(MEMBERS_MAX * 64 < FRAME_BYTES_MAX && MEMBERS_MAX < HEARSAY_MAX);
const _: () = assert!(ORDER_BYTES_MAX < STRANGER_FRAME_BYTES_MAX);
const _: () = assert!(CERTIFICATE_BYTES_MAX < ORDER_BYTES_MAX);
const _: () = assert!(CONTROL_ENTRY_BYTES_MAX + (2 << 10) < APPEND_BYTES_MAX);
const _: () = assert!(GROUP_INFO_BYTES_MAX + (4 << 10) < FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX * 4 < QUEUE_BYTES_MAX + 1);
const _: () = assert!(BATCH_MAX <= PAGE_ENTRIES_MAX);
const _: () = assert!(CREDENTIAL_BYTES_MAX + (1 << 10) < ORDER_BYTES_MAX);
const _: () = assert!(VOUCHER_BYTES_MAX < VOUCHED_BYTES_MAX);
const _: () = assert!(VOUCHED_BYTES_MAX < CERTIFICATE_BYTES_MAX);
const _: () = assert!(REGISTER_PAGE_MAX * (VOUCHER_BYTES_MAX + (1 << 10)) < ASK_BYTES_MAX);
const _: () =
    assert!(VOUCHER_BYTES_MAX + ADDRESSES_MAX * ADDRESS_BYTES_MAX < INVITE_CHARS_MAX * 5 / 7);
const _: () = assert!(REVOKED_MAX * 64 + REGISTER_PAGE_MAX * (1 << 10) < ASK_BYTES_MAX);
const _: () = assert!(REGISTER_PAGE_MAX * (3 << 10) < ASK_BYTES_MAX);
const _: () = assert!(CERTIFICATE_RENEW.0 < CERTIFICATE_LIFE.0 && CRL_RENEW.0 < CRL_LIFE.0);
const _: () = assert!(RSA_BITS_MAX == 4_096 && RSA_SIGNATURE_BYTES_MAX == 4_096 / 8);
