//! The web page as people meet it: in a real browser, on members that really talk.
//! Owns: what the page shows, keeps and refuses.
//! Must not know: how the page is built.
//! Invariants: as in `main.rs`.
//! Start reading at: `two_browsers_on_two_members_talk_and_what_is_said_is_only_text`.

use std::process::Command;

use crate::browser::{Browser, Page};
use crate::harness::{LONG, LOOK, Lab, Proc, json, settled};
use crate::lab::free_port;

/// Where a member's page is.
struct Place {
    port: u16,
    url: String,
}

impl Place {
    fn root(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn token(&self) -> &str {
        self.url.split_once("#token=").unwrap().1
    }

    fn open<'a>(&self, browser: &'a Browser) -> Page<'a> {
        let page = browser.open(&self.url);
        connected(&page);
        page
    }

    /// The status that a request gets.
    fn status(&self, path: &str, headers: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"]);
        for header in headers {
            command.args(["-H", header]);
        }
        let output = command.arg(format!("http://127.0.0.1:{}{path}", self.port)).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}

fn start(lab: &Lab, name: &str) -> (Proc, Place) {
    let port = free_port();
    let member = lab.start_with(name, &["--no-embedded", "--api", &format!("127.0.0.1:{port}")]);
    member.ready();
    let ended = lab.run(&["web", "--home", lab.home(name).to_str().unwrap()], "");
    assert_eq!(ended.code, Some(0), "{}", ended.text());
    let url = ended.events[0].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("http://127.0.0.1:{port}/#token=")), "{url}");
    (member, Place { port, url })
}

fn connected(page: &Page<'_>) {
    page.until(
        "it is connected",
        "document.getElementById('link-state').textContent === 'connected'",
    );
}

/// The text of a message that is shown is this one and nothing else.
fn says(text: &str) -> String {
    let text = json!(text).to_string();
    format!("[...document.querySelectorAll('#log .text')].some(it => it.textContent === {text})")
}

fn say(page: &Page<'_>, text: &str) {
    page.eval("document.getElementById('text').focus()");
    page.insert(text);
    page.press("Enter", 0);
}

/// Presses a key on the newest message of this text.
fn press_on(page: &Page<'_>, text: &str, key: &str) {
    page.until("it is shown", &says(text));
    let text = json!(text).to_string();
    page.eval(&format!(
        "[...document.querySelectorAll('#log article')].findLast(it => \
         it.querySelector('.text')?.textContent === {text}).focus()"
    ));
    page.press(key, 0);
}

