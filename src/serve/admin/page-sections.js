
/* The other sections of the page */

function state() {
  if (!shown && !isGone) return;
  const place = byId('state');
  const [text, kind] = isGone ? ['no response', 'bad'] : shown.draining ? ['shutting down', 'warn']
    : shown.obstacle ? [`not ready: ${shown.obstacle}`, 'bad'] : ['ready', 'good'];
  if (place.textContent !== text) place.textContent = text;
  place.className = `pill ${kind}`;
  document.title = `${isGone || shown.obstacle ? '✗' : '✓'} MLflow appliance`;
}

function about() {
  const { certificate } = shown;
  const certificates = [];
  if (certificate) {
    const left = certificate.expires - now();
    const text = left > 0 ? `certificate expires in ${span(left)}` : 'certificate has expired';
    certificates.push(' · ', left <= 0 ? pill(text, 'bad') : certificate.ends_soon ? pill(text, 'warn') : text);
  }
  byId('about').replaceChildren(`version ${shown.version} · up ${span(now() - shown.started)}`, ...certificates);
}

function tiles() {
  const { moment } = shown.hour;
  const { disk, memory } = shown.bodies;
  const lasted = `in ${Math.round(moment.seconds)} s`;
  const [pace, count] = [rate(moment.requests, moment.seconds), `${number(moment.requests)} ${lasted}`];
  const all = [
    // A slow rate is shown as the count already.
    ['Requests', pace, pace === count ? 'requests' : count],
    ['Failed', percent(moment.failed, moment.requests), `${number(moment.failed)} failed, ${number(moment.rejected)} rejected`, moment.failed > 0],
    ['Response time', time(moment.median_ms), moment.median_ms === null ? `no response of MLflow ${lasted}` : `median; 99 % below ${time(moment.high_ms)}`],
    ['In flight', number(shown.in_flight), shown.in_flight === 1 ? 'request' : 'requests'],
    ['Bodies on disk', percent(disk.used, disk.limit), `${size(disk.used)} of ${size(disk.limit)}`, disk.used > disk.limit * 0.8],
    ['Bodies in memory', percent(memory.used, memory.limit), `${size(memory.used)} of ${size(memory.limit)}`],
  ];
  byId('tiles').replaceChildren(...all.map(([name, figure, note, bad]) =>
    element('div', { class: bad ? 'tile bad' : 'tile' },
      element('dt', {}, name), element('dd', { class: 'figure' }, figure), element('dd', { class: 'quiet' }, note))));
}

const SHARES = [['appliance_ms', 'second', 'appliance'], ['mlflow_ms', 'first', 'MLflow'], ['s3_ms', 'fourth', 'S3'], ['bodies_ms', 'rest', 'transfer of bodies']];

/** Draws the shares of the response time; `total` has their sums over `count` requests. */
function share(title, total, count) {
  const all = sum(SHARES.map(([key]) => total[key]));
  const swatch = (kind) => element('svg', { class: 'swatch', viewBox: '0 0 12 10', 'aria-hidden': 'true' }, element('rect', { class: kind, width: 12, height: 10 }));
  const parts = SHARES.filter(([key]) => total[key] > 0).map(([key, kind, name]) => element('li', {}, swatch(kind), `${name} ${time(total[key] / count)}, ${percent(total[key], all)}`));
  return element('li', {},
    element('strong', {}, title),
    element('p', { class: 'quiet' }, count ? `${time(all / count)} on average over ${number(count)} requests` : 'MLflow has answered no request.'),
    count ? bar(SHARES.map(([key, kind]) => [total[key], kind]), all) : null,
    count ? element('ul', { class: 'key' }, ...parts) : null);
}

function shares() {
  const { hour: last, targets: each } = shown;
  replace(byId('shares'), JSON.stringify([last.time, each.map((target) => target.traffic.time)]), () => {
    const total = Object.fromEntries(SHARES.map(([key]) => [key, sum(last.time[key])]));
    const all = share(elapsed() < 3500 ? 'All requests' : 'Last hour', total, sum(last.answered));
    // One target that has just started has the same figures.
    const others = each.length === 1 && elapsed() < 3500 ? [] : each.map(({ name, traffic }) => share(`Target ${name}`, traffic.time, traffic.answered));
    return [all, ...others];
  });
}

