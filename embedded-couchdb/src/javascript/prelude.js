// What functions of design documents can call, and what calls them. One realm runs it for one design document.
//
// `compileFunction(source)` evaluates a source in this realm. `deadline()` gives the function that follows its time.
// The value of this script is a function that takes a request and gives its answer, both as JSON.
(function (compileFunction, deadline) {
  "use strict";

  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { freeze, keys, getPrototypeOf, prototype: objectPrototype } = Object;
  const { hasOwnProperty } = objectPrototype;
  const nativeError = Error;

  const compiled = new Map();
  const modules = new Map();
  let design = {};
  let emitted = [];

  const own = (object, key) =>
    object !== null && typeof object === "object" && hasOwnProperty.call(object, key);
  const fail = (name, reason) => ["error", name, reason];
  const text = (value) => {
    const json = stringify(value);
    return json === undefined ? "null" : json;
  };

  function deepFreeze(value) {
    if (value !== null && typeof value === "object") {
      for (const key of keys(value)) deepFreeze(value[key]);
      freeze(value);
    }
    return value;
  }

  // CommonJS (Modules/1.1.1): a module is a string in the design document.
  function load(path, from, root) {
    const isRelative = path.startsWith("./") || path.startsWith("../");
    let place = isRelative ? from.slice(0, -1) : [];
    for (const part of path.split("/")) {
      if (part === "..") place = place.slice(0, -1);
      else if (part !== "." && part !== "") place = [...place, part];
    }
    if (root === "views" && (place[0] !== "views" || place[1] !== "lib")) {
      throw fail("invalid_require_path", "A map function may only require below views/lib: " + path);
    }
    let found = design;
    for (const part of place) {
      if (!own(found, part)) {
        throw fail(
          "invalid_require_path",
          'Object has no property "' + part + '". ' + text(found),
        );
      }
      found = found[part];
    }
    const id = place.join("/");
    if (typeof found !== "string") {
      throw fail("invalid_require_path", "Must require a JavaScript string, not: " + typeof found);
    }
    if (modules.has(id)) return modules.get(id).exports;
    const module = { id, exports: {} };
    modules.set(id, module);
    try {
      const run = compileFunction("(function (module, exports, require) { " + found + "\n})");
      run.call({}, module, module.exports, (inner) => load(inner, place, root));
    } catch (error) {
      modules.delete(id);
      if (isArray(error)) throw error;
      throw fail(
        "compilation_error",
        "Module require('" + path + "') raised error " + String(error),
      );
    }
    return module.exports;
  }

  let requireRoot = "";
  const globals = {
    emit: (key, value) => {
      emitted.push("[" + text(key) + "," + text(value) + "]");
    },
    log: () => {},
    isArray,
    toJSON: (value) => stringify(value),
    sum: (values) => {
      let total = 0;
      for (const value of values) total += value;
      return total;
    },
    require: (path) => load(String(path), [], requireRoot),
  };
  for (const name of ["getRow", "send", "start", "provides", "registerType", "index"]) {
    globals[name] = () => {
      throw fail("not_implemented", name + " is for list and show functions of several formats");
    };
  }
  for (const name of keys(globals)) globalThis[name] = globals[name];

  function compile(source) {
    if (!compiled.has(source)) {
      let result;
      try {
        result = compileFunction(source);
      } catch (error) {
        throw fail("compilation_error", String(error) + " (" + source + ")");
      }
      if (typeof result !== "function") {
        throw fail(
          "compilation_error",
          "Expression does not eval to a function. (" + source + ")",
        );
      }
      compiled.set(source, result);
    }
    return compiled.get(source);
  }

  function inDesign(path) {
    let found = design;
    for (const part of path) {
      if (!own(found, part)) throw fail("not_found", "missing json key: " + part);
      found = found[part];
    }
    if (typeof found !== "string") throw fail("not_found", "missing json key: " + path.join("/"));
    return compile(found);
  }

  // An error as CouchDB names it.
  function described(error) {
    if (isArray(error) && (error[0] === "error" || error[0] === "fatal")) {
      return { error: String(error[1]), reason: error[2] };
    }
    if (error === null || error === undefined) return { error: "TypeError", reason: "{[]}" };
    if (error instanceof nativeError) return { error: String(error.name), reason: "{[]}" };
    return { error: "unnamed_error", reason: null };
  }

  function map({ functions, docs }) {
    const views = functions.map(compile);
    requireRoot = "views";
    const answers = docs.map((doc) => {
      deepFreeze(doc);
      const rows = views.map((view) => {
        emitted = [];
        deadline();
        try {
          view.call({}, doc);
        } catch (error) {
          if (error === null || error === undefined) throw error;
          if (isArray(error) && error[0] === "fatal") throw error;
          emitted = [];
        }
        return "[" + emitted.join(",") + "]";
      });
      return "[" + rows.join(",") + "]";
    });
    return "[" + answers.join(",") + "]";
  }

  // Reduces values, as CouchDB does with rows from the last to the first, and refuses results that do not shrink.
  function reduceOnce(run, rowKeys, values, again) {
    deadline();
    let result;
    try {
      result = run.call({}, rowKeys, values, again);
    } catch (error) {
      if (isArray(error) && error[0] === "fatal") throw error;
      result = null;
    }
    const output = text(result);
    if (output.length > 4906) {
      const input = text(values).length + (again ? 0 : text(rowKeys).length);
      if (output.length * 2 > input) {
        const reason =
          "Reduce output must shrink more rapidly: input size: " +
          input + " output size: " + output.length;
        return { overflow: reason };
      }
    }
    return { value: parse(output) };
  }

  // Each group has rows `[[key, id], value]`, and what earlier rows of it were reduced to.
  function reduce({ function: source, groups }) {
    const run = compile(source);
    return text(
      groups.map(({ rows, values, isOver }) => {
        const all = [...values];
        if (rows.length > 0) {
          rows.reverse();
          const part = reduceOnce(run, rows.map((row) => row[0]), rows.map((row) => row[1]), false);
          if (part.overflow) return part;
          all.push(part.value);
        }
        return isOver ? reduceOnce(run, null, all, true) : { value: all[all.length - 1] };
      }),
    );
  }

  function filter({ path, docs, request }) {
    const run = inDesign(path);
    return text(
      docs.map((doc) => {
        deadline();
        return Boolean(run.call(design, doc, request));
      }),
    );
  }

  function filterByView({ path, docs }) {
    const run = inDesign(path);
    requireRoot = "views";
    return text(
      docs.map((doc) => {
        emitted = [];
        deadline();
        run.call({}, deepFreeze(doc));
        return emitted.length > 0;
      }),
    );
  }

  function refusal(error) {
    if (error === true) return { ok: true };
    if (error === null || error === undefined || error instanceof nativeError) {
      return described(error);
    }
    if (isArray(error)) {
      return error[0] === "error" || error[0] === "fatal"
        ? described(error)
        : { error: "unknown_error", reason: "function_clause" };
    }
    if (typeof error === "object") {
      const names = keys(parse(text(error)));
      if (names.length !== 1) return { error: "unknown_error", reason: "function_clause" };
      let reason = error[names[0]];
      if (isArray(reason)) reason = reason[0];
      if (names[0] === "forbidden" || names[0] === "unauthorized") {
        return { error: names[0], reason };
      }
      return { error: "unknown_error", reason };
    }
    if (typeof error === "string") return { error: "unknown_error", reason: error };
    return { error: "unknown_error", reason: "function_clause" };
  }

  function validate({ arguments: given }) {
    const run = compile(design.validate_doc_update);
    deadline();
    try {
      run.apply(design, given);
    } catch (error) {
      if (isArray(error) && error[1] === "compilation_error") throw error;
      return text(refusal(error));
    }
    return text({ ok: true });
  }

  function render({ path, arguments: given }) {
    const run = inDesign(path);
    deadline();
    try {
      const result = run.apply(design, given);
      return text({ result: result === undefined ? null : result });
    } catch (error) {
      if (isArray(error)) throw error;
      if (error instanceof nativeError) {
        throw fail("render_error", "function raised error: " + String(error));
      }
      if (own(error, "error") && own(error, "reason")) {
        throw fail(String(error.error), error.reason);
      }
      throw fail("render_error", "function raised error: " + String(error));
    }
  }

  function check({ functions }) {
    functions.forEach(compile);
    return "true";
  }

  const operations = { map, reduce, filter, filterByView, validate, render, check };

  return function answer(json) {
    try {
      const request = parse(json);
      requireRoot = "";
      if (own(request, "design")) {
        design = request.design;
        if (request.operation === "map") deepFreeze(design);
      }
      return '{"ok":' + operations[request.operation](request) + "}";
    } catch (error) {
      return stringify(described(error));
    }
  };
})
