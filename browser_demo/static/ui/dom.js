// Building elements without markup strings: what peers send can only ever become text.

const SVG = 'http://www.w3.org/2000/svg';

function apply(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && !(element instanceof SVGElement) && name !== 'list') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** h('button.primary', {onclick}, 'Send') */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(' ');
  return apply(element, properties, children);
}

/** The same for SVG elements; properties become attributes. */
export function svg(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const element = document.createElementNS(SVG, name);
  if (classes.length) element.setAttribute('class', classes.join(' '));
  return apply(element, properties, children);
}

/** Replace the children of `element` only when `key` changed since the last time. */
export function renderOnce(element, key, build) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...[build()].flat());
}

/** Say something to screen readers. */
export function announce(message) {
  const region = document.getElementById('announcer');
  if (region) region.textContent = message;
}
