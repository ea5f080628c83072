'use strict';
// Fetches /status.json every other second and draws it. Content from clients becomes text, never markup.

const byId = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

let shown = null;       // The last document.
let shownAt = 0;        // Its time of arrival by the browser's clock, which may differ from the appliance's.
let isPaused = false;
let isGone = false;     // True while the appliance does not respond.
let cursor = null;      // The step under the pointer or selected by keyboard, counted back from the last.
let clocks = [];        // The functions that update a clock each second, between two documents.
const wide = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });

function element(name, attributes, ...children) {
  const isDrawn = ['svg', 'path', 'line', 'rect', 'text', 'circle'].includes(name);
  const made = isDrawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const pill = (text, kind) => element('span', { class: `pill ${kind}` }, text);
const code = (text) => element('span', { class: 'code' }, text);
const sum = (values) => values.reduce((all, value) => all + value, 0);
const number = (value) => (value >= 100 || Number.isInteger(value) ? wide : short).format(value);

// A no-break space keeps a number and its unit on one line.
function time(milliseconds) {
  if (milliseconds === null) return '–';
  return milliseconds < 1000 ? `${number(milliseconds)}\u00a0ms` : `${number(milliseconds / 1000)}\u00a0s`;
}

function span(seconds, parts = 2) {
  const whole = Math.max(0, Math.floor(seconds));
  const all = [['d', Math.floor(whole / 86400)], ['h', Math.floor(whole / 3600) % 24], ['min', Math.floor(whole / 60) % 60], ['s', whole % 60]];
  const first = all.findIndex(([, value]) => value > 0);
  if (first < 0) return '0\u00a0s';
  return all.slice(first, first + parts).filter(([, value], at) => at === 0 || value > 0).map(([unit, value]) => `${value}\u00a0${unit}`).join(' ');
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  while (bytes >= 1024 && power < units.length - 1) { bytes /= 1024; power += 1; }
  return `${number(bytes)}\u00a0${units[power]}`;
}

/** Formats a rate so that it is easy to imagine: `12/s`, or `1 in 10 s`. */
function rate(count, seconds) {
  return count >= seconds || count === 0 ? `${number(count / seconds)}/s` : `${number(count)} in ${Math.round(seconds)} s`;
}

const percent = (part, all) => (all ? (part / all > 0 && part / all < 0.001 ? '<0.1\u00a0%' : `${number(Math.round((part / all) * 1000) / 10)}\u00a0%`) : '0\u00a0%');
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
// The appliance's clock, running on since the last document.
const now = () => shown.now + (performance.now() - shownAt) / 1000;

/** Formats text between backticks as code. */
const prose = (text) => text.split('`').map((part, at) => (at % 2 ? element('code', {}, part) : part));

/** Draws a bar out of parts, each a number and a class. The rest up to `all` stays empty. */
function bar(parts, all) {
  let from = 0;
  const drawn = parts.filter(([value]) => value > 0).map(([value, kind]) => {
    // Even a small part can be seen.
    const width = Math.max((100 * value) / all, 0.5);
    from += width;
    return element('rect', { class: kind, x: from - width, width, height: 10 });
  });
  return element('svg', { class: 'bar', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...drawn);
}

/** Replaces the content of an element, unless it is the same or the user has selected some of it. */
function replace(place, seen, make) {
  const selection = document.getSelection();
  if (place.dataset.seen === seen || (selection && !selection.isCollapsed && place.contains(selection.anchorNode))) return;
  place.dataset.seen = seen;
  place.replaceChildren(...make());
}

/** Returns an element whose text `read` returns anew each second, with a kind that colours it. */
function ticking(read) {
  const place = element('span', {});
  const update = () => {
    const [text, kind] = read();
    if (place.textContent !== text) place.textContent = text;
    place.className = kind ? `pill ${kind}` : '';
  };
  update();
  clocks.push([place, update]);
  return place;
}
