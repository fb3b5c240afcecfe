// The page: the gateway on one side, the contacts on the other, and what is on screen.

import { Contact } from './contact.js';
import { Gateway } from './gateway.js';
import { renderMe, renderPeople } from './ui/people.js';
import { Stage, welcome } from './ui/stage.js';

const POLL_MS = 500;
const MAX_CONTACTS = 300;

const ADJECTIVES = ['Amber', 'Brisk', 'Calm', 'Dapper', 'Early', 'Fern', 'Gentle', 'Hazel', 'Ivory', 'Jolly', 'Keen', 'Lucid'];
const ANIMALS = ['Badger', 'Crane', 'Dormouse', 'Egret', 'Finch', 'Gecko', 'Heron', 'Ibex', 'Jay', 'Kestrel', 'Lynx', 'Marten'];

function ownName() {
  const stored = sessionStorage.getItem('name');
  if (stored) return stored;
  const [a, b] = crypto.getRandomValues(new Uint8Array(2));
  const name = `${ADJECTIVES[a % ADJECTIVES.length]} ${ANIMALS[b % ANIMALS.length]}`;
  sessionStorage.setItem('name', name);
  return name;
}

class App {
  name = ownName();
  contacts = new Map();
  stages = new Map();
  selected = null;
  isListed = false; // on the relay's roster ourselves: the relay is there

  constructor() {
    const url = new URL('gateway', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    this.gateway = new Gateway(url.href, this.name);
    this.gateway.addEventListener('state', ({ detail }) => this.#onGateway(detail.online));
    this.gateway.addEventListener('roster', ({ detail }) => this.#onRoster(detail.peers ?? []));
    this.gateway.addEventListener('offer', ({ detail }) => this.#onOffer(detail));
    for (const type of ['answer', 'candidate', 'signalling', 'error', 'bye']) {
      this.gateway.addEventListener(type, ({ detail }) => this.#bySession(detail.session)?.session.onSignal(detail));
    }
  }

  start() {
    document.getElementById('stage').replaceChildren(welcome());
    this.gateway.connect();
    this.render();
    setInterval(() => this.#stage()?.poll(), POLL_MS);
    document.addEventListener('keydown', (event) => this.#onKey(event));
    addEventListener('pagehide', () => this.contacts.forEach((contact) => contact.disconnect()));
  }

  render() {
    const shown = [...this.contacts.values()].filter((contact) => contact.online || contact.session);
    renderPeople(shown, this.selected, (contact) => this.choose(contact));
    renderMe(this.gateway, this.isListed, this.name, (name) => this.rename(name));
    this.#stage()?.update();
  }

  /** Show a contact, and call it when there is nothing to show yet. */
  choose(contact) {
    this.show(contact);
    if (contact.online && (contact.session === null || contact.session.over)) contact.connect();
  }

  /** Call any peer id at the relay, listed or not. */
  call(peer) {
    const contact = this.#contact(peer);
    this.show(contact);
    contact.connect();
  }

  show(contact) {
    this.selected = contact;
    contact.unread = 0;
    if (!this.stages.has(contact.peer)) this.stages.set(contact.peer, new Stage(contact));
    document.getElementById('stage').replaceChildren(this.#stage().element);
    this.render();
  }

  rename(name) {
    if (!name || name === this.name) return;
    this.name = name;
    sessionStorage.setItem('name', name);
    this.gateway.rename(name);
  }

  #stage() {
    return this.selected && this.stages.get(this.selected.peer);
  }

  #contact(peer) {
    let contact = this.contacts.get(peer);
    if (!contact) {
      contact = new Contact(peer, this.gateway);
      for (const name of ['state', 'session']) contact.addEventListener(name, () => this.render());
      contact.addEventListener('message', () => this.#onMessage(contact));
      this.contacts.set(peer, contact);
      this.stages.set(peer, new Stage(contact));
    }
    return contact;
  }

  #bySession(id) {
    return [...this.contacts.values()].find((contact) => contact.session?.id === id);
  }

  #onGateway(online) {
    if (!online) this.#onRoster([]);
    this.render();
  }

  #onRoster(entries) {
    this.isListed = entries.some((entry) => entry.peer === this.gateway.peer);
    const listed = new Map(entries.slice(0, MAX_CONTACTS).map((entry) => [entry.peer, entry]));
    listed.delete(this.gateway.peer);
    for (const peer of listed.keys()) this.#contact(peer);
    for (const [peer, contact] of this.contacts) {
      contact.seen(listed.get(peer) ?? null);
      if (!contact.online && contact.session === null && contact !== this.selected) this.#forget(peer);
    }
    this.render();
  }

  #forget(peer) {
    this.contacts.delete(peer);
    this.stages.delete(peer);
  }

  #onOffer({ peer, session, sdp }) {
    const contact = this.#contact(peer);
    if (!contact.answer(session, sdp)) {
      this.gateway.send({ type: 'bye', session, reason: 'calls crossed' });
      return;
    }
    if (this.selected === null) this.show(contact);
    this.render();
  }

  #onMessage(contact) {
    if (contact !== this.selected) contact.unread += 1;
    this.render();
  }

  #onKey(event) {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === '/' && !typing) {
      const input = document.querySelector('.chat input');
      if (input && !input.disabled) {
        event.preventDefault();
        input.focus();
      }
    } else if (event.key === 'Escape') {
      document.querySelector('.person[aria-current], .person')?.focus();
    } else if (['ArrowDown', 'ArrowUp'].includes(event.key) && event.target.closest('.person')) {
      const people = [...document.querySelectorAll('.person')];
      const step = event.key === 'ArrowDown' ? 1 : -1;
      people[people.indexOf(event.target.closest('.person')) + step]?.focus();
      event.preventDefault();
    }
  }
}

// For the console of the curious, and for tests.
globalThis.lastresort = new App();
globalThis.lastresort.start();
