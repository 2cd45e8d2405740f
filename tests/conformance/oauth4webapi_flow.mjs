// An OAuth client that others wrote, against the authorization server of a running gateway.
// Reads one JSON document from standard input, writes one line of JSON for each thing it saw.
import * as oauth from "oauth4webapi";

const given = JSON.parse(await new Promise((done) => {
  let text = "";
  process.stdin.on("data", (piece) => (text += piece)).on("end", () => done(text));
}));
const http = { [oauth.allowInsecureRequests]: true };
const say = (step, found) => process.stdout.write(`${JSON.stringify({ step, ...found })}\n`);

const issuer = new URL(given.issuer);
const resource = new URL(given.resource);
const prm = await oauth.resourceDiscoveryRequest(resource, http)
  .then((response) => oauth.processResourceDiscoveryResponse(resource, response));
say("prm", { servers: prm.authorization_servers, scopes: prm.scopes_supported });
const as = await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...http })
  .then((response) => oauth.processDiscoveryResponse(issuer, response));
say("discovery", { issuer: as.issuer, grants: as.grant_types_supported });

const client = { client_id: given.client };
const key = await crypto.subtle.importKey(
  "jwk", given.key, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const authentication = () => oauth.PrivateKeyJwt(key);

// client credentials, private_key_jwt, DPoP
const keys = await oauth.generateKeyPair("ES256");
const DPoP = oauth.DPoP(client, keys);
const wanted = new URLSearchParams({ scope: given.scope, resource: given.resource });
const first = await oauth.clientCredentialsGrantRequest(
  as, client, authentication(), wanted, { DPoP, ...http })
  .then((response) => oauth.processClientCredentialsResponse(as, client, response));
say("credentials", { type: first.token_type, scope: first.scope });

// token exchange with an SVID as the subject
const svid = new URLSearchParams({
  subject_token: given.svid,
  subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
  scope: given.scope,
  resource: given.resource,
});
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const exchanged = await oauth.genericTokenEndpointRequest(
  as, client, authentication(), EXCHANGE, svid, { DPoP, ...http })
  .then((response) => oauth.processGenericTokenEndpointResponse(as, client, response));
say("exchange", { type: exchanged.token_type, scope: exchanged.scope });

// narrowing only
const attempt = async (parameters) => {
  try {
    const found = await oauth.genericTokenEndpointRequest(
      as, client, authentication(), EXCHANGE, new URLSearchParams(parameters), { DPoP, ...http })
      .then((response) => oauth.processGenericTokenEndpointResponse(as, client, response));
    return { scope: found.scope };
  } catch (error) {
    return { error: error.error ?? String(error), status: error.status };
  }
};
const again = {
  subject_token: exchanged.access_token,
  subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
};
say("widening", await attempt({ ...again, scope: given.wider }));
say("narrowing", await attempt({ ...again, scope: given.narrower }));

// the resource, with the key and with another
const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "server/discover",
  params: { _meta: given.meta } });
const headers = new Headers({ "content-type": "application/json",
  accept: "application/json, text/event-stream", "mcp-protocol-version": given.version,
  "mcp-method": "server/discover" });
const call = async (proof) => {
  try {
    const answer = await oauth.protectedResourceRequest(
      exchanged.access_token, "POST", resource, headers, body, { DPoP: proof, ...http });
    return { status: answer.status, text: await answer.text() };
  } catch (error) {
    return { status: error.status ?? 0, challenge: error.cause?.[0]?.parameters?.error };
  }
};
say("resource", await call(DPoP));
say("stolen", await call(oauth.DPoP(client, await oauth.generateKeyPair("ES256"))));

const introspect = () => oauth.introspectionRequest(
  as, client, authentication(), exchanged.access_token, http)
  .then((response) => oauth.processIntrospectionResponse(as, client, response));
const before = await introspect();
say("introspect", { active: before.active, sub: before.sub, cnf: before.cnf, txn: before.txn });
await oauth.revocationRequest(as, client, authentication(), exchanged.access_token, http)
  .then(oauth.processRevocationResponse);
say("revoked", { active: (await introspect()).active, resource: (await call(DPoP)).text });
