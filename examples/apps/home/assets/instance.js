/** The API of an instance, as an app calls it. */

/** A call that the instance has refused. */
export class Refused extends Error {
  constructor(status, code) {
    super(`the instance answered ${status} ${code}`);
    this.status = status;
    this.code = code;
  }

  /** Whether the token has ended with its session. */
  get isLoggedOut() {
    return this.status === 400 || this.status === 401;
  }
}

export class Instance {
  #token;
  #origin;

  constructor({ token, domain }) {
    this.#token = token;
    this.#origin = `${location.protocol}//${domain}`;
  }

  /** The address of a path of the instance. */
  address(path) {
    return new URL(path, this.#origin).href;
  }

  /** The id of the session of this browser, which the token names. */
  get session() {
    try {
      const payload = this.#token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(atob(payload)).session_id;
    } catch {
      return undefined;
    }
  }

  /** Calls the instance. The token counts only together with the session of this browser. */
  async #call(method, path, body) {
    const headers = { Accept: "application/vnd.api+json", Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const response = await fetch(this.address(path), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "include",
    });
    const document = await response.json().catch(() => undefined);
    if (!response.ok) {
      throw new Refused(response.status, document?.errors?.[0]?.code ?? "");
    }
    return document;
  }

  /** All installed web apps, page by page. */
  async apps() {
    const apps = [];
    let next = "/apps/";
    // A bound, in case the server never ends its list.
    for (let page = 0; next && page < 20; page += 1) {
      const { data, links } = await this.#call("GET", next);
      apps.push(...data);
      next = links?.next;
    }
    return apps;
  }

  /** How many bytes are used, and how many there are; without a limit, `quota` is undefined. */
  async diskUsage() {
    const { data } = await this.#call("GET", "/settings/disk-usage");
    const { used, quota } = data.attributes;
    return { used: Number(used), quota: quota === undefined ? undefined : Number(quota) };
  }

  /** The browsers that are logged in. */
  async sessions() {
    const { data } = await this.#call("GET", "/settings/sessions");
    return data;
  }

  /** Logs one browser out. */
  endSession(id) {
    return this.#call("DELETE", `/settings/sessions/${encodeURIComponent(id)}`);
  }

  /** Logs all other browsers out. */
  endOtherSessions() {
    return this.#call("DELETE", "/auth/login/others");
  }

  /** Logs this browser out. */
  logOut() {
    return this.#call("DELETE", "/auth/login");
  }

  /** Changes the passphrase. The server hashes both, as for the forms of browsers without scripts. */
  changePassphrase(current, next) {
    const body = { current_passphrase: current, new_passphrase: next, iterations: 0 };
    return this.#call("PUT", "/settings/passphrase", body);
  }
}