#[test]
fn two_browsers_on_two_members_talk_and_what_is_said_is_only_text() {
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let ((alice, at_alice), (bob, at_bob)) = (start(&lab, "alice"), start(&lab, "bob"));
    let members = [alice, bob];
    settled(&members);
    let browser = Browser::start();
    let (here, there) = (at_alice.open(&browser), at_bob.open(&browser));
    // The token has left the address bar, and is no cookie.
    assert_eq!(here.eval("location.href"), at_alice.root());
    assert_eq!(here.eval("document.cookie"), "");

    say(&here, "hello, bob");
    there.until("bob reads it", &says("hello, bob"));
    say(&there, "hello, alice");
    here.until("alice reads it", &says("hello, alice"));
    here.until(
        "everybody has it",
        "[...document.querySelectorAll('#log .own .delivered')].some(it => it.textContent === '✓')",
    );
    here.until("somebody is named", "document.querySelector('#log .named')");

    // An answer, another text, a mark, and none at all.
    press_on(&here, "hello, alice", "r");
    say(&here, "an answer");
    there.until("what it answers is shown", "document.querySelector('#log .quote')");
    press_on(&here, "an answer", "e");
    here.eval("document.getElementById('text').value = ''");
    say(&here, "a better one");
    there.until("it is another one", &says("a better one"));
    there.eval(
        "[...document.querySelectorAll('#log article')].at(-1).dispatchEvent(new \
         PointerEvent('pointerover', { bubbles: true })); \
         document.querySelector('#log .tools-row [data-mark]').click()",
    );
    here.until("it has a mark", "document.querySelector('#log .mark')");
    here.eval("window.confirm = () => true");
    press_on(&here, "a better one", "d");
    there.until("it is gone", "document.querySelector('#log .gone')");
    // What ends by itself is not deleted by anybody.
    members[1].ask(json!({"cmd": "send", "text": "for two seconds", "expires": "2s"}));
    here.until("it is shown", &says("for two seconds"));
    here.until("it has ended", &format!("!{} && {}", says("for two seconds"), says("expired")));

    a_file_goes_over(&here, &there, &members[1]);

    // What would be more than text anywhere else.
    let script = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>";
    members[1].say(script);
    members[1].say("see javascript:window.hit=1 or https://example.org/a?b=c.");
    members[1].say("red \u{1b}[31malert\u{1b}[0m \u{202e}gnp.exe");
    here.until("the script is text", &says(script));
    here.until("the codes are text", &says("red \\u{1b}[31malert\\u{1b}[0m \\u{202e}gnp.exe"));
    let links = "[...document.querySelectorAll('#log a')].map(it => it.href + ' ' + it.rel)";
    assert_eq!(here.eval(links), json!(["https://example.org/a?b=c noopener noreferrer"]));
    assert_eq!(here.eval("document.querySelectorAll('#log script, #log img').length"), 0);
    assert_eq!(here.eval("typeof window.hit"), "undefined");

    // Who has it, and the group as a picture.
    press_on(&here, "hello, bob", "i");
    here.until("bob has it", "document.getElementById('side-body').innerText.includes('✓ bob')");
    here.eval("document.querySelector('[data-panel=group]').click()");
    here.until("a link is drawn", "document.querySelectorAll('.picture line.direct').length === 1");
    here.until("two members are drawn", "document.querySelectorAll('.picture .node').length === 2");
    assert_eq!(here.eval("document.querySelectorAll('.picture .untold').length"), 0);
    // As in a group that is larger than the links of a member.
    here.eval(
        "(() => { const real = window.fetch; window.fetch = async (path, init) => { \
         const answer = await real(path, init); if (path !== '/v1/group') return answer; \
         return Response.json({ ...await answer.json(), untold: ['bob'] }); }; })()",
    );
    here.until("bob told nothing", "document.querySelectorAll('.picture .untold').length === 1");
    let facts = here.eval("document.querySelector('.facts').textContent").to_string();
    assert!(
        facts.contains("as far as told, 1 direct") && facts.contains("are shown: bob"),
        "{facts}"
    );
    here.until("it is in the list", "document.querySelectorAll('.linked li').length === 1");
    here.eval("document.querySelector('[data-panel=invites]').click()");
    here.until("the form is there", "document.querySelector('#side-body form.stack')");
    here.eval("document.querySelector('#side-body form.stack').requestSubmit()");
    here.until("the invite is drawn", "document.querySelector('.qr path.ink')");
    assert!(here.eval("document.getElementById('invite-text').value").to_string().len() > 500);
    here.eval("document.getElementById('search-words').value = 'hello'");
    here.eval("document.getElementById('search').requestSubmit()");
    here.until("two are found", "document.querySelectorAll('.found li').length === 2");
    ignored_is_not_shown(&here, &members);
    of_a_long_one_the_beginning_is_shown(&here, &members[0]);

    for page in [&here, &there] {
        assert_eq!(page.complaints(), Vec::<String>::new());
        let own = [at_alice.root(), at_bob.root()];
        let others = page.requests().into_iter().filter(|url| {
            !own.iter().any(|root| url.starts_with(root.as_str())) && !url.starts_with("data:")
        });
        assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
    }
    only_who_is_meant(&browser, &at_alice);
}

/// What somebody writes whom this member ignores is neither in the talk nor found.
fn ignored_is_not_shown(here: &Page<'_>, members: &[Proc]) {
    let [alice, bob] = members else { panic!("two") };
    assert_eq!(alice.ask(json!({"cmd": "ignore", "name": "bob"}))["event"], "ignored");
    bob.say("hello, unseen");
    alice.hear("hello, unseen");
    alice.say("hello, seen");
    here.until("the next is shown", &says("hello, seen"));
    assert_eq!(here.eval(&says("hello, unseen")), false);
    here.eval("document.getElementById('search').requestSubmit()");
    let found = "[...document.querySelectorAll('.found .text')].map(it => it.textContent).join()";
    here.until("those of others are found", &format!("{found} === 'hello, seen,hello, bob'"));
}

