/**
 * The first page of an instance: its apps, its storage, the browsers that are logged in, and its passphrase.
 *
 * A model for other apps. It needs no build step and no library: the server fills `data-cozy` in the page, and the
 * page calls the API of the instance with the token that it finds there.
 */
import { Instance, Refused } from "./instance.js";
import { language, say } from "./words.js";

const data = readData();
const words = language(data.locale);
const instance = new Instance(data);
const at = (id) => document.getElementById(id);

/** What the server tells the page; nothing when it was opened as a file. */
function readData() {
  try {
    return JSON.parse(document.body.dataset.cozy);
  } catch {
    return {};
  }
}

/** Where the page begins after a change of the passphrase. */
const CHANGED = "#changed";

/** A text of this page in the language of the reader. */
const text = (key, values) => say(words, key, values);

/** Tells something to everybody, people with a screen reader included. */
function tell(place, message, isWrong = false) {
  place.textContent = message;
  place.classList.toggle("wrong", isWrong);
}

/** Shows the section around an element. */
function show(element) {
  element.closest("section").hidden = false;
}

function appItem(app) {
  const { name, name_prefix: prefix, slug } = app.attributes;
  const localized = app.attributes.locales?.[words.language]?.name || name || slug;
  const link = document.createElement("a");
  link.href = app.links.related;
  const picture = document.createElement("span");
  picture.className = "picture";
  picture.setAttribute("aria-hidden", "true");
  picture.textContent = localized.slice(0, 1).toUpperCase();
  if (app.links.icon) {
    const icon = new Image(48, 48);
    icon.alt = "";
    // The letter stays where there is no icon.
    icon.addEventListener("load", () => picture.replaceChildren(icon));
    icon.src = instance.address(app.links.icon);
  }
  const label = document.createElement("span");
  label.textContent = prefix ? `${prefix} ${localized}` : localized;
  link.append(picture, label);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

async function showApps() {
  const apps = await instance.apps();
  const others = apps.filter((app) => app.attributes.slug !== data.app?.slug && app.links?.related);
  at("apps").replaceChildren(...others.map(appItem));
  at("no-apps").hidden = others.length > 0;
  show(at("apps"));
}

/** A number of bytes for people. */
function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let [amount, unit] = [bytes, 0];
  while (amount >= 1000 && unit < units.length - 1) {
    [amount, unit] = [amount / 1000, unit + 1];
  }
  const unitDisplay = unit > 0 ? "short" : "long";
  const format = { style: "unit", unit: units[unit], unitDisplay, maximumFractionDigits: amount < 10 && unit > 0 ? 1 : 0 };
  return new Intl.NumberFormat(words.language, format).format(amount);
}

async function showStorage() {
  const { used, quota } = await instance.diskUsage();
  const meter = at("storage-meter");
  if (quota) {
    meter.max = quota;
    meter.high = quota * 0.9;
    meter.value = Math.min(used, quota);
    meter.hidden = false;
  }
  const key = quota ? "usedOf" : "used";
  tell(at("storage-text"), text(key, { used: size(used), quota: size(quota ?? 0) }));
  show(meter);
}

function sessionItem(session) {
  const { last_seen: seen, created_at: begun } = session.attributes;
  const { browser, os, ip } = session.meta?.login ?? {};
  const name = [browser, os].filter(Boolean).join(", ") || text("someBrowser");
  const time = new Date(seen || begun);
  const when = Number.isNaN(time.getTime())
    ? ""
    : text("lastSeen", { time: time.toLocaleString(words.language, { dateStyle: "medium", timeStyle: "short" }) });
  const about = document.createElement("span");
  about.textContent = [name, ip, when].filter(Boolean).join(" · ");
  const item = document.createElement("li");
  item.append(about);
  if (session.id === instance.session) {
    const mark = document.createElement("strong");
    mark.textContent = text("thisOne");
    item.append(mark);
    return item;
  }
  const end = document.createElement("button");
  end.type = "button";
  end.className = "quiet";
  end.textContent = text("endOne");
  end.setAttribute("aria-label", text("endThe", { name }));
  end.addEventListener("click", () => doing(end, () => instance.endSession(session.id), "ended").then(refreshSessions));
  item.append(end);
  return item;
}

async function showSessions() {
  const sessions = await instance.sessions();
  at("sessions").replaceChildren(...sessions.map(sessionItem));
  at("end-others").hidden = sessions.length < 2;
  show(at("sessions"));
}

async function refreshSessions() {
  await attempt(showSessions);
  at("sessions-title").focus();
}

/** Does something that a button asks for, once, and tells what came of it. */
async function doing(button, work, done) {
  button.disabled = true;
  try {
    await work();
    tell(at("status"), text(done));
  } catch (error) {
    tell(at("status"), why(error), true);
  } finally {
    button.disabled = false;
  }
}

/** What went wrong, for people. */
function why(error) {
  console.warn(error);
  return error instanceof Refused && error.isLoggedOut ? text("loggedOut") : text("failed");
}

/** Shows a part of the page. One that fails leaves the others as they are. */
async function attempt(part) {
  try {
    await part();
  } catch (error) {
    tell(at("status"), why(error), true);
  }
}

async function changePassphrase(event) {
  event.preventDefault();
  const form = event.target;
  const told = at("passphrase-told");
  const wrong = (key, field) => {
    tell(told, text(key), true);
    field.setAttribute("aria-invalid", "true");
    field.focus();
  };
  const { current, next, again } = form.elements;
  for (const field of [current, next, again]) {
    field.removeAttribute("aria-invalid");
  }
  if (!current.value) {
    return wrong("typeCurrent", current);
  }
  if (!next.value) {
    return wrong("typeNew", next);
  }
  if (next.value !== again.value) {
    return wrong("notTheSame", again);
  }
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await instance.changePassphrase(current.value, next.value);
    // The token has ended with the old passphrase. The page gets a new one when it is loaded again.
    location.hash = CHANGED;
    location.reload();
  } catch (error) {
    if (error instanceof Refused && error.code === "PASSPHRASE_WEAK") {
      wrong("weak", next);
    } else if (error instanceof Refused && error.status < 500 && error.status !== 429) {
      wrong("wrongCurrent", current);
    } else {
      tell(told, why(error), true);
    }
  } finally {
    button.disabled = false;
  }
}

async function logOut() {
  await instance.logOut();
  location.assign(instance.address("/auth/login"));
}

function begin() {
  document.documentElement.lang = words.language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text);
  }
  if (!data.token) {
    tell(at("status"), text("loggedOut"), true);
    return;
  }
  if (location.hash === CHANGED) {
    history.replaceState(null, "", location.pathname);
    tell(at("status"), text("changed"));
  }
  at("sessions-title").tabIndex = -1;
  at("log-out").hidden = false;
  at("log-out").addEventListener("click", (event) => doing(event.target, logOut, "leaving"));
  at("end-others").addEventListener("click", (event) =>
    doing(event.target, () => instance.endOtherSessions(), "ended").then(refreshSessions),
  );
  at("passphrase").addEventListener("submit", changePassphrase);
  show(at("passphrase"));
  for (const part of [showApps, showStorage, showSessions]) {
    attempt(part);
  }
}

begin();
