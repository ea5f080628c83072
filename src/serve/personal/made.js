// The page works without this script, which copies the new token. `navigator.clipboard` exists on encrypted pages only.
'use strict';
const [made, copy] = ['made', 'copy'].map((id) => document.getElementById(id));
copy.hidden = false;
copy.onclick = async () => {
  made.select();
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(made.value);
    else if (!document.execCommand('copy')) return;
    copy.textContent = 'Copied';
  } catch {
    // The token is selected, so the keys of the browser copy it.
  }
};
