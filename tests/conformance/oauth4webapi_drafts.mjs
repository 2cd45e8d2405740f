// Transaction tokens and identity assertions, asked for by an OAuth client that others wrote and
// checked by a JOSE library that others wrote. The provider of the assertions is made here, too.
// Reads one JSON document from standard input, writes one line of JSON for each thing it saw.
import * as jose from "jose";
import * as oauth from "oauth4webapi";

const given = JSON.parse(await new Promise((done) => {
  let text = "";
  process.stdin.on("data", (piece) => (text += piece)).on("end", () => done(text));
}));
const http = { [oauth.allowInsecureRequests]: true };
const say = (step, found) => process.stdout.write(`${JSON.stringify({ step, ...found })}\n`);

const issuer = new URL(given.issuer);
const as = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...http })
  .then((response) => oauth.processDiscoveryResponse(issuer, response));
say("discovery", {
  grants: as.grant_types_supported,
  profiles: as.authorization_grant_profiles_supported,
});

const signing = (jwk) => crypto.subtle.importKey(
  "jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const key = await signing(given.key);
const client = { client_id: given.client };
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
// A transaction token is no token to call with: the draft has `N_A` as its type.
const options = { recognizedTokenTypes: { n_a: () => undefined } };
const ask = async (who, secret, grant, parameters) => {
  try {
    return await oauth.genericTokenEndpointRequest(
      as, who, oauth.PrivateKeyJwt(secret), grant, new URLSearchParams(parameters),
      { DPoP, ...http })
      .then((response) => oauth.processGenericTokenEndpointResponse(as, who, response, options));
  } catch (error) {
    return { error: error.error ?? String(error), status: error.status };
  }
};

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS = "urn:ietf:params:oauth:token-type:access_token";
const TXN = "urn:ietf:params:oauth:token-type:txn_token";

// A person's provider lets this client in.
const provider = await jose.importJWK(given.provider.key, "ES256");
const assertion = (changes = {}) => new jose.SignJWT({
  client_id: given.client, resource: given.resource, scope: given.scope, ...changes })
  .setProtectedHeader({ alg: "ES256", typ: "oauth-id-jag+jwt", kid: given.provider.kid })
  .setIssuer(given.provider.issuer).setSubject(given.person).setAudience(given.issuer)
  .setIssuedAt().setExpirationTime("5m").setJti(crypto.randomUUID()).sign(provider);
const once = await assertion();
const person = await ask(client, key, JWT_BEARER, { assertion: once });
say("id-jag", {
  error: person.error, type: person.token_type, scope: person.scope,
  refresh: person.refresh_token !== undefined,
});
const other = await ask(
  client, key, JWT_BEARER, { assertion: await assertion({ client_id: given.next.client }) });
say("id-jag of another client", { error: other.error, status: other.status });
const again = await ask(client, key, JWT_BEARER, { assertion: once });
say("id-jag again", { error: again.error, status: again.status });
const wider = await ask(
  client, key, JWT_BEARER, { assertion: await assertion(), scope: given.wider });
say("id-jag for more", { error: wider.error, status: wider.status });

const call = async (token) => {
  const headers = new Headers({ "content-type": "application/json",
    accept: "application/json, text/event-stream", "mcp-protocol-version": given.version,
    "mcp-method": "server/discover" });
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "server/discover",
    params: { _meta: given.meta } });
  try {
    const answer = await oauth.protectedResourceRequest(
      token, "POST", new URL(given.resource), headers, body, { DPoP, ...http });
    return { status: answer.status };
  } catch (error) {
    return { status: error.status ?? 0, challenge: error.cause?.[0]?.parameters?.error };
  }
};
say("resource", await call(person.access_token));

// The run of that token as a transaction, and for who is next.
const details = { action: "refund", order: 17 };
const transaction = await ask(client, key, EXCHANGE, {
  requested_token_type: TXN, audience: given.domain, scope: given.narrower,
  subject_token: person.access_token, subject_token_type: ACCESS,
  request_details: JSON.stringify(details),
});
say("transaction", {
  error: transaction.error, type: transaction.token_type, issued: transaction.issued_token_type,
  scope: transaction.scope, refresh: transaction.refresh_token !== undefined,
});
const next = { client_id: given.next.client };
const nextKey = await signing(given.next.key);
const replaced = await ask(next, nextKey, EXCHANGE, {
  requested_token_type: TXN, audience: given.domain, scope: given.narrower,
  subject_token: transaction.access_token, subject_token_type: TXN,
});
const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri));
const checked = async (token) => (await jose.jwtVerify(token, keys, {
  typ: "txntoken+jwt", algorithms: ["ES256"], audience: given.domain, issuer: given.issuer,
  maxTokenAge: "5m", requiredClaims: ["txn", "sub", "scope", "req_wl", "exp", "iat"],
})).payload;
say("before", await checked(transaction.access_token));
say("after", await checked(replaced.access_token));
const wide = await ask(next, nextKey, EXCHANGE, {
  requested_token_type: TXN, audience: given.domain, scope: given.scope,
  subject_token: transaction.access_token, subject_token_type: TXN,
});
say("widened", { error: wide.error, status: wide.status });
say("as an access token", await call(transaction.access_token));
say("access", await (async () => {
  const { payload } = await jose.jwtVerify(person.access_token, keys, {
    typ: "at+jwt", audience: given.resource, issuer: given.issuer });
  return { sub: payload.sub, client: payload.client_id, txn: payload.txn };
})());
