// Verifies SETs with `jose`, as a receiver would: the document, its key set, then each SET.
// In: {issuer, audience, sets: [text]}. Out: one line of JSON for each.
import { createRemoteJWKSet, jwtVerify } from "jose";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const given = JSON.parse(Buffer.concat(chunks).toString());

const answer = await fetch(`${given.issuer}/.well-known/ssf-configuration`);
const document = await answer.json();
if (document.issuer !== given.issuer) throw new Error("another issuer");
const keys = createRemoteJWKSet(new URL(document.jwks_uri));

for (const [step, text] of given.sets.entries()) {
  const told = { step };
  try {
    const { payload, protectedHeader } = await jwtVerify(text, keys, {
      algorithms: ["RS256"],
      typ: "secevent+jwt",
      issuer: document.issuer,
      audience: given.audience,
      requiredClaims: ["iss", "iat", "jti", "aud", "sub_id", "events"],
    });
    Object.assign(told, { payload, alg: protectedHeader.alg });
  } catch (error) {
    told.code = error.code;
  }
  console.log(JSON.stringify(told));
}
