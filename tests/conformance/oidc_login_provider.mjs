// An OpenID provider that others wrote, for the login of people. Prints its port when it listens.
import Provider from "oidc-provider";
import { createServer } from "node:http";

const [redirect, secret] = process.argv.slice(2);
const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "midflight",
    client_secret: secret,
    redirect_uris: [redirect],
  }],
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true }),
  }),
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["only for this test"] },
});
server.on("request", provider.callback());
process.stdout.write(`${issuer}\n`);