/// All of it is there once it is wanted.
fn of_a_long_one_the_beginning_is_shown(here: &Page<'_>, author: &Proc) {
    author.say(&format!("long {}", "x".repeat(60_000)));
    let shown = "[...document.querySelectorAll('#log .text')]\
                 .find(it => it.textContent.startsWith('long x'))";
    here.until("its beginning", &format!("{shown}?.textContent.length < 1200"));
    here.eval(&format!("{shown}.querySelector('[data-deed=open]').click()"));
    here.until("all of it", &format!("{shown}?.textContent.length === 60005"));
    // An address is a link to where its author meant or none.
    let there = format!("https://example.org/{}", "a".repeat(5_000));
    author.say(&format!("far {} {there} end", "y".repeat(900)));
    let shown = "[...document.querySelectorAll('#log .text')]\
                 .find(it => it.textContent.startsWith('far y'))";
    here.until("its beginning", &format!("{shown}?.querySelector('[data-deed=open]')"));
    assert_eq!(here.eval(&format!("{shown}.querySelectorAll('a').length")), 0);
    here.eval(&format!("{shown}.querySelector('[data-deed=open]').click()"));
    here.until("the address", &format!("{shown}?.querySelector('a')?.href === '{there}'"));
}

/// From one page by its member to the other, where it is saved, given up and fetched again.
fn a_file_goes_over(here: &Page<'_>, there: &Page<'_>, receiver: &Proc) {
    here.eval(
        "(() => { const data = new DataTransfer(); \
         data.items.add(new File(['what the file says'], 'notes.txt')); \
         const input = document.getElementById('file'); input.files = data.files; \
         input.dispatchEvent(new Event('change')); })()",
    );
    let with = |deed: &str| {
        format!(
            "[...document.querySelectorAll('#log .file')].find(it => \
             it.textContent.includes('notes.txt')).querySelector('[data-deed={deed}]')"
        )
    };
    here.until("who sent it sees it", &with("save"));
    there.until("it came by itself", &with("save"));
    there.eval(
        "const made = URL.createObjectURL; URL.createObjectURL = blob => { \
         blob.text().then(it => { window.saved = it; }); return made.call(URL, blob); }",
    );
    there.eval(&format!("{}.click()", with("save")));
    there.until("it says what it said", "window.saved === 'what the file says'");
    let id = receiver.ask(json!({"cmd": "files"}))["files"][0]["id"].clone();
    receiver.ask(json!({"cmd": "drop", "id": id}));
    there.until("it can be fetched", &with("fetch"));
    there.eval(&format!("{}.click()", with("fetch")));
    there.until("it is here again", &with("save"));
}

/// Nobody without the token gets more than the empty page, and no other page anything.
fn only_who_is_meant(browser: &Browser, place: &Place) {
    assert_eq!(place.status("/", &[]), "200");
    assert_eq!(place.status("/v1/status", &[]), "401");
    let token = format!("Authorization: Bearer {}", place.token());
    for wrong in ["Host: evil.example", "Origin: http://evil.example", "Origin: null"] {
        assert_eq!(place.status("/", &[wrong]), "403", "{wrong}");
        assert_eq!(place.status("/v1/status", &[wrong, &token]), "403", "{wrong}");
    }
    assert_eq!(place.status("/web/../api.token", &[]), "401");
    let bare = browser.open(&place.root());
    bare.until("it asks for the token", "!document.getElementById('gate').hidden");
    // With the right token, too: another origin reads nothing and frames nothing.
    let other = browser.open("about:blank");
    let url = format!("{}v1/status", place.root());
    let fetched = other.eval(&format!(
        "fetch('{url}', {{ headers: {{ authorization: 'Bearer {}' }} }})\
         .then(() => 'read', () => 'refused')",
        place.token()
    ));
    assert_eq!(fetched, "refused");
}

