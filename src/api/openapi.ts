/** The API as OpenAPI 3.1 describes one: made of the routes and the schemas, so that it can't say anything else than they do. */
import { VERSION } from "#base/version.ts";
import type { ActionKind, RequestKind } from "#monitor/action.ts";
import { toJsonSchema } from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
import { errorBody } from "./errors.ts";
import { actionKinds, routes, type Route } from "./routes.ts";
import { fields, results } from "./schemas.ts";
import { note } from "./stream.ts";

interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
}

const STREAM = `A conversation by WebSocket. A binary message is a channel's number in its first byte (0 input, 1 output, 2 error), and then bytes \
on that channel; a text message is a note (see the schema Note). The server closes when there is nothing more to say.`;

export function openApi(): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const kind of actionKinds) {
    const { method, path } = routes[kind];
    (paths[path] ??= {})[method.toLowerCase()] = operation(kind, routes[kind]);
  }
  return {
    openapi: "3.1.0",
    info: { title: "Hostelry", version: VERSION, description: "All that an operator can do with a machine and its virtual machines, as HTTP over a Unix socket." },
    servers: [{ url: "http://localhost", description: "By the Unix socket of `hostelry serve`" }],
    paths,
    components: { schemas: { Vm: jsonSchema(results.show), Error: jsonSchema(errorBody), Note: jsonSchema(note) } },
  };
}

function operation(kind: ActionKind, route: Route): object {
  const schema = jsonSchema(fields[kind]);
  const properties = Object.entries(schema.properties ?? {});
  const isRequired = (field: string): boolean => schema.required?.includes(field) === true;
  const placeOf = (field: string): "path" | "query" | "body" => (route.path.includes(`{${field}}`) ? "path" : route.query?.[field] === undefined ? "body" : "query");
  const parameters = properties
    .filter(([field]) => placeOf(field) !== "body")
    .map(([field, property]) => ({ name: field, in: placeOf(field), required: isRequired(field), schema: property }));
  const inBody = properties.filter(([field]) => placeOf(field) === "body");
  const required = inBody.map(([field]) => field).filter(isRequired);
  const body = { ...schema, properties: Object.fromEntries(inBody), required };
  return {
    operationId: kind,
    summary: route.summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(inBody.length === 0 ? {} : { requestBody: { required: required.length > 0, content: json(body) } }),
    responses: { ...answer(kind), default: { description: "It can't be done: why, in a line", content: json(reference("Error")) } },
  };
}

function answer(kind: ActionKind): Record<string, object> {
  if (!(kind in results)) return { 101: { description: STREAM } };
  const schema = results[kind as RequestKind];
  return { 200: { description: "Done", content: json(schema === results.show ? reference("Vm") : schema === results.list ? { type: "array", items: reference("Vm") } : jsonSchema(schema)) } };
}

const json = (schema: object): object => ({ "application/json": { schema } });
const reference = (name: string): object => ({ $ref: `#/components/schemas/${name}` });

function jsonSchema(schema: GenericSchema): JsonSchema {
  // What a check between fields says, JSON Schema can't.
  const { $schema: _, ...rest } = toJsonSchema(schema, { target: "draft-2020-12", errorMode: "ignore" });
  return rest as JsonSchema;
}
