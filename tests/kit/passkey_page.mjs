// Runs the script of the approval page over the least of a browser: one form, and an authenticator
// that answers what it is told. Reads {script, verb, options, answer, code} as JSON, and prints what
// the form was sent with, and what the authenticator was asked.
import { readFileSync } from 'node:fs';
import vm from 'node:vm';

const { script, verb, options, answer, code } = JSON.parse(readFileSync(0, 'utf-8'));
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64url')).buffer;
const text = (buffer) => Buffer.from(buffer).toString('base64url');
const raw = (value) => Object.fromEntries(Object.entries(value).map(([name, each]) => [name, bytes(each)]));

const asked = [];
const authenticate = async ({ publicKey }) => {
  asked.push({
    challenge: text(publicKey.challenge),
    user: publicKey.user && text(publicKey.user.id),
    allowed: (publicKey.allowCredentials || publicKey.excludeCredentials).map((each) => text(each.id)),
    rest: publicKey.rpId || publicKey.rp.id,
  });
  if (!answer) throw new Error('NotAllowedError');
  return { id: answer.id, rawId: bytes(answer.rawId), type: answer.type, response: raw(answer.response) };
};
const fields = { response: { value: '' }, ...(code === undefined ? {} : { code: { value: code } }) };
const told = { textContent: '' };
let listener;
let prevented = 0;
const sent = [];
const form = {
  hidden: true,
  dataset: { passkey: verb, options: JSON.stringify(options) },
  elements: { namedItem: (name) => fields[name] ?? null },
  querySelector: () => told,
  addEventListener: (_, call) => { listener = call; },
  requestSubmit: (submitter) => submit(submitter),
};
async function submit(submitter) {
  let stopped = false;
  const event = { submitter, preventDefault: () => { stopped = true; prevented += 1; } };
  const work = listener(event);
  if (!stopped) sent.push({ submitter, response: fields.response.value });
  await work;
}
const window = { PublicKeyCredential: class {} };
vm.runInNewContext(script, {
  window, atob, btoa, Uint8Array, JSON, String,
  document: { querySelectorAll: () => [form] },
  navigator: { credentials: { create: authenticate, get: authenticate } },
});
await submit('the yes button');
process.stdout.write(JSON.stringify({ hidden: form.hidden, asked, sent, prevented, told: told.textContent }));
