"use strict";

const WORDS = {
  en: { greeting: "Welcome home", none: "Nothing else is installed yet.", failed: "The apps cannot be shown right now." },
  fr: { greeting: "Bienvenue", none: "Rien d'autre n'est installé.", failed: "Les apps ne peuvent pas être montrées." },
};

/** What the server tells the page: domain, locale and a token. Empty when it was opened as a file. */
function cozyData() {
  try {
    return JSON.parse(document.body.dataset.cozy);
  } catch {
    return {};
  }
}

function link(app) {
  const anchor = document.createElement("a");
  anchor.href = app.links.related;
  anchor.textContent = app.attributes.name || app.attributes.slug;
  return anchor;
}

async function showApps(data, words) {
  const nav = document.getElementById("apps");
  try {
    const response = await fetch(`${location.protocol}//${data.domain}/apps/`, {
      headers: { Accept: "application/vnd.api+json", Authorization: `Bearer ${data.token}` },
    });
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    const { data: apps } = await response.json();
    const others = apps.filter((app) => app.attributes.slug !== "home" && app.links?.related);
    nav.replaceChildren(...(others.length > 0 ? others.map(link) : [words.none]));
  } catch (error) {
    console.warn("apps cannot be listed", error);
    nav.replaceChildren(words.failed);
  }
}

const data = cozyData();
const words = WORDS[data.locale] || WORDS.en;
document.getElementById("greeting").textContent = words.greeting;
if (data.domain && data.token) {
  showApps(data, words);
}
