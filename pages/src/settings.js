// Changes the passphrase without sending either of them: hashes both, and encrypts the key of the owner's vault anew, as
// Bitwarden's clients do. Without this file, or without WebCrypto, the form is sent as it is, and the server does the
// same work.
"use strict";

(() => {
  const form = document.getElementById("change");
  if (!form) return;
  const current = document.getElementById("current");
  const next = document.getElementById("next");
  const error = document.getElementById("error");
  const busy = document.getElementById("busy");
  const { salt, vaultKey } = form.dataset;
  const iterations = Number(form.dataset.iterations);
  const nextIterations = Number(form.dataset.nextIterations);

  const subtle = window.crypto && window.crypto.subtle;
  const text = new TextEncoder();

  function base64(buffer) {
    return btoa(String.fromCharCode(...new Uint8Array(buffer)));
  }

  function bytes(encoded) {
    return Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  }

  function tell(message) {
    error.textContent = message;
    error.hidden = message === "";
  }

  // The estimate of the compatible clients, in bits.
  function strength(word) {
    let letters = 0;
    if (/[a-z]/.test(word)) letters += 26;
    if (/[A-Z]/.test(word)) letters += 26;
    if (/[0-9]/.test(word)) letters += 10;
    if (/[^a-zA-Z0-9]/.test(word)) letters += 30;
    return word.length * Math.log2(letters || 1);
  }

  async function pbkdf2(secret, salted, rounds) {
    const key = await subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
    return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: salted, iterations: rounds }, key, 256);
  }

  async function hashed(word, rounds) {
    const secret = text.encode(word);
    const master = await pbkdf2(secret, text.encode(salt), rounds);
    return { master, hash: base64(await pbkdf2(master, secret, 1)) };
  }

  // Decrypts the key of the vault with one master key, and encrypts it with the other.
  async function reencrypted(from, to) {
    const [iv, data] = vaultKey.slice(2).split("|").map(bytes);
    const opening = await subtle.importKey("raw", from, "AES-CBC", false, ["decrypt"]);
    const plain = await subtle.decrypt({ name: "AES-CBC", iv }, opening, data);
    const closing = await subtle.importKey("raw", to, "AES-CBC", false, ["encrypt"]);
    const fresh = crypto.getRandomValues(new Uint8Array(16));
    const sealed = await subtle.encrypt({ name: "AES-CBC", iv: fresh }, closing, plain);
    return `0.${base64(fresh)}|${base64(sealed)}`;
  }

  async function send() {
    const before = await hashed(current.value, iterations);
    const after = await hashed(next.value, nextIterations);
    let key;
    try {
      key = await reencrypted(before.master, after.master);
    } catch {
      // What does not decrypt the key is not the passphrase.
      tell(form.dataset.wrong);
      current.focus();
      return;
    }
    const typed = new FormData(form);
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify({
        current_passphrase: before.hash,
        new_passphrase: after.hash,
        iterations: nextIterations,
        key,
        two_factor_token: typed.get("two_factor_token") || "",
        two_factor_passcode: typed.get("two_factor_passcode") || "",
      }),
    });
    const told = await answer.json();
    if (answer.ok) window.location.assign(told.redirect);
    else tell(told.error || form.dataset.later);
  }

  form.addEventListener("submit", async (event) => {
    if (strength(next.value) <= 50) {
      event.preventDefault();
      tell(form.dataset.weak);
      next.focus();
      return;
    }
    // Browsers have WebCrypto where the way to the server is safe.
    if (!subtle || iterations === 0 || !vaultKey.startsWith("0.")) return;
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
