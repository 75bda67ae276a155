"use strict";
// Copy buttons: without a script they would do nothing.
for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const from = document.getElementById(button.dataset.copy);
  if (!from) return;
  try {
    await navigator.clipboard.writeText(from.textContent.trim());
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(from);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected: press Ctrl+C";
  }
});
// The newest of a plot is at its right.
for (const drawn of document.querySelectorAll(".drawn")) drawn.scrollLeft = drawn.scrollWidth;
// What comes through, as it does.
for (const table of document.querySelectorAll("[data-live]")) {
  const events = new EventSource(table.dataset.live);
  events.addEventListener("message", (event) => {
    table.insertAdjacentHTML("afterbegin", event.data);
    while (table.rows.length > 200) table.deleteRow(-1);
  });
  events.addEventListener("error", () => {
    const still = document.getElementById("still");
    if (still && events.readyState === EventSource.CLOSED) still.hidden = false;
  });
}
// What is waited for: asked for again until it has happened.
for (const line of document.querySelectorAll("[data-poll]")) {
  const look = async () => {
    try {
      const answer = await fetch(line.dataset.poll, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const { state, said } = await answer.json();
      if (line.textContent !== said) line.textContent = said;
      line.className = state;
      if (state !== "waiting") {
        // What else is on the page has changed with it.
        if (line.dataset.then) location.assign(line.dataset.then);
        return;
      }
    } catch {
      // The gateway may be starting again.
    }
    setTimeout(look, 2000);
  };
  if (line.className === "waiting") setTimeout(look, 300);
}
// Passkeys: the gateway says what to ask for, the browser's authenticator answers, and the form carries that back.
const bytesOf = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const textOf = (bytes) => {
  const binary = Array.from(new Uint8Array(bytes || []), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
};
const keyOf = (id) => ({ type: "public-key", id: bytesOf(id) });
async function makePasskey(asked) {
  const { id: name, response } = await navigator.credentials.create({
    publicKey: {
      rp: { id: asked.party, name: "Moorgate" },
      user: { id: bytesOf(asked.user), name: asked.name, displayName: asked.name },
      challenge: bytesOf(asked.challenge),
      pubKeyCredParams: asked.algorithms.map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: asked.known.map(keyOf),
      authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
      attestation: "none",
      timeout: asked.timeout,
    },
  });
  return {
    id: name,
    client: textOf(response.clientDataJSON),
    authenticator: textOf(response.getAuthenticatorData()),
    key: textOf(response.getPublicKey()),
    algorithm: response.getPublicKeyAlgorithm(),
  };
}
async function showPasskey(asked) {
  const { id, response } = await navigator.credentials.get({
    publicKey: {
      rpId: asked.party,
      challenge: bytesOf(asked.challenge),
      userVerification: "required",
      timeout: asked.timeout,
    },
  });
  return {
    id,
    client: textOf(response.clientDataJSON),
    authenticator: textOf(response.authenticatorData),
    signature: textOf(response.signature),
  };
}
for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  const problem = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    try {
      const answer = await fetch(form.dataset.passkey, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const asked = await answer.json();
      if (!answer.ok) throw new Error(asked.said);
      const shown = await (asked.user ? makePasskey(asked) : showPasskey(asked));
      for (const [name, value] of Object.entries({ ...shown, step: asked.step })) {
        const field = document.createElement("input");
        Object.assign(field, { type: "hidden", name, value });
        form.append(field);
      }
      form.submit();
    } catch (error) {
      const none = error.name === "NotAllowedError";
      problem.textContent = none ? "The browser showed no passkey, or was stopped. Try again." : error.message;
      problem.hidden = false;
    }
  });
}
