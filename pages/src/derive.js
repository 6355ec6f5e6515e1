// What browsers derive from a passphrase, as Bitwarden's clients do it: for all forms with one.

// Browsers have WebCrypto where the way to the server is safe.
export const subtle = window.crypto && window.crypto.subtle;

const text = new TextEncoder();

export function base64(buffer) {
  let binary = "";
  for (const byte of new Uint8Array(buffer)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export function bytes(encoded) {
  return Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
}

export function random(length) {
  return crypto.getRandomValues(new Uint8Array(length));
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

export function isWeak(word) {
  return strength(word) <= 50;
}

async function pbkdf2(secret, salt, iterations) {
  const key = await subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
  return subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, key, 256);
}

// The key that opens the vault, and the hash by which the server knows the passphrase.
export async function derive(word, salt, iterations) {
  const secret = text.encode(word);
  const master = await pbkdf2(secret, text.encode(salt), iterations);
  return { master, hash: base64(await pbkdf2(master, secret, 1)) };
}

export async function encrypt(secret, iv, plain) {
  const key = await subtle.importKey("raw", secret, "AES-CBC", false, ["encrypt"]);
  return subtle.encrypt({ name: "AES-CBC", iv }, key, plain);
}

export async function decrypt(secret, iv, data) {
  const key = await subtle.importKey("raw", secret, "AES-CBC", false, ["decrypt"]);
  return subtle.decrypt({ name: "AES-CBC", iv }, key, data);
}

// The key of a vault as it is stored: encrypted with a master key.
export async function sealed(master, symmetric) {
  const iv = random(16);
  return `0.${base64(iv)}|${base64(await encrypt(master, iv, symmetric))}`;
}
