
/* The charts of the last hour */

// The edges of the plot within a chart.
const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [46, 18, 8, 24, 160];
// The possible distances of ticks in seconds.
const TICKS = [10, 30, 60, 120, 300, 600, 900];

const CHARTS = [
  { title: 'Requests', scale: (highest) => (highest < 1 ? { unit: 'min', by: 60 } : { unit: 's', by: 1 }), lines: [
    { name: 'all', key: 'requests', kind: 'first', area: true, rate: 1 }] },
  { title: 'Response time', lines: [
    { name: 'median', key: 'median_ms', kind: 'first' },
    { name: '99th percentile', key: 'high_ms', kind: 'second dashed' }] },
  { title: 'Rejected and failed', scale: () => ({ unit: 'min', by: 1 }), lines: [
    { name: 'rejected (4xx of the appliance)', key: 'rejected', kind: 'second dashed', rate: 60 },
    { name: 'failed (5xx, truncated)', key: 'failed', kind: 'third', rate: 60 }] },
];

/** Returns the values of a line, one for each step; null for a step without a value. */
function values(line) {
  const { hour } = shown;
  return hour[line.key].map((value, index, all) => {
    if (value === null || !line.rate) return value;
    // A step that has just begun is no basis for a rate: one request would be many a second.
    const lasted = index === all.length - 1 ? hour.running : hour.step;
    if (lasted < (all.length === 1 ? 1 : 5)) return null;
    return (value / lasted) * line.rate;
  });
}

/** Returns a round number that is not below `top`, so that the grid has readable labels. */
function ceiling(top) {
  if (!(top > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= top * 0.999);
}

const steps = () => shown.hour.requests.length;
/** Returns the seconds that the chart shows: since the start, and at most an hour. */
const elapsed = () => shown.hour.running + (steps() - 1) * shown.hour.step;
/** Returns the seconds between the start of the chart and the beginning of a step. */
const since = (index) => index * shown.hour.step;
/** Returns the time at which a step began. */
const began = (index) => shown.now - elapsed() + since(index);

function chart({ title, scale, lines }) {
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
  const width = Math.max(svg.clientWidth, 120);
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  const series = lines.map(values);
  const highest = Math.max(0, ...series.flat().filter((value) => value !== null));
  const { unit, by } = scale ? scale(highest) : { unit: null, by: 1 };
  const said = (value) => (unit ? `${number(value * by)}/${unit}` : time(value));
  const limit = ceiling(highest * by) / by;
  const end = elapsed();
  const x = (seconds) => LEFT + ((width - LEFT - RIGHT) * seconds) / Math.max(end, 0.1);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / limit);
  const middle = (index) => (since(index) + Math.min(since(index + 1), end)) / 2;
  const drawn = [];
  for (const part of [0, 0.5, 1]) {
    drawn.push(element('line', { x1: LEFT, x2: width - RIGHT, y1: y(part * limit), y2: y(part * limit), class: 'grid' }));
    drawn.push(element('text', { x: LEFT - 6, y: y(part * limit) + 4, 'text-anchor': 'end' }, part === 0 ? '0' : said(part * limit)));
  }
  const distance = TICKS.find((tick) => end / tick < 4.5) || TICKS[TICKS.length - 1];
  for (let ago = 0; ago <= end; ago += distance) {
    const place = x(end - ago);
    drawn.push(element('line', { x1: place, x2: place, y1: y(0), y2: y(0) + 4, class: 'grid' }));
    const text = ago === 0 ? 'now' : `−${ago < 60 ? `${ago} s` : `${ago / 60} min`}`;
    drawn.push(element('text', { x: place, y: HEIGHT - 6, 'text-anchor': 'middle' }, text));
  }
  lines.forEach((line, which) => {
    for (const run of runs(series[which])) {
      // A step is as wide as it lasted, so that even a single one can be seen.
      const [first, last] = [run[0], run[run.length - 1]];
      const ends = [[since(first[0]), first[1]], ...run.map(([index, value]) => [middle(index), value]), [Math.min(since(last[0] + 1), end), last[1]]];
      const path = `M${ends.map(([seconds, value]) => `${x(seconds).toFixed(1)} ${y(value).toFixed(1)}`).join('L')}`;
      if (line.area) drawn.push(element('path', { class: 'area', d: `${path}V${y(0)}H${x(ends[0][0]).toFixed(1)}Z` }));
      drawn.push(element('path', { class: `lines ${line.kind}`, d: path }));
    }
  });
  const reading = figure.querySelector('.reading');
  if (cursor === null) {
    reading.textContent = '';
  } else {
    const index = Math.max(0, steps() - 1 - cursor);
    const place = x(middle(index));
    drawn.push(element('line', { x1: place, x2: place, y1: TOP, y2: HEIGHT - BOTTOM, class: 'cursor' }));
    lines.forEach((line, which) => {
      const value = series[which][index];
      if (value !== null) drawn.push(element('circle', { cx: place, cy: y(value), r: 4, class: `dot ${line.kind}` }));
    });
    const all = lines.map((line, which) => `${line.name} ${series[which][index] === null ? '–' : said(series[which][index])}`);
    reading.textContent = `${clock(began(index))}: ${all.join(', ')}`;
  }
  const last = lines.map((line, which) => {
    const known = series[which].filter((value) => value !== null);
    return `${line.name}: ${known.length ? said(known[known.length - 1]) : 'no value'} now, at most ${said(Math.max(0, ...known))}`;
  });
  svg.setAttribute('aria-label', `${title} in the last ${span(Math.max(end, 1), 1)}. ${last.join('; ')}. The arrow keys select single steps.`);
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

/** Lets the pointer and the arrow keys select single steps. */
function follow(svg) {
  const move = (to) => { cursor = to === null ? null : Math.min(Math.max(to, 0), steps() - 1); CHARTS.forEach(chart); };
  svg.addEventListener('pointermove', (event) => {
    if (!shown) return;
    const box = svg.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    move(steps() - 1 - Math.floor((part * elapsed()) / shown.hour.step));
  });
  svg.addEventListener('pointerleave', () => { if (document.activeElement !== svg) move(null); });
  svg.addEventListener('blur', () => move(null));
  svg.addEventListener('keydown', (event) => {
    const here = cursor === null ? -1 : cursor;
    const to = { ArrowLeft: here + 1, ArrowRight: here - 1, Home: steps() - 1, End: 0 }[event.key];
    if (event.key === 'Escape') move(null);
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
}

function hour() {
  const lasted = elapsed();
  const title = lasted < 3500 ? `Since the start, ${span(Math.max(lasted, 1), 1)} ago` : 'Last hour';
  if (byId('hour-title').textContent !== title) byId('hour-title').textContent = title;
  CHARTS.forEach(chart);
  if (!byId('hour').closest('details').open) return;
  const { hour: all } = shown;
  const rows = all.requests.map((requests, at) => element('tr', {},
    element('td', {}, clock(began(at))), element('td', {}, number(requests)), element('td', {}, number(all.rejected[at])),
    element('td', {}, number(all.failed[at])), element('td', {}, time(all.median_ms[at])), element('td', {}, time(all.high_ms[at]))));
  byId('hour').tBodies[0].replaceChildren(...rows.reverse());
}
