// Shows a passkey where a form of the approval page asks for one, and sends what it says with the
// form. Nothing is loaded from and nothing is sent to anywhere else; without it codes still work.
"use strict";

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (each) => ({ ...each, id: toBytes(each.id) });

async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: toBytes(options.challenge),
      user: { ...options.user, id: toBytes(options.user.id) },
      excludeCredentials: (options.excludeCredentials || []).map(known),
    },
  });
  return {
    id: made.id, rawId: toText(made.rawId), type: made.type,
    response: {
      clientDataJSON: toText(made.response.clientDataJSON),
      attestationObject: toText(made.response.attestationObject),
    },
  };
}

async function get(options) {
  const shown = await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: toBytes(options.challenge),
      allowCredentials: (options.allowCredentials || []).map(known),
    },
  });
  const handle = shown.response.userHandle;
  return {
    id: shown.id, rawId: toText(shown.rawId), type: shown.type,
    response: {
      clientDataJSON: toText(shown.response.clientDataJSON),
      authenticatorData: toText(shown.response.authenticatorData),
      signature: toText(shown.response.signature),
      ...(handle ? { userHandle: toText(handle) } : {}),
    },
  };
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    const field = form.elements.namedItem("response");
    const code = form.elements.namedItem("code");
    // With a code no passkey is asked for; with a response the form is on its way.
    if (field.value || (code && code.value)) return;
    event.preventDefault();
    const told = form.querySelector("[role=status]");
    try {
      const options = JSON.parse(form.dataset.options);
      const ask = form.dataset.passkey === "create" ? create : get;
      field.value = JSON.stringify(await ask(options));
    } catch (error) {
      told.textContent = "The passkey was not shown. Try again, or use a code.";
      return;
    }
    form.requestSubmit(event.submitter);
  });
}
