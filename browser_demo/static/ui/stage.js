// Everything about one contact: the route, the time line, traffic, pairs, chat and files.

import { CHAT } from '../protocols/chat.js';
import { FILE, FILE_REQUEST } from '../protocols/files.js';
import { State } from '../session.js';
import { readStats } from '../stats.js';
import { avatar, shortId } from './avatar.js';
import { ChatPanel } from './chat.js';
import { announce, h } from './dom.js';
import { FilesPanel } from './files.js';
import { Pairs } from './pairs.js';
import { RoutePicture } from './route.js';
import { Timeline } from './timeline.js';
import { Traffic } from './traffic.js';

const BADGE = {
  [State.SIGNALLING]: ['relay', 'relayed signalling'],
  [State.CHECKING]: ['checks', 'checking paths'],
  [State.DIRECT]: ['direct', 'direct'],
  [State.UNSURE]: ['warn', 'no answer'],
  [State.LOST]: ['lost', 'lost'],
  [State.CLOSED]: ['idle', 'closed'],
};

export class Stage {
  #stats = { pairs: [], selected: null };

  constructor(contact) {
    this.contact = contact;
    this.route = new RoutePicture();
    this.timeline = new Timeline();
    this.traffic = new Traffic();
    this.pairs = new Pairs();
    this.chat = new ChatPanel((text) => contact.session.chat.send(text));
    this.files = new FilesPanel({
      send: (file) => contact.session.files.send(file),
      list: () => contact.session.files.list(),
      request: (name) => contact.session.files.request(name),
    });
    this.#build();
    this.#listen();
    this.update();
  }

  #build() {
    this.name = h('h2', {}, '');
    this.detail = h('p.quiet');
    this.badge = h('span.badge');
    this.hangUp = h('button.secondary', { type: 'button', onclick: () => this.contact.disconnect() }, 'Disconnect');
    this.again = h('button.primary', { type: 'button', onclick: () => this.contact.connect() }, 'Reconnect');
    this.notice = h('p.notice', { role: 'alert', hidden: true });
    this.element = h('div.session', {},
      h('header.session-header', {},
        avatar(this.contact.peer),
        h('div.session-title', {}, h('div.name-line', {}, this.name, this.badge), this.detail),
        this.hangUp, this.again),
      this.notice,
      h('div.overview', {}, h('section.panel.trip', { 'aria-label': 'Route' }, this.route.element), this.timeline.element),
      h('div.talk', {}, this.chat.element, this.files.element),
      h('div.numbers', {}, this.traffic.element, this.pairs.element));
  }

  #listen() {
    const { contact } = this;
    contact.addEventListener('session', () => {
      this.timeline.stoppedAt = undefined;
      this.traffic.restart();
      this.#stats = { pairs: [], selected: null };
      this.update();
    });
    contact.addEventListener('state', () => this.#onState());
    for (const name of ['marks', 'identified']) contact.addEventListener(name, () => this.update());
    contact.addEventListener('message', ({ detail }) => this.chat.add('peer', detail.text));
    contact.addEventListener('received', ({ detail }) => this.chat.received(detail.id));
    contact.addEventListener('transfer', ({ detail }) => this.files.add(detail.transfer));
  }

  #onState() {
    const { session, name, peer } = this.contact;
    const words = BADGE[session.state][1];
    announce(`${name || shortId(peer)}: ${words}`);
    if (session.state === State.LOST && session.marks.direct) this.chat.add('note', `lost: ${session.reason}`);
    if (session.state === State.DIRECT && !this.greeted) {
      this.greeted = true;
      this.chat.add('note', 'Connected. Messages go straight to the peer.');
    }
    this.update();
    this.poll();
  }

  /** Show where the session stands. */
  update() {
    const { contact } = this;
    const { session } = contact;
    this.name.textContent = contact.name || shortId(contact.peer);
    if (!session) return;
    const [tone, words] = BADGE[session.state];
    this.element.dataset.state = session.state;
    this.badge.className = `badge ${tone}`;
    this.badge.textContent = words;
    this.detail.textContent = [shortId(contact.peer), session.agent].filter(Boolean).join(' · ');
    this.detail.title = contact.peer;
    this.hangUp.hidden = session.over;
    this.again.hidden = !session.over;
    this.again.disabled = !contact.online;
    this.again.textContent = contact.online ? 'Reconnect' : 'Waiting for the peer';
    this.notice.hidden = session.state !== State.LOST;
    this.notice.textContent = session.state === State.LOST ? this.#lossWords() : '';
    this.chat.setEnabled(contact.connected && session.speaks(CHAT));
    this.files.setEnabled(contact.connected && session.speaks(FILE), session.protocols.includes(FILE_REQUEST));
    this.timeline.update(session);
    this.route.update(session, this.name.textContent, this.#stats.selected);
  }

  #lossWords() {
    const { session, online } = this.contact;
    const next = online ? 'It is online: you can reconnect.' : 'It will be offered here when it comes back.';
    return `The connection is gone: ${session.reason}. ${next}`;
  }

  /** Read the statistics once. */
  async poll() {
    const { session } = this.contact;
    if (!session) return;
    if (!session.over) {
      try {
        this.#stats = await readStats(session.connection);
      } catch (error) {
        console.debug('no statistics:', error.message);
        return;
      }
      this.traffic.update(this.#stats);
      this.pairs.update(this.#stats);
    }
    this.update();
  }
}

/** What the stage shows before a peer is chosen. */
export function welcome() {
  return h('div.welcome', {},
    h('img', { src: 'icon.svg', alt: '', width: 96, height: 96 }),
    h('h2', {}, 'Choose somebody who is online'),
    h('p', {}, 'You meet at a relay, exchange addresses, and try them all. As soon as one pair answers, ',
      'the bytes leave the relay and go straight to the peer.'),
    h('ul.keys', {},
      h('li', {}, h('kbd', {}, 'Tab'), ' to a peer, ', h('kbd', {}, 'Enter'), ' to connect'),
      h('li', {}, h('kbd', {}, '/'), ' to write, ', h('kbd', {}, 'Esc'), ' to go back to the list')));
}
