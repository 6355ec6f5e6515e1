// Hashes the passphrase before it leaves the browser, as Bitwarden's clients do. Without this file, or without
// WebCrypto, the form is sent as it is, and the server does the same work.
import { derive, subtle } from "./derive.js";

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

  const iterations = Number(form.dataset.iterations);

  function tell(message) {
    error.textContent = message;
    error.hidden = message === "";
  }

  async function send() {
    const fields = new URLSearchParams(new FormData(form));
    const { hash } = await derive(passphrase.value, form.dataset.salt, iterations);
    fields.set("passphrase", hash);
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
