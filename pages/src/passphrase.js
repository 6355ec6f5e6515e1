// Hashes the passphrase before it leaves the browser, and makes the keys of the owner's vault, as
// Bitwarden's clients do. Without this file, or without WebCrypto, the form is sent as it is, and the
// server does the same work.
"use strict";

(() => {
  const form = document.getElementById("choose");
  if (!form) return;
  const passphrase = document.getElementById("passphrase");
  const hint = document.getElementById("hint");
  const error = document.getElementById("error");
  const busy = document.getElementById("busy");
  const show = document.getElementById("show");

  document.getElementById("show-line").hidden = false;
  show.addEventListener("change", () => {
    passphrase.type = show.checked ? "text" : "password";
  });

  const subtle = window.crypto && window.crypto.subtle;
  const text = new TextEncoder();

  function base64(buffer) {
    let binary = "";
    for (const byte of new Uint8Array(buffer)) binary += String.fromCharCode(byte);
    return btoa(binary);
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

  async function pbkdf2(secret, salt, iterations) {
    const key = await subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
    return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256);
  }

  async function encrypt(secret, iv, plain) {
    const key = await subtle.importKey("raw", secret, "AES-CBC", false, ["encrypt"]);
    return subtle.encrypt({ name: "AES-CBC", iv }, key, plain);
  }

  async function keyOfVault(master, symmetric) {
    const iv = crypto.getRandomValues(new Uint8Array(16));
    return `0.${base64(iv)}|${base64(await encrypt(master, iv, symmetric))}`;
  }

  async function keyPair(symmetric) {
    const pair = await subtle.generateKey(
      { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" },
      true,
      ["encrypt", "decrypt"],
    );
    const plain = await subtle.exportKey("pkcs8", pair.privateKey);
    const iv = crypto.getRandomValues(new Uint8Array(16));
    const data = new Uint8Array(await encrypt(symmetric.slice(0, 32), iv, plain));
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const signing = await subtle.importKey("raw", symmetric.slice(32), hmac, false, ["sign"]);
    const signed = new Uint8Array([...iv, ...data]);
    const mac = await subtle.sign("HMAC", signing, signed);
    return {
      public_key: base64(await subtle.exportKey("spki", pair.publicKey)),
      private_key: `2.${base64(iv)}|${base64(data)}|${base64(mac)}`,
    };
  }

  async function hashed() {
    const iterations = Number(form.dataset.iterations);
    const word = text.encode(passphrase.value);
    const master = await pbkdf2(word, text.encode(form.dataset.salt), iterations);
    const symmetric = crypto.getRandomValues(new Uint8Array(64));
    return {
      [form.dataset.field]: form.elements[form.dataset.field].value,
      passphrase: base64(await pbkdf2(master, word, 1)),
      hint: hint.value,
      iterations,
      key: await keyOfVault(master, symmetric),
      ...(await keyPair(symmetric)),
    };
  }

  async function send() {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(await hashed()),
    });
    const told = await answer.json();
    if (answer.ok) {
      window.location.assign(told.redirect);
      return;
    }
    // The link does not work any more: its page says why.
    if (answer.status === 400) {
      window.location.reload();
      return;
    }
    const [first] = told.errors || [];
    tell((first && first.detail) || form.dataset.later);
  }

  form.addEventListener("submit", async (event) => {
    if (hint.value !== "" && hint.value === passphrase.value) {
      event.preventDefault();
      tell(form.dataset.hint);
      hint.focus();
      return;
    }
    if (strength(passphrase.value) <= 50) {
      event.preventDefault();
      tell(form.dataset.weak);
      passphrase.focus();
      return;
    }
    // Browsers have WebCrypto where the way to the server is safe.
    if (!subtle) return;
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
