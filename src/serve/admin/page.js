'use strict';
// Fetches /status.json every other second and draws it. Content from clients becomes text, never markup.

const INTERVAL = 2000;
const TIMEOUT = 10000;
const byId = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

let shown = null;       // The last document.
let shownAt = 0;        // Its time of arrival by the browser's clock, which may differ from the appliance's.
let isPaused = false;
let isGone = false;     // True while the appliance does not respond.
let cursor = null;      // The step under the pointer or selected by keyboard, counted back from the last.
let countdowns = [];    // The elements that are updated each second, between two documents.
const wide = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 });

function element(name, attributes, ...children) {
  const isDrawn = ['svg', 'g', 'path', 'line', 'text', 'circle'].includes(name);
  const made = isDrawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const number = (value) => (value >= 100 || Number.isInteger(value) ? wide : short).format(value);

function time(milliseconds) {
  if (milliseconds === null) return '–';
  return milliseconds < 1000 ? `${number(milliseconds)} ms` : `${number(milliseconds / 1000)} s`;
}

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [['d', Math.floor(whole / 86400)], ['h', Math.floor(whole / 3600) % 24], ['min', Math.floor(whole / 60) % 60], ['s', whole % 60]];
  const first = parts.findIndex(([, value]) => value > 0);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([unit, value]) => `${value} ${unit}`).join(' ');
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  while (bytes >= 1024 && power < units.length - 1) { bytes /= 1024; power += 1; }
  return `${number(bytes)} ${units[power]}`;
}

const percent = (part, all) => (all ? (part / all > 0 && part / all < 0.001 ? '<0.1 %' : `${number(Math.round((part / all) * 1000) / 10)} %`) : '0 %');
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
// The appliance's clock, running on since the last document.
const now = () => shown.now + (performance.now() - shownAt) / 1000;

/* The sections of the page */

function state() {
  if (!shown && !isGone) return;
  const pill = byId('state');
  const [text, kind] = isGone ? ['no response', 'bad'] : shown.draining ? ['shutting down', 'warn']
    : shown.obstacle ? [`not ready: ${shown.obstacle}`, 'bad'] : ['ready', 'good'];
  if (pill.textContent !== text) pill.textContent = text;
  pill.className = `pill ${kind}`;
  document.title = `${isGone || shown.obstacle ? '✗' : '✓'} MLflow appliance`;
}

function about() {
  const parts = [`version ${shown.version}`, `up ${span(now() - shown.started)}`];
  if (shown.certificate_expires) parts.push(`certificate expires in ${span(shown.certificate_expires - now())}`);
  byId('about').textContent = parts.join(' · ');
}

function tiles() {
  const { moment } = shown.hour;
  const { disk, memory } = shown.bodies;
  const isBad = moment.failed > 0;
  const all = [
    ['Requests per second', number(moment.requests / moment.seconds), `over ${Math.round(moment.seconds)} s`],
    ['Failed', percent(moment.failed, moment.requests), `${number(moment.failed)} of ${number(moment.requests)}; ${number(moment.refused)} client errors`, isBad],
    ['Median response time', time(moment.median_ms), `99th percentile ${time(moment.high_ms)}`],
    ['In flight', number(shown.in_flight), 'requests'],
    ['Bodies on disk', percent(disk.used, disk.limit), `${size(disk.used)} of ${size(disk.limit)}`, disk.used > disk.limit * 0.8],
    ['Bodies in memory', percent(memory.used, memory.limit), `${size(memory.used)} of ${size(memory.limit)}`],
  ];
  byId('tiles').replaceChildren(...all.map(([name, figure, note, bad]) =>
    element('div', { class: bad ? 'tile bad' : 'tile' },
      element('dt', {}, name), element('dd', { class: 'figure' }, figure), element('dd', { class: 'quiet' }, note))));
}

