// Draws /api/openapi.json as a page; no library and no request to anywhere else.
const make = (name, text, className) => {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};

const resolve = (api, schema, depth = 0) => {
  if (!schema || depth > 6) return {};
  if (schema.$ref) return resolve(api, api.components.schemas[schema.$ref.split("/").pop()], depth + 1);
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, field]) => [name, resolve(api, field, depth + 1)]));
  }
  if (schema.type === "array") return [resolve(api, schema.items, depth + 1)];
  const either = schema.anyOf || schema.oneOf;
  if (either) return resolve(api, either[0], depth + 1);
  return schema.enum ? schema.enum.join(" | ") : schema.const || schema.format || schema.type || "any";
};

const block = (api, title, content) => {
  const box = make("div");
  for (const [type, { schema }] of Object.entries(content || {})) {
    box.append(make("p", `${title}: ${type}`), make("pre", JSON.stringify(resolve(api, schema), null, 2)));
  }
  return box;
};

const rows = (heads, data) => {
  const table = make("table");
  const head = make("tr");
  head.append(...heads.map((text) => make("th", text)));
  table.append(head);
  for (const cells of data) {
    const row = make("tr");
    row.append(...cells.map((text) => make("td", text)));
    table.append(row);
  }
  return table;
};

const draw = (api, method, path, operation) => {
  const box = make("details");
  const summary = make("summary");
  summary.append(make("span", method.toUpperCase(), `method ${method}`), make("code", path), ` ${operation.summary}`);
  box.append(summary);
  const needs = !operation.security ? "open to all" : operation.security.length > 1 ? "bearer token optional" : "bearer token";
  box.append(make("p", `${needs}${operation["x-roles"] ? `, role ${operation["x-roles"].join(" or ")}` : ""}; rate class ${operation["x-rate-class"]}`));
  if (operation.parameters.length) {
    box.append(rows(["parameter", "in", "type"], operation.parameters.map((p) => [p.name, p.in, String(resolve(api, p.schema))])));
  }
  box.append(block(api, "body", operation.requestBody?.content));
  for (const [status, answer] of Object.entries(operation.responses)) {
    if (status < "400") box.append(block(api, status, answer.content));
  }
  box.append(rows(["status", "meaning"], Object.entries(operation.responses).map(([status, a]) => [status, a.description])));
  box.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  return box;
};

const main = async () => {
  const api = await (await fetch("/api/openapi.json")).json();
  document.getElementById("about").textContent = api.info.description;
  const sections = new Map(api.tags.map(({ name }) => [name, make("section")]));
  for (const [name, section] of sections) section.append(make("h2", name));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(operation.tags[0]).append(draw(api, method, path, operation));
    }
  }
  document.getElementById("routes").append(...sections.values());
  const codes = Object.entries(api["x-error-codes"]).map(([code, { status, description }]) => [code, String(status), description]);
  document.getElementById("codes").append(make("h2", "Error codes"), rows(["code", "status", "when"], codes));
  document.getElementById("filter").addEventListener("input", ({ target }) => {
    for (const box of document.querySelectorAll("details")) box.hidden = !box.dataset.words.includes(target.value.toLowerCase());
  });
};
main();
