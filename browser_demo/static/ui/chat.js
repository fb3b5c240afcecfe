// The conversation: messages of both sides, and a line to write in.

import { MAX_TEXT } from '../protocols/chat.js';
import { h } from './dom.js';

const MAX_LINES = 500;

export class ChatPanel {
  #waiting = new Map(); // message id -> element of a message not acknowledged yet

  /** `send`: async (text) => message id. */
  constructor(send) {
    this.send = send;
    this.log = h('ol.log', { role: 'log', 'aria-live': 'polite', tabIndex: 0, 'aria-label': 'Messages' });
    this.input = h('input', { type: 'text', placeholder: 'Say something', maxLength: MAX_TEXT, autocomplete: 'off', 'aria-label': 'Message' });
    this.button = h('button.primary', { type: 'submit' }, 'Send');
    this.element = h('section.panel.chat', { 'aria-label': 'Chat' },
      h('header', {}, h('h3', {}, 'Chat')),
      this.log,
      h('form.composer', { onsubmit: (event) => this.#submit(event) }, this.input, this.button));
  }

  setEnabled(enabled) {
    this.input.disabled = this.button.disabled = !enabled;
  }

  /** Add a line; `who` is "me", "peer" or "note". */
  add(who, text) {
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const line = h(`li.message.${who}`, {}, h('span.text', {}, text), who === 'note' ? null : h('time', {}, time));
    this.log.append(line);
    while (this.log.children.length > MAX_LINES) this.log.firstChild.remove();
    this.log.scrollTop = this.log.scrollHeight;
    return line;
  }

  received(id) {
    const line = this.#waiting.get(id);
    line?.classList.add('received');
    line?.querySelector('time')?.append(' ✓');
    this.#waiting.delete(id);
  }

  async #submit(event) {
    event.preventDefault();
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = '';
    const line = this.add('me', text);
    try {
      this.#waiting.set(await this.send(text), line);
    } catch (error) {
      line.classList.add('failed');
      this.add('note', `not sent: ${error.message}`);
    }
  }
}
