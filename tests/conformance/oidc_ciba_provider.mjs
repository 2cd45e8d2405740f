// An OpenID provider that others wrote (oidc-provider), which asks people on their devices (CIBA,
// poll). Reads {port, clients} as one line of JSON, and prints its issuer when it listens. The
// devices are at /device: GET lists what was asked, POST ?id=…&say=yes|no|other answers.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const line = await new Promise((read) => createInterface({ input: process.stdin }).once('line', read));
const { port, clients } = JSON.parse(line);
const issuer = `http://127.0.0.1:${port}`;
const asked = [];
const provider = new Provider(issuer, {
  clients,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: (_, hint) => `sub-of-${hint}`,
      processLoginHintToken: () => undefined,
      verifyUserCode: () => undefined,
      validateRequestContext: () => undefined,
      triggerAuthenticationDevice: (_, request, account) => {
        asked.push({ id: request.jti, account: account.accountId, said: request.params.binding_message });
      },
    },
  },
  cookies: { keys: ['only for this test'] },
});
provider.on('server_error', (_, error) => console.error(error));

async function say(id, word) {
  if (word === 'no') {
    const denied = Object.assign(new Error('access_denied'), { error: 'access_denied' });
    const { errors } = await import('oidc-provider');
    await provider.backchannelResult(id, new errors.AccessDenied('no', denied));
    return;
  }
  const request = await provider.BackchannelAuthenticationRequest.find(id);
  const grant = new provider.Grant({ clientId: request.clientId, accountId: request.accountId });
  grant.addOIDCScope('openid');
  await grant.save();
  await provider.backchannelResult(id, grant, { authTime: Math.floor(Date.now() / 1000) });
}

const callback = provider.callback();
const server = createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname !== '/device') return callback(request, response);
  try {
    if (request.method === 'POST') await say(url.searchParams.get('id'), url.searchParams.get('say'));
    response.end(JSON.stringify(asked));
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});
server.listen(port, '127.0.0.1', () => process.stdout.write(`${issuer}\n`));