const CHARTS = [
  { title: 'Requests per second', unit: (value) => `${number(value)}/s`, lines: [
    { name: 'all', key: 'requests', kind: 'first', area: true, rate: true }] },
  { title: 'Response time', unit: time, lines: [
    { name: 'median', key: 'median_ms', kind: 'first' },
    { name: '99th percentile', key: 'high_ms', kind: 'second dashed' }] },
  { title: 'Client errors and failures per minute', unit: (value) => number(value), lines: [
    { name: 'client errors (4xx)', key: 'refused', kind: 'second dashed', minute: true },
    { name: 'failed (5xx, truncated)', key: 'failed', kind: 'third', minute: true }] },
];

/** Returns the values of a line, one for each step of the hour; null for a step without a value. */
function values(line) {
  const { hour } = shown;
  const raw = hour[line.key];
  const missing = Array(hour.steps - raw.length).fill(null);
  return missing.concat(raw.map((value, index) => {
    if (value === null || !(line.rate || line.minute)) return value;
    // A step that has just begun is no basis for a rate: one request would be many a second.
    const lasted = index === raw.length - 1 ? hour.running : hour.step;
    if (lasted < (raw.length === 1 ? 1 : 5)) return null;
    return (value / lasted) * (line.minute ? 60 : 1);
  }));
}

