// SPDX-License-Identifier: Apache-2.0
// Stored requests: a list of them, and one alone.

import { useState } from 'preact/hooks';
import { useAsk, query } from './api';
import { bytes, count, exact, many, NONE, seconds, time } from './format';
import { here, link, params, rangeQuery } from './state';
import type { Num, RequestColumns, Requests } from './types';
import { Choice, Crumbs, Empty, Link, Loading, Method, Name, Panel, serviceLink, Status, Table, Toggle, Trouble } from './ui';

export function requestColumns(r: RequestColumns, withService: boolean) {
  return [
    {
      key: 'end',
      label: 'Ended',
      cell: (i: number) => (
        <Link to={link('request', { id: r.id[i] })} title={r.id[i]}>
          {time(r.end[i], true)}
        </Link>
      ),
    },
    ...(withService
      ? [
          {
            key: 'service',
            label: 'Service',
            cell: (i: number) => (
              <Link to={serviceLink(r.service[i] || '')}>
                <Name of={r.service[i]} />
              </Link>
            ),
          },
        ]
      : []),
    { key: 'node', label: 'Node', class: 'wide', cell: (i: number) => <Name of={r.node[i]} /> },
    {
      key: 'route',
      label: 'Route',
      cell: (i: number) => (
        <span class="route">
          <Method of={r.method[i]} />
          <Name of={r.route[i]} />
        </span>
      ),
    },
    { key: 'status', label: 'Status', cell: (i: number) => <Status status={r.status[i]} error={r.error[i]} /> },
    {
      key: 'duration',
      label: 'Duration',
      num: true,
      cell: (i: number) => <span title={exact(r.duration[i])}>{seconds(r.duration[i])}</span>,
    },
    {
      key: 'bytes',
      label: 'Response',
      num: true,
      class: 'wide',
      cell: (i: number) => bytes(r.response_bytes[i]),
    },
    {
      key: 'trace',
      label: 'Trace',
      class: 'wide',
      cell: (i: number) => (r.trace_id[i] ? <code title={r.trace_id[i]!}>{r.trace_id[i]!.slice(0, 8)}…</code> : NONE),
    },
  ];
}

export function RequestTable(p: { r: Requests; withService?: boolean }) {
  const { r } = p;

  if (r.shown === 0)
    return (
      <Empty title={r.complete ? 'No stored request matches' : 'Nothing found yet'}>
        <p>
          {r.complete
            ? 'Single requests are kept as long as the raw log (retention.raw_age_s, retention.raw_bytes); counts and durations are kept longer. '
            : many(r.scanned, 'event') + ' were looked at in the time that an answer may take. '}
          {r.rolled_up > 0 &&
            many(r.rolled_up, 'request') + ' of this time came without detail, because the agent’s outbox was full.'}
        </p>
        {r.next && <Link to={here({ after: r.next })}>Look further back</Link>}
      </Empty>
    );
  return (
    <>
      <Table
        caption="Stored requests"
        small
        rows={r.requests.id.length}
        rowClass={(i) => (r.requests.error[i] ? 'has-errors' : '')}
        columns={requestColumns(r.requests, !!p.withService)}
      />
      <p class="more">
        {count(r.shown)} of {many(r.matched, 'request')} shown, {count(r.scanned)} looked at.{' '}
        {r.rolled_up > 0 && count(r.rolled_up) + ' more came without detail. '}
        {r.next && params.value.v === 'requests' && <Link to={here({ after: r.next })}>Further back</Link>}
      </p>
    </>
  );
}

/** Filters that a list of requests and the tail have in common, as text. */
export function filters(p: Record<string, string>): [string, string][] {
  const out: [string, string][] = [];

  for (const key of ['service', 'instance', 'node', 'method', 'route', 'status', 'min', 'max'])
    if (p[key] !== undefined && p[key] !== '') out.push([key, p[key]]);
  return out;
}

export function FilterChips() {
  const p = params.value;

  return (
    <ul class="chips">
      {filters(p).map(([key, value]) => (
        <li key={key}>
          <span class="muted">{key}</span> <bdi>{value}</bdi>
          <a data-in href={here({ [key]: '', after: '' })} aria-label={'Remove ' + key}>
            ×
          </a>
        </li>
      ))}
    </ul>
  );
}

export function RequestsView() {
  const p = params.value;
  const answer = useAsk<Requests>(
    'requests?' +
      rangeQuery.value +
      '&' +
      query({
        service: p.service,
        instance: p.instance,
        node: p.node,
        role: p.role,
        method: p.method,
        route: p.route,
        status: p.status,
        errors: p.errors,
        min: p.min,
        max: p.max,
        order: p.sort,
        after: p.after,
        limit: 200,
      }),
  );
  const d = answer.data;

  return (
    <>
      <div class="title">
        <Crumbs
          of={
            p.service
              ? [
                  ['Overview', link('overview')],
                  [p.service, serviceLink(p.service)],
                  ['Requests', null],
                ]
              : [
                  ['Overview', link('overview')],
                  ['Requests', null],
                ]
          }
        />
        <div class="tools">
          <Choice
            label="Order"
            name="sort"
            none="newest"
            of={[
              ['newest', 'Newest'],
              ['slowest', 'Slowest'],
            ]}
          />
          <Toggle name="errors" label="Only errors" />
        </div>
      </div>
      <FilterChips />
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          <Panel title="Requests" note={many(d.matched, 'match', 'matches') + (d.complete ? '' : ' so far')}>
            <RequestTable r={d} withService />
          </Panel>
        </div>
      )}
    </>
  );
}

