// Files in both directions: pick or drop to send, ask the peer for one of its own, progress, and the hash check.

import { formatBytes } from '../stats.js';
import { h } from './dom.js';

const MAX_ROWS = 200;

const STATE_WORDS = {
  hashing: 'hashing',
  waiting: 'offered',
  moving: '',
  checking: 'the peer is checking the hash',
  verified: 'SHA-256 matches at both ends',
  failed: '',
};

function download(transfer) {
  const url = URL.createObjectURL(transfer.blob);
  h('a', { href: url, download: transfer.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** One transfer as a list item that follows it. */
function transferRow(transfer) {
  const bar = h('progress', { max: Math.max(transfer.size, 1), value: 0, 'aria-label': `Progress of ${transfer.name}` });
  const words = h('span.transfer-words');
  const hash = h('code.hash');
  const save = h('button.quiet-button', { type: 'button', hidden: true, onclick: () => download(transfer) }, 'Save');
  const row = h(`li.transfer.${transfer.direction}`, { 'data-state': transfer.state },
    h('span.transfer-arrow', { 'aria-hidden': 'true' }, transfer.direction === 'out' ? '↑' : '↓'),
    h('span.transfer-name', {}, transfer.name),
    h('span.transfer-size', {}, formatBytes(transfer.size)),
    save, bar, words, hash);
  const show = () => {
    row.dataset.state = transfer.state;
    bar.value = transfer.state === 'verified' ? bar.max : transfer.moved;
    const rate = transfer.seconds > 0.05 ? `${formatBytes(transfer.moved / transfer.seconds)}/s` : '';
    const moving = `${formatBytes(transfer.moved)} of ${formatBytes(transfer.size)}${rate && `, ${rate}`}`;
    words.textContent = transfer.state === 'failed' ? transfer.reason : STATE_WORDS[transfer.state] || moving;
    if (transfer.state === 'verified' && rate) words.textContent += ` · ${rate}`;
    hash.textContent = transfer.sha256 ? `${transfer.sha256.slice(0, 16)}…` : '';
    hash.title = transfer.sha256;
    save.hidden = !transfer.blob;
  };
  let queued = false;
  transfer.addEventListener('change', () => {
    if (queued) return;
    queued = true;
    setTimeout(() => { queued = false; show(); }, 60);
  });
  show();
  return row;
}

export class FilesPanel {
  /** `actions`: {send(file), list() -> [{name,size}], request(name)}. */
  constructor(actions) {
    this.actions = actions;
    this.transfers = h('ol.transfers', { 'aria-label': 'Transfers' });
    this.picker = h('input', { type: 'file', multiple: true, hidden: true, onchange: () => this.#sendAll(this.picker.files) });
    this.sendButton = h('button.primary', { type: 'button', onclick: () => this.picker.click() }, 'Send a file');
    this.askButton = h('button.secondary', { type: 'button', onclick: () => this.#ask() }, 'Ask for a file');
    this.shared = h('ul.shared', { hidden: true, 'aria-label': 'Files that the peer shares' });
    this.note = h('p.quiet.drop-note', {}, 'or drop files here');
    this.element = h('section.panel.files', {
      'aria-label': 'Files',
      ondragover: (event) => { event.preventDefault(); this.element.classList.add('dropping'); },
      ondragleave: () => this.element.classList.remove('dropping'),
      ondrop: (event) => {
        event.preventDefault();
        this.element.classList.remove('dropping');
        if (this.enabled) this.#sendAll(event.dataTransfer.files);
      },
    },
    h('header', {}, h('h3', {}, 'Files')),
    h('div.file-actions', {}, this.sendButton, this.askButton, this.picker, this.note),
    this.shared, this.transfers);
  }

  setEnabled(enabled, canAsk) {
    this.enabled = enabled;
    this.sendButton.disabled = !enabled;
    this.askButton.disabled = !enabled;
    this.askButton.hidden = !canAsk;
    if (!enabled) this.shared.hidden = true;
  }

  add(transfer) {
    this.transfers.prepend(transferRow(transfer));
    while (this.transfers.children.length > MAX_ROWS) this.transfers.lastChild.remove();
  }

  #sendAll(files) {
    for (const file of files) this.actions.send(file);
    this.picker.value = '';
  }

  async #ask() {
    try {
      const files = await this.actions.list();
      this.shared.hidden = false;
      this.shared.replaceChildren(...(files.length ? files.map((file) => this.#sharedRow(file)) : [h('li.quiet', {}, 'The peer shares nothing.')]));
      this.shared.querySelector('button')?.focus();
    } catch (error) {
      this.note.textContent = `could not ask: ${error.message}`;
    }
  }

  #sharedRow({ name, size }) {
    const get = async () => {
      this.shared.hidden = true;
      try {
        await this.actions.request(name);
      } catch (error) {
        this.note.textContent = `not sent: ${error.message}`;
      }
    };
    return h('li', {}, h('button.shared-file', { type: 'button', onclick: get },
      h('span', {}, name), h('span.quiet', {}, formatBytes(size))));
  }
}