/** Formats the bytes of artifacts in one direction, and those that did not pass through the appliance. */
function moved(bytes, urls) {
  const parts = [bytes ? size(bytes) : null, urls ? `${number(urls)} by URL` : null].filter(Boolean);
  return parts.length ? parts.join(' + ') : '–';
}

/** Formats the end of a caller's tokens: of the first of the token file, or of the one in the last request. */
function tokenEnd({ tokens, token_expires: last }) {
  if (!tokens && last) {
    const left = last - now();
    return [left > 0 ? `in ${span(left, 1)}` : `${span(-left, 1)} ago`, ''];
  }
  if (!tokens) return ['–', ''];
  if (tokens.first_expires === null) return ['never', ''];
  const first = `in ${span(tokens.first_expires - now(), 1)}`;
  return [tokens.count > 1 ? `${first} (1 of ${number(tokens.count)})` : first, tokens.end_soon ? 'warn' : ''];
}

function callers() {
  const { rows, others, unauthenticated } = shown.callers;
  const all = [...rows].sort((a, b) => b.requests - a.requests);
  if (others) all.push({ ...others, label: `all others, beyond ${shown.callers.limit} callers` });
  if (unauthenticated) all.push({ ...unauthenticated, label: 'not authenticated' });
  const most = Math.max(1, ...all.map((row) => row.requests));
  // Narrow screens show a caller as a card, in which each value has its label.
  const cell = (label, ...content) => element('td', { 'data-label': label }, ...content);
  const count = (label, value, kind) => cell(label, value ? pill(number(value), kind) : '–');
  replace(byId('callers').tBodies[0], JSON.stringify(shown.callers), () => (all.length ? all.map((row) => element('tr', {},
    element('th', { scope: 'row' }, row.label ? element('em', {}, row.label) : element('strong', {}, row.name), row.role ? element('span', { class: 'quiet' }, ` ${row.role} · ${row.means}${row.issuer ? ` of ${row.issuer}` : ''}`) : null),
    cell('Requests', bar([[row.requests - row.rejected - row.failed, 'first'], [row.rejected, 'second'], [row.failed, 'third']], most), element('span', { class: 'count' }, number(row.requests))),
    count('Rejected', row.rejected, 'warn'),
    count('Failed', row.failed, 'bad'),
    cell('Artifacts in', moved(row.artifact_bytes.received, row.presigned.uploads)),
    cell('Artifacts out', moved(row.artifact_bytes.sent, row.presigned.downloads)),
    cell('Last seen', ticking(() => [`${span(Math.max(0, now() - row.last_seen), 1)} ago`, ''])),
    cell('Token expires', ticking(() => tokenEnd(row))))) : [element('tr', {}, element('td', { colspan: 8 }, 'No request yet.'))]));
}

/** Describes credentials. They renew by themselves, so only a failed renewal needs attention. */
function expiry({ held, expires, failure }) {
  if (!held) return [failure ? 'none' : 'not obtained yet', 'bad'];
  if (expires === null) return [failure ? 'held; the last attempt to read them failed' : 'held, do not expire', failure ? 'warn' : ''];
  const left = expires - now();
  if (left <= 0) return ['expired', 'bad'];
  return failure ? [`renewal failed; expire in ${span(left)}`, 'warn'] : [`renewed automatically; expire in ${span(left)}`, ''];
}

function targets() {
  replace(byId('targets'), JSON.stringify(shown.targets), () => shown.targets.map((target) => {
    const { traffic } = target;
    const fact = (name, ...value) => [element('dt', {}, name), element('dd', {}, ...value)];
    return element('li', {},
      element('div', { class: 'head' },
        element('strong', {}, target.name),
        pill(target.obstacle ? 'not ready' : 'ready', target.obstacle ? 'bad' : 'good'),
        target.is_given_up ? pill('unreachable', 'bad') : null,
        target.is_s3_given_up ? pill('S3 unreachable', 'bad') : null),
      target.obstacle ? element('p', { class: 'quiet' }, target.obstacle) : null,
      element('dl', { class: 'facts' },
        ...fact('Requests', `${number(traffic.requests)}, ${number(traffic.failed)} failed, ${number(traffic.rejected)} rejected`),
        ...fact('Response time', traffic.answered ? `median ${time(traffic.median_ms)}, 99th percentile ${time(traffic.high_ms)}` : '–'),
        ...fact('Credentials', ticking(() => expiry(target.credentials))),
        ...fact('Path', code(target.is_default && target.path !== '/' ? `/ and ${target.path}` : target.path)),
        ...fact('Mode', `${target.mode} in ${target.region}`),
        ...fact('MLflow', code(target.arn)),
        ...fact('Artifacts', target.artifacts),
        ...(target.artifact_store ? fact('Artifact store', code(target.artifact_store)) : []),
        ...fact('Artifact bytes', `in ${moved(traffic.artifact_bytes.received, traffic.presigned.uploads)}, out ${moved(traffic.artifact_bytes.sent, traffic.presigned.downloads)}`)));
  }));
}

