// SPDX-License-Identifier: Apache-2.0
// The answers of the API, as docs/API.md has them. Columns are arrays of one length.

export type Num = number | null;
export type Text = string | null;

export interface Columns {
  [name: string]: unknown[];
}

export interface Sum {
  count: number;
  errors: number;
  mean: Num;
  p50: Num;
  p90: Num;
  p99: Num;
  count_before: number;
  errors_before: number;
  p99_before: Num;
}

export interface Ranged {
  from: number;
  to: number;
  step: number;
  now: number;
}

export interface Red {
  count: number[];
  errors: number[];
  rate: number[];
  error_ratio: number[];
  mean: Num[];
  p50: Num[];
  p90: Num[];
  p99: Num[];
}

export interface Services extends Ranged {
  role: string;
  total: number;
  sum: Sum;
  services: Red & {
    service: Text[];
    overflow: boolean[];
    count_before: number[];
    errors_before: number[];
    p99_before: Num[];
    instances: number[];
    worst_instance: Text[];
    worst_error_ratio: number[];
    worst_p99: Num[];
  };
  points: { start: number[]; count: number[][]; errors: number[][] };
  series: { start: number[]; count: number[]; errors: number[]; p50: Num[]; p90: Num[]; p99: Num[] };
  fleet: { agents: number; up: number; captured: number; counted: number; dropped: number };
}

export interface Edges {
  client: Text[];
  server: Text[];
  one_sided: boolean[];
  count: number[];
  failed: number[];
  rate: number[];
  client_p50: Num[];
  client_p99: Num[];
  server_p50: Num[];
  server_p99: Num[];
  network_p50: Num[];
  network_p99: Num[];
}

export interface Cells {
  lower: number[];
  upper: number[];
  count: number[][];
}

export interface Service extends Ranged {
  role: string;
  service: string;
  sum: Sum;
  series: {
    start: number[];
    count: number[];
    errors: number[];
    mean: Num[];
    p50: Num[];
    p90: Num[];
    p99: Num[];
  };
  statuses: { status: Text[]; error: Text[]; count: number[]; points: number[][] };
  routes?: Red & {
    total: number;
    method: Text[];
    route: Text[];
    count_before: number[];
    errors_before: number[];
    p99_before: Num[];
    points: number[][];
    points_errors: number[][];
  };
  instances?: Red & { instance: Text[] };
  neighbours?: Edges;
  cells?: Cells;
}

export interface Graph {
  from: number;
  to: number;
  now: number;
  focus: Text;
  hops: number;
  by: string;
  total_nodes: number;
  total_edges: number;
  total: number;
  failed: number;
  nodes: { name: Text[]; kind: string[]; count: number[]; errors: number[] };
  edges: Omit<Edges, 'client' | 'server'> & { client: number[]; server: number[] };
}

export interface RequestColumns {
  id: string[];
  end: number[];
  duration: Num[];
  time_to_first_byte: Num[];
  service: Text[];
  instance: Text[];
  node: string[];
  role: string[];
  method: Text[];
  route: Text[];
  status: Num[];
  error: Text[];
  request_bytes: number[];
  response_bytes: number[];
  trace_id: Text[];
}

export interface Requests {
  from: number;
  to: number;
  scanned: number;
  matched: number;
  shown: number;
  rolled_up: number;
  complete: boolean;
  next: Text;
  requests: RequestColumns;
}

export interface Tail {
  after: number;
  next: number;
  scanned: number;
  matched: number;
  shown: number;
  skipped: number;
  lost: number;
  requests: RequestColumns;
}

export interface Agents {
  now: number;
  total: number;
  up: number;
  agents: {
    node: string[];
    up: boolean[];
    last_seen: number[];
    skew: number[];
    version: string[];
    kernel: string[];
    capture: string[];
    captured: number[];
    counted: number[];
    dropped: number[];
    in_flight: number[];
    rolled_up: number[];
    batches: number[];
    duplicates: number[];
    refused: number[];
    conflicts: number[];
    probes: number[];
    probes_failed: string[][];
  };
  dropped: Record<string, number[]>;
  counters: Record<string, number[]>;
}

export interface Cardinality {
  now: number;
  views: {
    name: string[];
    kind: string[];
    series: number[];
    limit: number[];
    demand: number[];
    overflowed: number[];
    idle: number[];
    worst_job: Text[];
    worst_job_series: number[];
  };
  view: Text;
  labels: { label: string[]; values: number[]; limit: number[]; demand: number[] };
  askers: { job: string[]; series: number[] };
  values: { label: string[]; value: string[]; series: number[] };
}

export interface Gaps {
  now: number;
  agents: number;
  gaps: { node: Text[]; code: string[]; severity: string[]; count: number[]; detail: Text[] };
  codes: { code: string[]; title: string[]; what: string[]; advice: string[]; doc: string[] };
}

export interface Status {
  version: string;
  revision: string;
  now: number;
  started: number;
  ready: boolean;
  why: Text;
  telemetry_path: string;
  config: { successful: boolean; loaded: number };
  tail: boolean;
  agents: { total: number; up: number };
  requests: { captured: number; counted: number; dropped: number };
  store: {
    bytes: number;
    log_batches: number;
    log_bytes: number;
    log_first: Num;
    windows: number;
    windows_first: Num;
    retention: { log_s: number; log_bytes: number; windows_s: number; windows_bytes: number };
  };
  views: { name: string[]; series: number[]; limit: number[] };
}
