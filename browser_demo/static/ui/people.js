// The list of who is online, with what we have going with each of them.

import { State } from '../session.js';
import { avatar, shortId } from './avatar.js';
import { h, renderOnce } from './dom.js';

const KIND = { native: 'Python peer', browser: 'Browser tab' };

const STATUS = {
  [State.SIGNALLING]: ['busy', 'meeting'],
  [State.CHECKING]: ['busy', 'checking'],
  [State.DIRECT]: ['direct', 'direct'],
  [State.UNSURE]: ['warn', 'no answer'],
  [State.LOST]: ['lost', 'lost'],
  [State.CLOSED]: ['idle', ''],
};

function status(contact) {
  const [tone, words] = contact.session ? STATUS[contact.session.state] : ['idle', ''];
  if (!contact.online && tone === 'idle') return ['gone', 'offline'];
  return [tone, words];
}

function row(contact, isSelected, onSelect) {
  const [tone, words] = status(contact);
  const unread = contact.unread > 0 && h('span.unread', { title: 'unread messages' }, String(contact.unread));
  return h(
    'li',
    {},
    h(
      'button.person',
      { type: 'button', 'aria-current': isSelected ? 'true' : null, onclick: () => onSelect(contact), title: contact.peer, 'data-peer': contact.peer },
      avatar(contact.peer),
      h('span.person-text', {},
        h('span.person-name', {}, contact.name || shortId(contact.peer)),
        h('span.person-kind', {}, KIND[contact.kind] ?? 'Peer')),
      unread,
      h(`span.dot.${tone}`, { 'aria-hidden': 'true' }),
      h('span.person-status', {}, words || h('span.call-hint', {}, 'Connect')),
    ),
  );
}

export function renderPeople(contacts, selected, onSelect) {
  const list = document.getElementById('people');
  const key = JSON.stringify(
    contacts.map((c) => [c.peer, c.name, c.kind, c.online, c.unread, c.session?.state, c === selected]),
  );
  const focused = document.activeElement?.closest?.('[data-peer]')?.dataset.peer;
  renderOnce(list, key, () => contacts.map((contact) => row(contact, contact === selected, onSelect)));
  if (focused) list.querySelector(`[data-peer="${CSS.escape(focused)}"]`)?.focus();
  const online = contacts.filter((contact) => contact.online).length;
  document.getElementById('people-count').textContent = online ? String(online) : '';
}

export function renderMe(gateway, isListed, name, onRename) {
  const key = `${gateway.peer}|${isListed}|${name}`;
  renderOnce(document.getElementById('me'), key, () => [
    h('span.presence', { title: gateway.relay },
      h(`span.dot.${isListed ? 'direct' : 'busy'}`, { 'aria-hidden': 'true' }),
      isListed ? 'at the relay' : 'looking for the relay'),
    h('label.me-name', {},
      h('span.visually-hidden', {}, 'Your name'),
      h('input', { value: name, maxLength: 40, spellcheck: false, autocomplete: 'off',
        onchange: (event) => onRename(event.target.value.trim()) })),
    gateway.peer && h('span.me-avatar', { title: gateway.peer }, avatar(gateway.peer)),
  ].filter(Boolean));
}
