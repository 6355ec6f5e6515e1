// Hashes the passphrase before it leaves the browser, as Bitwarden's clients do. Without this file, or without
// WebCrypto, the form is sent as it is, and the server does the same work.
"use strict";

(() => {
  const form = document.getElementById("login");
  if (!form) return;
  const passphrase = document.getElementById("passphrase");
  const error = document.getElementById("error");
  const busy = document.getElementById("busy");
  const show = document.getElementById("show");

  document.getElementById("show-line").hidden = false;
  show.addEventListener("change", () => {
    passphrase.type = show.checked ? "text" : "password";
  });

  const subtle = window.crypto && window.crypto.subtle;
  const iterations = Number(form.dataset.iterations);
  const text = new TextEncoder();

  function tell(message) {
    error.textContent = message;
    error.hidden = message === "";
  }

  async function pbkdf2(secret, salt, rounds) {
    const key = await subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
    return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds }, key, 256);
  }

  async function loginHash() {
    const word = text.encode(passphrase.value);
    const master = await pbkdf2(word, text.encode(form.dataset.salt), iterations);
    const hash = new Uint8Array(await pbkdf2(master, word, 1));
    return btoa(String.fromCharCode(...hash));
  }

  async function send() {
    const fields = new URLSearchParams(new FormData(form));
    fields.set("passphrase", await loginHash());
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: fields,
    });
    const told = await answer.json();
    if (answer.ok) {
      window.location.assign(told.redirect);
      return;
    }
    // The form was open for too long.
    if (answer.status === 400 || answer.status === 403) {
      window.location.reload();
      return;
    }
    tell(told.error || form.dataset.later);
    passphrase.select();
  }

  form.addEventListener("submit", async (event) => {
    // Browsers have WebCrypto where the way to the server is safe.
    if (!subtle || iterations === 0) return;
    event.preventDefault();
    tell("");
    busy.hidden = false;
    form.elements.submit.disabled = true;
    try {
      await send();
    } catch {
      tell(form.dataset.later);
    } finally {
      busy.hidden = true;
      form.elements.submit.disabled = false;
    }
  });
})();