#[test]
fn a_page_that_is_loaded_again_is_where_it_was() {
    const COUNT: usize = 700;
    let lab = Lab::new();
    let (_bootstrap, _keyauth) = (lab.bootstrap(), lab.keyauth());
    let (alice, place) = start(&lab, "alice");
    let bob = lab.join("bob");
    for n in 1..=COUNT {
        alice.say(&format!("message {n}"));
    }
    bob.hear(&format!("message {COUNT}"));
    let browser = Browser::start();
    let page = place.open(&browser);
    page.until("the newest is shown", &says(&format!("message {COUNT}")));
    // Up to the very first, a page after the other; what is in the document stays bounded.
    page.until(
        "the first is shown",
        &format!("(document.getElementById('log').scrollTop = 0, {})", says("message 1")),
    );
    let rows = page.eval("document.querySelectorAll('#log article').length").as_u64().unwrap();
    assert!(rows <= 450, "{rows} rows");
    // Who has them is shown of them all, not only of what was sent while the page was open.
    page.until(
        "bob has them all",
        "[...document.querySelectorAll('#log article')].every(it => \
         it.querySelector('.delivered')?.textContent === '\u{2713}')",
    );
    bob.exit();
    page.eval(
        "[...document.querySelectorAll('#log article')].find(it => \
         it.querySelector('.text')?.textContent === 'message 100').scrollIntoView()",
    );
    page.eval("document.getElementById('text').focus()");
    page.insert("half a thought");
    let first = "[...document.querySelectorAll('#log article')].find(it => \
                 it.getBoundingClientRect().bottom > \
                 document.getElementById('log').getBoundingClientRect().top + 1)\
                 .querySelector('.text').textContent";
    let before = page.eval(first);
    page.eval("window.isOld = true");
    page.call("Page.reload", json!({}));
    page.until("it is new", "window.isOld === undefined");
    connected(&page);
    page.until("the draft is there", "document.getElementById('text').value === 'half a thought'");
    page.until("the place is there", &format!("{first} === {before}"));

    // Whoever is away misses nothing: the member goes and comes back.
    let port = place.port;
    alice.kill();
    page.until("it knows", "document.getElementById('link-state').textContent !== 'connected'");
    let address = format!("127.0.0.1:{port}");
    let alice = lab.start_with("alice", &["--no-embedded", "--api", &address]);
    alice.ready();
    alice.say("back again");
    connected(&page);
    page.eval("document.getElementById('newest').click()");
    page.until("it is shown", &says("back again"));
    page.press("Escape", 0);
    assert_eq!(page.complaints(), Vec::<String>::new());
    // What was deleted while the page was away: it is told so (410), and begins anew.
    let newest = alice.ask(json!({"cmd": "since", "after": u64::MAX, "last": 0}))["last"].clone();
    alice.kill();
    page.until("it knows", "document.getElementById('link-state').textContent !== 'connected'");
    let alice = lab.start("alice");
    alice.ready();
    let long = "x".repeat(10_000);
    for round in 0..10 {
        alice.say(&format!("{round} {long}"));
    }
    alice.ask(json!({"cmd": "room_keep", "room": "main", "text": "forever", "last": 30_000}));
    let deadline = std::time::Instant::now() + LONG;
    let next = json!({"cmd": "since", "after": newest, "last": 1});
    while alice.ask(next.clone())["deleted_upto"].is_null() {
        assert!(std::time::Instant::now() < deadline, "nothing is deleted");
        std::thread::sleep(LOOK);
    }
    alice.say("the first after the gap");
    alice.exit();
    assert!(!page.was_answered(410));
    let alice = lab.start_with("alice", &["--no-embedded", "--api", &address]);
    alice.ready();
    page.until("it begins anew", &says("the first after the gap"));
    page.until("nothing of before is left", &format!("!{}", says("back again")));
    connected(&page);
    assert!(page.was_answered(410));
    alice.say("and on it goes");
    page.until("it follows", &says("and on it goes"));
    assert_eq!(page.complaints(), Vec::<String>::new());
    // A token that is taken back opens nothing any more.
    std::fs::write(lab.home("alice").join("api.token"), "another\n").unwrap();
    page.until("it asks for the token", "!document.getElementById('gate').hidden");
}
