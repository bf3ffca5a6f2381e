// What other people wrote, made harmless and readable: control and deceptive characters become
// visible, http and https become links, and nothing else becomes anything.

import { h } from './dom.js';

const HARMFUL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200c\u200e-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

const shown = (c) => `\\u{${c.codePointAt(0).toString(16)}}`;

// Lines stay lines.
export const clean = (text) => String(text ?? '').replace(HARMFUL, shown);

// Of a long text the first lines: it would fill screens.
const [LONG_LINES, LONG] = [40, 4000];

export function beginning(text) {
  const lines = text.split('\n', LONG_LINES + 1);
  if (lines.length <= LONG_LINES && text.length <= LONG) return text;
  let upto = Math.min(lines.slice(0, LONG_LINES / 2).join('\n').length, LONG / 4);
  for (const found of text.matchAll(LINK)) {
    if (found.index >= upto) break;
    // Half of an address would be another one.
    if (found.index + found[0].length > upto) upto = found.index;
  }
  return upTo(text, upto);
}

// No half of a character.
export const upTo = (text, count) => text.slice(0, count).replace(/[\ud800-\udbff]$/, '');

// For names, topics and everything else that is one line.
export const line = (text) => clean(text).replace(/[\n\t]/g, (c) => (c === '\n' ? '\\u{a}' : ' '));

// What somebody does rather than says: `/me waves` is shown as `* alice waves`.
export function action(text) {
  const done = text?.startsWith('/me ') ? text.slice(4).trimStart() : '';
  return done || undefined;
}

const LINK = /\bhttps?:\/\/[^\s<>"'`{}|\\^]+/giu;

function address(word) {
  try {
    const url = new URL(word);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

const escaped = (name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

// A pattern that finds a name as a word of its own.
export function naming(name) {
  return name ? new RegExp(`(?<![\\p{L}\\p{N}_])@?${escaped(name)}(?![\\p{L}\\p{N}_])`, 'giu') : undefined;
}

export function isNamed(text, pattern) {
  if (!pattern) return false;
  pattern.lastIndex = 0;
  return pattern.test(text);
}

function plain(text, pattern, into) {
  if (!pattern) { into.push(text); return; }
  let from = 0;
  for (const found of text.matchAll(pattern)) {
    if (found.index > from) into.push(text.slice(from, found.index));
    into.push(h('mark', { text: found[0] }));
    from = found.index + found[0].length;
  }
  if (from < text.length) into.push(text.slice(from));
}

// A message's text as nodes: strings, links, and one's own name marked.
export function nodes(raw, pattern) {
  const text = clean(raw);
  const into = [];
  let from = 0;
  for (const found of text.matchAll(LINK)) {
    const word = found[0].replace(/[.,;:!?)\]]+$/u, '');
    const href = address(word);
    if (!href) continue;
    if (found.index > from) plain(text.slice(from, found.index), pattern, into);
    into.push(h('a', { href, target: '_blank', rel: 'noopener noreferrer', text: word }));
    from = found.index + word.length;
  }
  if (from < text.length) plain(text.slice(from), pattern, into);
  return into;
}

// One of six colours for an author, the same wherever it is shown.
export function hue(peer) {
  let sum = 0x811c9dc5;
  for (const c of String(peer ?? '')) sum = Math.imul(sum ^ c.codePointAt(0), 0x01000193) >>> 0;
  return sum % 6;
}
