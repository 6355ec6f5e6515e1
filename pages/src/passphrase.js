// Hashes the passphrase before it leaves the browser, and makes the keys of the owner's vault, as
// Bitwarden's clients do. Without this file, or without WebCrypto, the form is sent as it is, and the
// server does the same work.
import { base64, derive, encrypt, isWeak, random, sealed, subtle } from "./derive.js";

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

  function tell(message) {
    error.textContent = message;
    error.hidden = message === "";
  }

  async function keyPair(symmetric) {
    const pair = await subtle.generateKey(
      { name: "RSA-OAEP", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-1" },
      true,
      ["encrypt", "decrypt"],
    );
    const plain = await subtle.exportKey("pkcs8", pair.privateKey);
    const iv = random(16);
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
    const { master, hash } = await derive(passphrase.value, form.dataset.salt, iterations);
    const symmetric = random(64);
    return {
      [form.dataset.field]: form.elements[form.dataset.field].value,
      passphrase: hash,
      hint: hint.value,
      iterations,
      key: await sealed(master, symmetric),
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
    if (isWeak(passphrase.value)) {
      event.preventDefault();
      tell(form.dataset.weak);
      passphrase.focus();
      return;
    }
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
