// An authorization server that others wrote (oidc-provider), on loopback and a free port, for the
// tests of Midflight as a client. Reads its clients and the issuer of subject tokens as JSON from
// standard input; says its issuer on standard output; ends when standard input does.
//
// Resources: `urn:test:jwt` gives JWT access tokens, `urn:test:opaque` gives opaque ones (which can
// be introspected and revoked).
import http from 'node:http';
import { createInterface } from 'node:readline';

import { createLocalJWKSet, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const lines = createInterface({ input: process.stdin });
const { clients, subjects } = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();

let handle = (request, response) => response.writeHead(503).end();
const server = http.createServer((request, response) => handle(request, response));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: clients.map((client) => ({
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
    grant_types: ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    ...client,
  })),
  scopes: ['reports:read', 'reports:write'],
  extraTokenClaims: (ctx) => (ctx.state?.subject ? { sub_of: ctx.state.subject } : undefined),
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'RS256'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => wantsNonce },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        const opaque = resource !== 'urn:test:jwt';
        return {
          scope: 'reports:read reports:write',
          audience: resource,
          accessTokenFormat: opaque ? 'opaque' : 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: 'ES256' } },
        };
      },
    },
  },
  jwks: { keys: [await signingKey()] },
});

let wantsNonce = false;

async function signingKey() {
  const { exportJWK, generateKeyPair } = await import('jose');
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), use: 'sig', alg: 'ES256', kid: 'test' };
}

// RFC 8693, as small as it can be: the subject token is a JWT of the known issuer for this server.
const known = createLocalJWKSet(subjects.jwks);
const NAMES = ['subject_token', 'subject_token_type', 'requested_token_type', 'scope', 'audience'];
provider.registerGrantType(
  'urn:ietf:params:oauth:grant-type:token-exchange',
  async (ctx) => {
    const { client, params } = ctx.oidc;
    try {
      const { payload } = await jwtVerify(params.subject_token, known, {
        issuer: subjects.issuer,
        audience: issuer,
        algorithms: ['ES256'],
      });
      ctx.state.subject = payload.sub;
    } catch {
      throw new errors.InvalidGrant('the subject token does not verify');
    }
    const token = new provider.ClientCredentials({
      client,
      scope: params.scope,
    });
    token.resourceServer = new provider.ResourceServer('urn:test:opaque', {
      scope: 'reports:read reports:write',
      audience: 'urn:test:opaque',
      accessTokenFormat: 'opaque',
      accessTokenTTL: 300,
    });
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 300,
      scope: token.scope,
    };
  },
  NAMES,
);

provider.on('server_error', (ctx, error) => console.error(error));
const answer = provider.callback();
handle = (request, response) => {
  if (request.url === '/test/nonces') {
    wantsNonce = request.method === 'PUT';
    response.writeHead(204).end();
    return;
  }
  answer(request, response);
};
process.stdout.write(`${issuer}\n`);
