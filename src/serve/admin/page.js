
/* Fetching */

const INTERVAL = 2000;
const TIMEOUT = 10000;

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
    const at = shown ? ` The figures are from ${clock(shown.now)}.` : '';
    const reason = error.name === 'TimeoutError' || error instanceof TypeError ? '' : ` (${error.message})`;
    notify(`The appliance does not respond${reason}.${at}`);
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
  event.currentTarget.textContent = isPaused ? 'Updates paused' : 'Pause updates';
});
document.querySelectorAll('input[name="sort"]').forEach((choice) => choice.addEventListener('change', draw));
byId('hour').closest('details').addEventListener('toggle', draw);
window.addEventListener('resize', draw);
// Between two documents, only the clocks are updated.
setInterval(() => { if (shown && !isPaused && !document.hidden) { about(); clocks.forEach(([, update]) => update()); } }, 1000);
run();
