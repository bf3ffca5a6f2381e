// The messages of one room: in the order that is the same for everybody, with what later ones made
// of earlier ones. The window that is held is bounded; the member has the rest.

const HELD_MAX = 5000;
const EARLY_MAX = 4096;

const before = (a, b) => a.lamport - b.lamport || (a.peer_id < b.peer_id ? -1 : a.peer_id > b.peer_id ? 1 : 0) || a.seq - b.seq;

export class Messages {
  constructor() {
    this.items = [];
    this.byId = new Map();
    this.early = new Map();
    // Every id that was taken in, whatever it is about: so nothing counts twice.
    this.known = new Set();
    this.oldest = undefined;
    this.isWhole = false;
    this.pending = [];
    // Those that end.
    this.ending = [];
  }

  // Takes one in; true where something is shown anew.
  take(event) {
    if (this.known.has(event.id)) return false;
    this.known.add(event.id);
    if (!this.oldest || before(event, this.oldest) < 0) this.oldest = event;
    // Of somebody whom this home ignores: it counts for paging alone.
    if (event.ignored) return false;
    const kind = event.kind || '';
    if (kind === 'edit' || kind === 'deletion' || kind === 'reaction') {
      const target = this.byId.get(event.of);
      if (target) return this.apply(target, event);
      if (!this.early.has(event.of)) this.early.set(event.of, []);
      this.early.get(event.of).push(event);
      while (this.early.size > EARLY_MAX) this.early.delete(this.early.keys().next().value);
      return false;
    }
    const item = {
      ...event, version: 0, at: new Date(event.sent_at), edited: false, deleted: false, edit: undefined,
      marks: new Map(), marked: new Map(), to: undefined, of_reply: kind === 'reply' ? event.of : undefined,
    };
    this.insert(item);
    if (item.expires_at) this.ending.push(item);
    for (const later of this.early.get(item.id) || []) this.apply(item, later);
    this.early.delete(item.id);
    return true;
  }

  insert(item) {
    let at = this.items.length;
    while (at > 0 && before(this.items[at - 1], item) > 0) at -= 1;
    this.items.splice(at, 0, item);
    this.byId.set(item.id, item);
  }

  apply(item, later) {
    const isAuthor = later.peer_id === item.peer_id;
    if (later.kind === 'edit') {
      if (!isAuthor || item.deleted || (item.edit && before(later, item.edit) <= 0)) return false;
      item.edit = later;
      item.edited = true;
      item.text = later.text;
    } else if (later.kind === 'deletion') {
      if (!isAuthor) return false;
      item.deleted = true;
      item.text = '';
      item.file = undefined;
    } else {
      const key = `${later.text}\n${later.peer_id}`;
      const old = item.marked.get(key);
      if (old && before(later, old) <= 0) return false;
      if (!old && item.marked.size >= 4096) return false;
      item.marked.set(key, later);
      const names = item.marks.get(later.text) || new Set();
      if (later.removed) names.delete(later.from); else names.add(later.from);
      if (names.size) item.marks.set(later.text, names); else item.marks.delete(later.text);
    }
    item.version += 1;
    return true;
  }

  // What has ended says nothing any more; when the next one does, in milliseconds.
  end(now) {
    let next = Infinity;
    this.ending = this.ending.filter((item) => {
      const at = new Date(item.expires_at).getTime();
      if (at > now) next = Math.min(next, at);
      else if (!item.deleted) Object.assign(item, { deleted: true, ended: true, text: '', file: undefined, version: item.version + 1 });
      // What left the window is not waited for.
      return at > now && this.byId.has(item.id);
    });
    return next;
  }

  // A page before what is held.
  takePage(page) {
    let changed = false;
    // Oldest last, so that each goes to the front at once.
    for (const event of [...page].reverse()) changed = this.take(event) || changed;
    return changed;
  }

  place() {
    return this.oldest && `${this.oldest.id}.${this.oldest.peer_id}.${this.oldest.seq}`;
  }

  // While one follows the newest, the oldest go.
  bound() {
    const over = this.items.length - HELD_MAX;
    if (over < 500) return 0;
    for (const item of this.items.splice(0, over)) this.byId.delete(item.id);
    this.oldest = this.items[0];
    this.isWhole = false;
    this.known = new Set(this.items.map((item) => item.id));
    return over;
  }
}
