// Passkeys: the one thing here that needs a script. A form with `data-passkey` asks the browser for
// an answer to the options that its `data-options` gives, and then sends it like any other form.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (credentials) => credentials?.map((one) => ({ ...one, id: bytes(one.id) }));
const CHALLENGE_LIVES_MS = 4 * 60 * 1000;

async function ask(form) {
  const answer = await fetch(form.dataset.options, { method: "POST", headers: { Accept: "application/json" } });
  if (answer.redirected) location.assign(answer.url);
  if (!answer.ok || answer.redirected) throw new Error(`Options were refused: ${answer.status}`);
  const { ticket, options } = await answer.json();
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
    ...(options.excludeCredentials && { excludeCredentials: known(options.excludeCredentials) }),
    ...(options.allowCredentials && { allowCredentials: known(options.allowCredentials) }),
  };
  return { ticket, publicKey };
}

function told(credential) {
  const { response } = credential;
  const buffers = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const written = Object.fromEntries(buffers.filter((name) => response[name]).map((name) => [name, text(response[name])]));
  if (response.getTransports) written.transports = response.getTransports();
  return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response: written });
}

function send(form, ticket, credential) {
  form.elements.ticket.value = ticket;
  form.elements.credential.value = told(credential);
  form.submit();
}

// What is waiting to be chosen among the address's suggestions; a button takes its place.
let waiting = new AbortController();

async function suggest(form) {
  waiting.abort();
  waiting = new AbortController();
  const { signal } = waiting;
  setTimeout(() => { if (!signal.aborted) suggest(form); }, CHALLENGE_LIVES_MS);
  try {
    const { ticket, publicKey } = await ask(form);
    const credential = await navigator.credentials.get({ publicKey, mediation: "conditional", signal });
    send(form, ticket, credential);
  } catch {
    // Nobody has asked for anything yet, so nothing is told.
  }
}

async function use(form) {
  const failed = form.querySelector("[data-failed]");
  failed.hidden = true;
  waiting.abort();
  try {
    const { ticket, publicKey } = await ask(form);
    const credential = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey })
      : await navigator.credentials.get({ publicKey });
    send(form, ticket, credential);
  } catch (error) {
    failed.textContent = failed.dataset[error.name === "InvalidStateError" ? "known" : "failed"];
    failed.hidden = false;
    failed.focus();
  }
}

for (const form of window.PublicKeyCredential ? document.querySelectorAll("form[data-passkey]") : []) {
  for (const part of document.querySelectorAll("[data-needs-passkeys]")) part.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    use(form);
  });
  if (form.hasAttribute("data-suggest") && await PublicKeyCredential.isConditionalMediationAvailable?.()) suggest(form);
}