interface One {
  [key: string]: string | number | undefined;
}

export function RequestView() {
  const id = params.value.id || '';
  const answer = useAsk<One>('requests/' + encodeURIComponent(id), true);
  const d = answer.data;
  const gone = answer.error?.status === 404;

  return (
    <>
      <div class="title">
        <Crumbs
          of={[
            ['Overview', link('overview')],
            ...(d?.service ? ([[String(d.service), serviceLink(job(d))]] as [string, string][]) : []),
            ['Request ' + id, null],
          ]}
        />
      </div>
      {gone ? (
        <Panel title="Request">
          <Empty title="This request is no longer kept">
            <p>
              Single requests are kept as long as the raw log: retention.raw_age_s and retention.raw_bytes. What was counted of it stays
              counted. <Link to={link('requests')}>Newest requests</Link>
            </p>
          </Empty>
        </Panel>
      ) : (
        <Trouble error={answer.error} again={answer.again} />
      )}
      {!d ? !answer.error && <Loading /> : <Details d={d} />}
    </>
  );
}

function job(d: One): string {
  return d.namespace ? d.namespace + '/' + d.service : String(d.service || '');
}

function Copy(p: { text: string; label: string }) {
  const [done, set] = useState(false);

  return (
    <button
      type="button"
      class="quiet"
      aria-label={p.label}
      onClick={() => {
        navigator.clipboard?.writeText(p.text).then(
          () => set(true),
          () => set(false),
        );
      }}
    >
      {done ? 'Copied' : 'Copy'}
    </button>
  );
}

function Details({ d }: { d: One }) {
  const start = Number(d.start);
  const duration = d.duration as Num;
  const first = d.time_to_first_byte as Num;
  const share = duration && first ? Math.max(0.5, (first / duration) * 100) : 100;
  const rows: [string, preact.ComponentChildren][] = [
    [
      'Service',
      <Link to={serviceLink(job(d))}>
        <Name of={job(d)} />
      </Link>,
    ],
    [
      'Route',
      d.role === 'client' ? (
        <>
          <Method of={String(d.method || '')} /> <Name of={d.route as string} />
        </>
      ) : (
        <Link to={link('route', { service: job(d), route: String(d.route || ''), method: String(d.method || '') })}>
          <Method of={String(d.method || '')} /> <Name of={d.route as string} />
        </Link>
      ),
    ],
    ['Side', d.role === 'client' ? 'client: the request was made' : 'server: the request was served'],
    ['Status', <Status status={(d.status as number) ?? null} error={d.error as string} />],
    ['Error', <Name of={d.error as string} />],
    ['Node', <Name of={d.node as string} />],
    ['Instance', <Name of={d.instance as string} />],
    ['Container', <Name of={d.container as string} />],
    ['Program', <Name of={d.executable as string} />],
    ['Scheme', <Name of={d.scheme as string} />],
    ['Asked for', d.address ? <bdi>{d.address + (d.port ? ':' + d.port : '')}</bdi> : NONE],
    ['Request body', bytes(d.request_bytes as number)],
    ['Response body', bytes(d.response_bytes as number)],
    [
      'Trace id',
      d.trace_id ? (
        <>
          <code>{d.trace_id}</code> <Copy text={String(d.trace_id)} label="Copy the trace id" />
        </>
      ) : (
        <span class="muted">the request carried no traceparent</span>
      ),
    ],
    ['Span id', d.span_id ? <code>{d.span_id}</code> : NONE],
    ['Received', time(d.received as number, true)],
    ['Batch', `epoch ${d.epoch}, sequence ${d.sequence}`],
  ];

  return (
    <div class="view">
      <Panel title="Time">
        <dl class="tiles flat">
          <div class="tile">
            <dt>Began</dt>
            <dd>{time(start, true)}</dd>
          </div>
          <div class="tile">
            <dt>First byte</dt>
            <dd title={exact(first)}>{seconds(first)}</dd>
          </div>
          <div class="tile">
            <dt>Duration</dt>
            <dd title={exact(duration)}>{seconds(duration)}</dd>
          </div>
        </dl>
        {duration == null ? (
          <p class="muted">The log that it came from has no duration.</p>
        ) : (
          <svg class="span-bar" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={'First byte after ' + seconds(first) + ' of ' + seconds(duration)}>
          <rect width="100" height="6" rx="1" class="fill-blue-light" />
          <rect width={share} height="6" rx="1" class="fill-blue" />
        </svg>
        )}
      </Panel>
      <Panel title="Request">
        <dl class="facts">
          {rows.map(([key, value]) => (
            <div key={key}>
              <dt>{key}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </Panel>
    </div>
  );
}
