// Changes the passphrase without sending either of them: hashes both, and encrypts the key of the owner's vault anew, as
// Bitwarden's clients do. Without this file, or without WebCrypto, the form is sent as it is, and the server does the
// same work.
import { bytes, decrypt, derive, isWeak, sealed, subtle } from "./derive.js";

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

  function tell(message) {
    error.textContent = message;
    error.hidden = message === "";
  }

  // Decrypts the key of the vault with one master key, and encrypts it with the other.
  async function reencrypted(from, to) {
    const [iv, data] = vaultKey.slice(2).split("|").map(bytes);
    return sealed(to, await decrypt(from, iv, data));
  }

  async function send() {
    const before = await derive(current.value, salt, iterations);
    const after = await derive(next.value, salt, nextIterations);
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
    if (isWeak(next.value)) {
      event.preventDefault();
      tell(form.dataset.weak);
      next.focus();
      return;
    }
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
