import { call } from "./http";
import type { components } from "./schema";

type Schemas = components["schemas"];

export type TableInfo = Schemas["TableAnswer"];
export type TableRows = Schemas["TableRows"];
export type Dataset = Schemas["DatasetAnswer"];
export type QueryAnswer = Schemas["QueryAnswer"];

/** Roles that may read tables and ask the lake. */
const ROLES: ReadonlySet<string> = new Set(["analyst", "operator"]);

export const mayAnalyse = (role: string | undefined): boolean => role !== undefined && ROLES.has(role);

export const listTables = (): Promise<{ items: TableInfo[] }> => call("GET", "/api/v1/tables");

export const listDatasets = (): Promise<{ items: Dataset[] }> => call("GET", "/api/v1/analytics/datasets");

export const listRows = (name: string, cursor: string | null): Promise<TableRows> =>
  call("GET", `/api/v1/tables/${encodeURIComponent(name)}/rows`, { query: { limit: 20, cursor } });

export const askLake = (sql: string, fresh: boolean): Promise<QueryAnswer> =>
  call("POST", "/api/v1/analytics/query", { body: { sql, limit: 1000, fresh } });
