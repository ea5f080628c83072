// A certified OpenID provider on loopback, for the tests of signing in with a browser.
//
//     node provider.mjs '{"port": 8080, "clients": [...], "claims_in_id_token": false}'
//
// Anybody in PEOPLE signs in with the password `secret`. It prints a line once it listens.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const PEOPLE = {
  ada: { email: 'ada@corp.example', groups: ['staff', 'mlflow-admins'] },
  bob: { email: 'bob@corp.example', groups: ['staff', 'mlflow-readers'] },
  eve: { email: 'eve@corp.example', groups: ['guests'] },
};

const options = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${options.port}`;
const claimsOf = (sub) => ({ sub, preferred_username: sub, ...PEOPLE[sub] });

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: options.clients,
  claims: { openid: ['sub'], email: ['email'], profile: ['preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
  conformIdTokenClaims: !options.claims_in_id_token,
  cookies: { keys: ['of a test'] },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => claimsOf(sub) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: 3600, Grant: 3600 },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (context, form) => {
        context.body = `<!doctype html><title>Sign out?</title>${form}
          <button type="submit" form="op.logoutForm" name="logout" value="yes" id="yes">Yes</button>`;
      },
    },
  },
  // Nobody is asked for consent.
  async loadExistingGrant(context) {
    const grant = new context.oidc.provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
});
provider.on('server_error', (_, error) => console.error(error));

const form = (problem) => `<!doctype html><title>Sign in at the provider</title><p id="problem">${problem}</p>
  <form method="post"><input name="login" id="login"><input name="password" type="password"><button>Sign in</button></form>
  <form method="post"><input type="hidden" name="cancel" value="yes"><button id="cancel">Cancel</button></form>`;

async function interact(request, response) {
  const show = (problem) => response.setHeader('content-type', 'text/html').end(form(problem));
  if (request.method !== 'POST') {
    show('');
    return;
  }
  let body = '';
  for await (const piece of request) body += piece;
  const given = new URLSearchParams(body);
  if (given.get('cancel')) {
    const result = { error: 'access_denied', error_description: 'The person has cancelled <b>it</b>.' };
    await provider.interactionFinished(request, response, result);
  } else if (PEOPLE[given.get('login')] && given.get('password') === 'secret') {
    await provider.interactionFinished(request, response, { login: { accountId: given.get('login') } });
  } else {
    show('wrong');
  }
}

const callback = provider.callback();
createServer((request, response) => {
  if (request.url.startsWith('/interaction/')) {
    interact(request, response).catch((error) => response.writeHead(400).end(String(error)));
  } else {
    callback(request, response);
  }
}).listen(options.port, '127.0.0.1', () => console.log(`listening at ${issuer}`));
