// The page works without this script, which shows and hides the token and writes times in the visitor's own time zone.
'use strict';
const [token, reveal] = ['token', 'reveal'].map((id) => document.getElementById(id));
const show = (isShown) => {
  token.type = isShown ? 'text' : 'password';
  reveal.textContent = isShown ? 'Hide' : 'Show';
};
if (token) {
  reveal.hidden = false;
  reveal.onclick = () => {
    show(token.type === 'password');
    token.focus();
  };
  // A browser may remember what was sent as text.
  token.form.onsubmit = () => show(false);
}
for (const time of document.querySelectorAll('time')) {
  time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}
// A sign-in at an identity provider takes the fragment along, in which MLflow's pages name what they show.
for (const link of document.querySelectorAll('a[href*="/oidc/start?"]')) {
  link.href += location.hash && `&fragment=${encodeURIComponent(location.hash.slice(1))}`;
}
