// Files in messages: what comes, how far it is, fetching and saving. The page asks once whether
// this member knows files at all; without them nothing of this is shown.

import * as api from './api.js';
import { bytes, el, h } from './dom.js';
import { line } from './text.js';

const files = new Map();
let known = false;

export const areKnown = () => known;
export const all = () => [...files.values()];
export const of = (id) => files.get(id);

export async function load() {
  try {
    const { files: rows } = await api.get('/v1/files');
    for (const row of rows || []) files.set(row.id, row);
    known = true;
  } catch (error) {
    if (error.status !== 404) throw error;
    known = false;
  }
  el('attach').hidden = !known;
  el('files-button').hidden = !known;
}

// Takes an event; gives the id of the message that it belongs to.
export function take(event) {
  const row = { ...(files.get(event.id) || {}), ...event };
  files.set(event.id, row);
  return row.message;
}

export const send = (room, file) => api.raw('POST', `/v1/rooms/${api.part(room)}/files?name=${api.part(file.name)}`, file);
export const fetchFile = (id) => api.post(`/v1/files/${api.part(id)}/fetch`);
export const stop = (id) => api.del(`/v1/files/${api.part(id)}`);

// The browser keeps a file under its name alone, wherever the person says.
export async function save(id, name) {
  const response = await api.raw('GET', `/v1/files/${api.part(id)}/content`);
  const url = URL.createObjectURL(await response.blob());
  const link = h('a', { href: url, download: line(name).replace(/[/\\]/g, '_') });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

const WORDS = { offered: 'not fetched', fetching: 'coming', paused: 'paused', complete: 'here', failed: 'failed' };

// A message that brings a file.
export function fileRow(item, on) {
  const { id, name, size } = item.file;
  const row = files.get(id);
  const state = row?.state || (on.own(item) ? 'complete' : 'offered');
  const have = Number(row?.have) || 0;
  const told = state === 'fetching' || state === 'paused'
    ? `${bytes(have)} of ${bytes(size)}, ${WORDS[state]}` : `${bytes(size)}, ${WORDS[state] || state}`;
  const act = (text, deed) => h('button', { type: 'button', class: 'plain', 'data-deed': deed, text });
  return h('div', { class: 'file' },
    h('strong', { text: line(name) }),
    h('span', { class: 'small', text: row?.reason ? `${told}: ${line(row.reason)}` : told }),
    (state === 'fetching' || state === 'paused') && h('progress', { max: size, value: have, 'aria-label': `How much of ${line(name)} is here` }),
    known && state === 'complete' && act('Save', 'save'),
    known && (state === 'offered' || state === 'paused' || state === 'failed') && act('Fetch', 'fetch'),
    known && state === 'fetching' && act('Stop', 'stop'));
}