/** Returns a round number that is not below `top`, so that the grid has readable labels. */
function ceiling(top) {
  if (!(top > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= top * 0.999);
}

function chart({ title, unit, lines }) {
  const slug = title.toLowerCase().replaceAll(' ', '-');
  let figure = byId(slug);
  if (!figure) {
    const swatch = ({ kind }) => element('svg', { viewBox: '0 0 24 10', 'aria-hidden': 'true' }, element('path', { d: 'M0 5H24', class: `lines ${kind}` }));
    figure = element('figure', { class: 'chart', id: slug },
      element('figcaption', {}, title),
      element('svg', { role: 'img', tabindex: '0', focusable: 'true' }),
      element('ul', { class: 'key' }, ...lines.map((line) => element('li', {}, swatch(line), line.name))),
      element('p', { class: 'reading', 'aria-live': 'polite' }));
    follow(figure.querySelector('figcaption + svg'));
    byId('charts').append(figure);
  }
  const svg = figure.querySelector('figcaption + svg');
  const [width, height, left, bottom, top] = [Math.max(svg.clientWidth, 120), 160, 46, 22, 8];
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const series = lines.map(values);
  const highest = Math.max(0, ...series.flat().filter((value) => value !== null));
  const limit = ceiling(highest);
  const steps = shown.hour.steps;
  const x = (index) => left + ((width - left - 4) * index) / (steps - 1);
  const y = (value) => top + (height - top - bottom) * (1 - value / limit);
  const drawn = [];
  for (const part of [0, 0.5, 1]) {
    drawn.push(element('line', { x1: left, x2: width, y1: y(part * limit), y2: y(part * limit), class: 'grid' }));
    drawn.push(element('text', { x: left - 6, y: y(part * limit) + 4, 'text-anchor': 'end' }, part === 0 ? '0' : unit(part * limit)));
  }
  for (const [minutes, anchor] of [[60, 'start'], [40, 'middle'], [20, 'middle'], [0, 'end']]) {
    const place = x((steps - 1) * (1 - minutes / 60));
    drawn.push(element('text', { x: place, y: height - 5, 'text-anchor': anchor }, minutes === 0 ? 'now' : `−${minutes} min`));
  }
  lines.forEach((line, which) => {
    for (const run of runs(series[which])) {
      const points = run.map(([index, value]) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
      if (line.area && points.length > 1) {
        const [first, last] = [run[0][0], run[run.length - 1][0]];
        drawn.push(element('path', { class: 'area', d: `M${points.join('L')}L${x(last).toFixed(1)} ${y(0)}L${x(first).toFixed(1)} ${y(0)}Z` }));
      }
      drawn.push(points.length > 1 ? element('path', { class: `lines ${line.kind}`, d: `M${points.join('L')}` })
        : element('circle', { class: `dot ${line.kind}`, cx: x(run[0][0]), cy: y(run[0][1]), r: 3 }));
    }
  });
  const reading = figure.querySelector('.reading');
  if (cursor === null) {
    reading.textContent = '';
  } else {
    const index = steps - 1 - cursor;
    drawn.push(element('line', { x1: x(index), x2: x(index), y1: top, y2: height - bottom, class: 'cursor' }));
    lines.forEach((line, which) => {
      const value = series[which][index];
      if (value !== null) drawn.push(element('circle', { cx: x(index), cy: y(value), r: 4, class: `dot ${line.kind}` }));
    });
    const said = lines.map((line, which) => `${line.name} ${series[which][index] === null ? '–' : unit(series[which][index])}`);
    reading.textContent = `${clock(began(index))}: ${said.join(', ')}`;
  }
  const last = lines.map((line, which) => {
    const known = series[which].filter((value) => value !== null);
    return `${line.name}: ${known.length ? unit(known[known.length - 1]) : 'no value'} now, at most ${unit(Math.max(0, ...known))}`;
  });
  svg.setAttribute('aria-label', `${title} in the last hour. ${last.join('; ')}. The arrow keys select single steps.`);
  svg.replaceChildren(...drawn);
}

/** Returns the stretches of a series without a gap, as lists of [index, value]. */
function runs(series) {
  const found = [];
  let run = [];
  series.forEach((value, index) => {
    if (value !== null) run.push([index, value]);
    else if (run.length) { found.push(run); run = []; }
  });
  if (run.length) found.push(run);
  return found;
}

/** Returns the time at which the step with this index began. */
function began(index) {
  const { hour } = shown;
  return shown.now - hour.running - (hour.steps - 1 - index) * hour.step;
}

/** Lets the pointer and the arrow keys select single steps. */
function follow(svg) {
  const move = (to) => { cursor = to === null ? null : Math.min(Math.max(to, 0), shown.hour.steps - 1); CHARTS.forEach(chart); };
  svg.addEventListener('pointermove', (event) => {
    if (!shown) return;
    const box = svg.getBoundingClientRect();
    const part = (event.clientX - box.left - 46) / (box.width - 50);
    move(Math.round((1 - part) * (shown.hour.steps - 1)));
  });
  svg.addEventListener('pointerleave', () => { if (document.activeElement !== svg) move(null); });
  svg.addEventListener('blur', () => move(null));
  svg.addEventListener('keydown', (event) => {
    const here = cursor === null ? -1 : cursor;
    const to = { ArrowLeft: here + 1, ArrowRight: here - 1, Home: shown.hour.steps - 1, End: 0 }[event.key];
    if (event.key === 'Escape') move(null);
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
}

function table() {
  if (!byId('hour').closest('details').open) return;
  const { hour } = shown;
  const first = hour.steps - hour.requests.length;
  const rows = hour.requests.map((requests, at) => element('tr', {},
    element('td', {}, clock(began(first + at))), element('td', {}, number(requests)), element('td', {}, number(hour.refused[at])),
    element('td', {}, number(hour.failed[at])), element('td', {}, time(hour.median_ms[at])), element('td', {}, time(hour.high_ms[at]))));
  byId('hour').tBodies[0].replaceChildren(...rows.reverse());
}

function expiry(credentials) {
  if (!credentials.held) return ['none', 'bad'];
  if (credentials.expires === null) return ['held, do not expire', ''];
  const left = credentials.expires - now();
  if (left <= 0) return ['expired', 'bad'];
  return [`expire in ${span(left)}`, left < 120 ? 'warn' : ''];
}

function countDown({ place, credentials }) {
  const [text, kind] = expiry(credentials);
  place.textContent = text;
  place.className = kind ? `pill ${kind}` : '';
}

function targets() {
  countdowns = [];
  byId('targets').replaceChildren(...shown.targets.map((target) => {
    const place = element('span', {});
    countdowns.push({ place, credentials: target.credentials });
    const fact = (name, ...value) => [element('dt', {}, name), element('dd', {}, ...value)];
    return element('li', {},
      element('div', { class: 'head' },
        element('strong', {}, target.name),
        element('span', { class: `pill ${target.obstacle ? 'bad' : 'good'}` }, target.obstacle ? 'not ready' : 'ready'),
        target.is_given_up ? element('span', { class: 'pill bad' }, 'unreachable') : null),
      target.obstacle ? element('p', { class: 'quiet' }, target.obstacle) : null,
      element('dl', { class: 'facts' },
        ...fact('Mode', `${target.mode} in ${target.region}`),
        ...fact('Path', element('span', { class: 'code' }, target.is_default && target.path !== '/' ? `/ and ${target.path}` : target.path)),
        ...fact('Credentials', place),
        ...fact('Artifacts', target.artifacts),
        ...fact('Requests', `${number(target.requests)}, ${number(target.failed)} failed`),
        ...fact('Response time', `median ${time(target.median_ms)}, 99th percentile ${time(target.high_ms)}`),
        ...fact('MLflow', element('span', { class: 'code' }, target.arn))));
  }));
  countdowns.forEach(countDown);
}

/** Formats text between backticks as code. */
const prose = (text) => text.split('`').map((part, at) => (at % 2 ? element('code', {}, part) : part));

function failures() {
  const all = document.querySelector('input[name="sort"]:checked').value === 'all';
  // The list is redrawn only if it has changed, so that a user who copies a request id keeps the selection.
  const seen = JSON.stringify([all, shown.failures]);
  if (byId('failures').dataset.seen === seen) return;
  byId('failures').dataset.seen = seen;
  const chosen = shown.failures.filter((failure) => all || failure.is_ours);
  const others = shown.failures.length - chosen.length;
  const items = chosen.map((failure) => element('li', {},
    element('div', { class: 'head' },
      element('span', { class: `pill ${failure.is_ours ? 'bad' : 'warn'}` }, failure.status === null ? 'no response' : String(failure.status)),
      element('strong', {}, failure.kind),
      element('span', { class: 'quiet' }, `${clock(failure.time)}${failure.target ? `, target ${failure.target}` : ''}`)),
    element('p', { class: 'code' }, `${failure.method} ${failure.path}`),
    failure.cause ? element('p', {}, ...prose(failure.cause)) : null,
    element('p', { class: 'quiet' }, ...prose(failure.explanation)),
    element('p', { class: 'quiet' }, 'Request id ', element('span', { class: 'code' }, failure.request_id))));
  if (!items.length) {
    const more = others ? ` ${others} requests failed because of client errors.` : '';
    items.push(element('li', { class: 'none' }, `None since the start.${more}`));
  }
  byId('failures').replaceChildren(...items);
}

function draw() {
  if (!shown) return;
  state();
  about();
  tiles();
  CHARTS.forEach(chart);
  table();
  targets();
  failures();
}

/* Fetching */

function notify(text) {
  const notice = byId('notice');
  notice.hidden = !text;
  if (notice.textContent !== text) notice.textContent = text;
}

async function ask() {
  try {
    const response = await fetch('status.json', { signal: AbortSignal.timeout(TIMEOUT), cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    shown = await response.json();
    shownAt = performance.now();
    isGone = false;
    notify('');
    draw();
  } catch (error) {
    const since = shown ? ` The figures are from ${clock(shown.now)}.` : '';
    const reason = error.name === 'TimeoutError' || error instanceof TypeError ? '' : ` (${error.message})`;
    notify(`The appliance does not respond${reason}.${since}`);
    isGone = true;
    state();
  }
}

async function run() {
  if (!isPaused && !document.hidden) await ask();
  setTimeout(run, INTERVAL);
}

byId('pause').addEventListener('click', (event) => {
  isPaused = !isPaused;
  event.currentTarget.setAttribute('aria-pressed', String(isPaused));
  event.currentTarget.textContent = isPaused ? 'Paused' : 'Pause';
});
document.querySelectorAll('input[name="sort"]').forEach((choice) => choice.addEventListener('change', draw));
byId('hour').closest('details').addEventListener('toggle', draw);
window.addEventListener('resize', draw);
// Between two documents, only the clocks are updated.
setInterval(() => { if (shown && !isPaused && !document.hidden) { about(); countdowns.forEach(countDown); } }, 1000);
run();