function configuration() {
  const { configuration: all } = shown;
  replace(byId('configuration'), JSON.stringify(all), () => {
    const fact = (name, ...values) => [element('dt', {}, name), ...values.map((value) => element('dd', {}, ...[value].flat()))];
    const { tokens } = all;
    const ending = tokens ? tokens.ending.map(({ name, role, expires }) => ticking(() => [`${name} (${role}) in ${span(expires - now(), 1)}`, 'warn'])) : [];
    return [
      ...fact('Authentication', ...all.authentication.map(({ method, description }) => [element('strong', {}, method), `: ${description}`])),
      ...(tokens ? fact('Tokens', `${number(tokens.valid)} valid, ${number(tokens.expired)} expired`) : []),
      ...(ending.length ? fact('Tokens that end soon', ending.flatMap((one) => [one, ' ']), ...(tokens.end_soon > ending.length ? [`and ${number(tokens.end_soon - ending.length)} more`] : [])) : []),
      ...fact('Deny rules', all.deny.length ? all.deny.flatMap((rule) => [code(rule), ' ']) : 'none'),
      ...fact('Connections', `${all.tls ? 'TLS' : 'plain HTTP'}, from ${all.allowed_networks ? 'the allowed networks' : 'any network that reaches the listener'}`),
      ...fact('Host names', all.allowed_hosts === null ? 'any' : `${['localhost', ...all.allowed_hosts].join(', ')}`),
    ];
  });
}

function failures() {
  const isAll = document.querySelector('input[name="sort"]:checked').value === 'all';
  replace(byId('failures'), JSON.stringify([isAll, shown.failures]), () => {
    const chosen = shown.failures.filter((failure) => isAll || failure.is_ours);
    const others = sum(shown.failures.filter((failure) => !failure.is_ours).map((failure) => failure.count));
    if (!chosen.length) {
      const more = others ? ` “All” shows ${number(others)} ${others === 1 ? 'request' : 'requests'} that failed because of a client.` : '';
      return [element('li', { class: 'none' }, `${isAll ? 'No failure' : 'No failure needs action'} since the start.${more}`)];
    }
    return chosen.map((failure) => {
      const many = failure.count > 1;
      const from = failure.caller ? `${failure.caller} (${failure.role})` : failure.client ? `not authenticated, from ${failure.client}` : null;
      const facts = [many && clock(failure.first) !== clock(failure.last) ? `${clock(failure.first)}–${clock(failure.last)}` : clock(failure.last), from, failure.target ? `target ${failure.target}` : null, failure.action];
      return element('li', {},
        element('div', { class: 'head' },
          pill(failure.status === null ? 'no response' : String(failure.status), failure.is_ours ? 'bad' : 'warn'),
          element('strong', {}, failure.error_code, many ? ` ×${number(failure.count)}` : ''),
          element('span', { class: 'quiet' }, facts.filter(Boolean).join(' · '))),
        failure.cause ? element('p', {}, ...prose(failure.cause)) : null,
        element('p', { class: 'quiet' }, ...prose(failure.explanation)),
        element('p', { class: 'quiet' }, many ? 'The last one: ' : '', code(`${failure.method} ${failure.path}`), ', request id ', code(failure.request_id)));
    });
  });
}

function draw() {
  if (!shown) return;
  clocks = clocks.filter(([place]) => place.isConnected);
  [state, about, tiles, failures, hour, shares, callers, targets, configuration].forEach((section) => section());
}
