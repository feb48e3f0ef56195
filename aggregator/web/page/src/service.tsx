// SPDX-License-Identifier: Apache-2.0
// A service, or one of its routes: rate, errors, durations, and what they are
// made of.

import { useAsk, query } from './api';
import { axis, Chart } from './chart';
import { count, exact, many, percent, rate, rates, seconds } from './format';
import { Heatmap } from './heatmap';
import { Change, Tile, Tiles } from './overview';
import { RequestTable } from './requests';
import { here, link, params, rangeQuery } from './state';
import type { Edges, Requests, Service } from './types';
import {
  Choice,
  Crumbs,
  Empty,
  Link,
  Loading,
  Method,
  More,
  Name,
  Panel,
  Ratio,
  serviceLink,
  Spark,
  Status,
  statusClass,
  Table,
  Trouble,
} from './ui';

const TONES: Record<string, string> = { s1: 'grey', s2: 'blue', s3: 'grey', s4: 'amber', s5: 'bad', sx: 'violet' };
const CLASSES: [string, string][] = [
  ['s2', '2xx'],
  ['s3', '3xx'],
  ['s4', '4xx'],
  ['s5', '5xx'],
  ['sx', 'no answer'],
  ['s1', '1xx'],
];

function RedTiles({ d }: { d: Service }) {
  const s = d.sum;

  return (
    <Tiles>
      <Tile label="Requests" value={count(s.count)}>
        {rate(s.count / (d.to - d.from))} <Change now={s.count} before={s.count_before} />
      </Tile>
      <Tile label="Failed" value={count(s.errors)} tone={s.errors ? 'bad' : ''}>
        {percent(s.count ? s.errors / s.count : 0)} <Change now={s.errors} before={s.errors_before} bad />
      </Tile>
      <Tile label="Median" value={seconds(s.p50)} title={exact(s.p50)}>
        mean {seconds(s.mean)}
      </Tile>
      <Tile label="p90" value={seconds(s.p90)} title={exact(s.p90)} />
      <Tile label="p99" value={seconds(s.p99)} title={exact(s.p99)}>
        <Change now={s.p99} before={s.p99_before} bad />
      </Tile>
    </Tiles>
  );
}

/** Statuses by their first digit, each a line. */
function statusLines(d: Service) {
  const sums: Record<string, number[]> = {};

  d.statuses.status.forEach((status, i) => {
    const key = statusClass(status, d.statuses.error[i]);
    const sum = (sums[key] ||= d.series.start.map(() => 0));

    d.statuses.points[i].forEach((n, k) => (sum[k] += n));
  });
  return CLASSES.filter(([key]) => sums[key]).map(([key, label]) => ({
    label,
    color: TONES[key],
    area: key === 's2',
    values: rates(sums[key], d),
  }));
}

function RedCharts({ d }: { d: Service }) {
  return (
    <div class="charts three">
      <Chart title="Requests per second" start={d.series.start} step={d.step} format={axis.count} lines={statusLines(d)} />
      <Chart
        title="Error ratio"
        start={d.series.start}
        step={d.step}
        format={percent}
        lines={[
          {
            label: 'failed',
            color: 'bad',
            area: true,
            values: d.series.errors.map((e, i) => (d.series.count[i] ? e / d.series.count[i] : null)),
          },
        ]}
      />
      <Chart
        title="Duration"
        start={d.series.start}
        step={d.step}
        format={seconds}
        lines={[
          { label: 'p50', color: 'blue', values: d.series.p50 },
          { label: 'p90', color: 'violet', values: d.series.p90 },
          { label: 'p99', color: 'amber', values: d.series.p99 },
        ]}
      />
    </div>
  );
}

function Side() {
  return (
    <Choice
      label="Side"
      name="role"
      none="server"
      of={[
        ['server', 'Served'],
        ['client', 'Called'],
      ]}
    />
  );
}

function NoRequests({ d, what }: { d: Service; what: string }) {
  const other = d.role === 'client' ? '' : 'client';

  return (
    <Empty title={'No requests in this time'}>
      <p>
        {what} {d.role === 'client' ? 'made' : 'served'} no request between these times.{' '}
        <Link to={here({ range: '86400', from: '', to: '' })}>Show the last 24 hours</Link>, or{' '}
        <Link to={here({ role: other })}>{other ? 'the requests that it made' : 'the requests that it served'}</Link>.
      </p>
    </Empty>
  );
}

export function ServiceView() {
  const p = params.value;
  const name = p.service || '';
  const answer = useAsk<Service>(
    'service?' +
      rangeQuery.value +
      '&' +
      query({ service: name, role: p.role, order: p.sort || 'errors', limit: p.limit || 25 }),
  );
  const d = answer.data;

  return (
    <>
      <div class="title">
        <Crumbs of={[['Overview', link('overview')], [name, null]]} />
        <div class="tools">
          <Side />
          <Link to={link('map', { focus: name })} class="button">
            Map
          </Link>
          <Link to={link('tail', { service: name })} class="button">
            Tail
          </Link>
          <Link to={link('requests', { service: name, errors: '1' })} class="button">
            Failed requests
          </Link>
        </div>
      </div>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          {d.sum.count === 0 ? (
            <Panel title="Requests">
              <NoRequests d={d} what="This service" />
            </Panel>
          ) : (
            <>
              <RedTiles d={d} />
              <RedCharts d={d} />
              {d.routes && <Routes d={d} />}
              <div class="halves">
                {d.instances && <Instances d={d} />}
                <Statuses d={d} />
              </div>
            </>
          )}
          {d.neighbours && <Neighbours name={name} e={d.neighbours} />}
        </div>
      )}
    </>
  );
}

function routeLink(d: Service, i: number): string {
  const r = d.routes!;
  const more: Record<string, string> = { service: d.service, route: r.route[i] || '', method: r.method[i] || '' };

  if (d.role === 'client') more.role = 'client';
  return link('route', more);
}

function Routes({ d }: { d: Service }) {
  const r = d.routes!;

  return (
    <Panel title="Routes" note={many(r.total, 'route')}>
      <Table
        caption={'Routes of ' + d.service}
        order="errors"
        rows={r.route.length}
        rowClass={(i) => (r.errors[i] > 0 ? 'has-errors' : '')}
        columns={[
          {
            key: 'route',
            label: 'Route',
            order: '-route',
            cell: (i) => (
              <Link to={routeLink(d, i)} class="route strong">
                <Method of={r.method[i]} />
                <Name of={r.route[i]} />
              </Link>
            ),
          },
          { key: 'spark', label: 'Trend', class: 'wide', cell: (i) => <Spark points={rates(r.points[i], d)} errors={rates(r.points_errors[i], d)} /> },
          { key: 'rate', label: 'Rate', num: true, order: 'count', cell: (i) => <span title={r.rate[i] + ' per second'}>{rate(r.rate[i])}</span> },
          { key: 'count', label: 'Requests', num: true, order: 'count', class: 'wide', cell: (i) => count(r.count[i]) },
          { key: 'change', label: 'Change', num: true, class: 'wide', cell: (i) => <Change now={r.count[i]} before={r.count_before[i]} any={d.sum.count_before > 0} /> },
          { key: 'errors', label: 'Failed', num: true, order: 'errors', cell: (i) => count(r.errors[i]) },
          { key: 'ratio', label: 'Error ratio', num: true, order: 'error_ratio', cell: (i) => <Ratio of={r.error_ratio[i]} /> },
          { key: 'p50', label: 'p50', num: true, order: 'p50', class: 'wide', cell: (i) => <span title={exact(r.p50[i])}>{seconds(r.p50[i])}</span> },
          { key: 'p99', label: 'p99', num: true, order: 'p99', cell: (i) => <span title={exact(r.p99[i])}>{seconds(r.p99[i])}</span> },
        ]}
      />
      <More shown={r.route.length} total={r.total} what="routes" step={25} />
    </Panel>
  );
}

function Instances({ d }: { d: Service }) {
  const s = d.instances!;

  return (
    <Panel title="Instances" note={many(s.instance.length, 'instance')}>
      <Table
        caption={'Instances of ' + d.service}
        small
        rows={s.instance.length}
        rowClass={(i) => (s.errors[i] > 0 ? 'has-errors' : '')}
        columns={[
          {
            key: 'instance',
            label: 'Instance',
            cell: (i) => (
              <Link to={link('requests', { service: d.service, instance: s.instance[i] || '' })}>
                <Name of={s.instance[i]} />
              </Link>
            ),
          },
          { key: 'rate', label: 'Rate', num: true, cell: (i) => <span title={s.rate[i] + ' per second'}>{rate(s.rate[i])}</span> },
          { key: 'count', label: 'Requests', num: true, class: 'wide', cell: (i) => count(s.count[i]) },
          { key: 'ratio', label: 'Error ratio', num: true, cell: (i) => <Ratio of={s.error_ratio[i]} /> },
          { key: 'p99', label: 'p99', num: true, cell: (i) => <span title={exact(s.p99[i])}>{seconds(s.p99[i])}</span> },
        ]}
      />
    </Panel>
  );
}

function Statuses({ d }: { d: Service }) {
  const s = d.statuses;
  const more: Record<string, string> = d.role === 'client' ? { role: 'client' } : {};

  return (
    <Panel title="Answers" note="by status">
      <Table
        caption="Answers by status"
        small
        rows={s.status.length}
        columns={[
          {
            key: 'status',
            label: 'Status',
            cell: (i) => (
              <Link
                to={link('requests', {
                  service: d.service,
                  ...(params.value.v === 'route' ? { route: params.value.route || '', method: params.value.method || '' } : {}),
                  ...(s.status[i] ? { status: s.status[i]! } : { status: 'none' }),
                  ...more,
                })}
              >
                <Status status={s.status[i]} error={s.error[i]} />
              </Link>
            ),
          },
          { key: 'error', label: 'Error', cell: (i) => <Name of={s.error[i]} /> },
          { key: 'count', label: 'Requests', num: true, cell: (i) => count(s.count[i]) },
          {
            key: 'share',
            label: 'Share',
            num: true,
            cell: (i) => <Ratio of={d.sum.count ? s.count[i] / d.sum.count : 0} tone={s.error[i] ? 'bad' : 'ok'} />,
          },
        ]}
      />
    </Panel>
  );
}

export function EdgeTable(p: {
  caption: string;
  rows: number[];
  e: Edges;
  name: 'client' | 'server' | 'both';
  kinds?: (i: number, side: 'client' | 'server') => string;
}) {
  const { e } = p;
  const end = (i: number, side: 'client' | 'server') => {
    const name = e[side][i];
    const other = side === 'client' ? name === 'user' : e.one_sided[i] && !p.kinds;

    return other || !name || (p.kinds && p.kinds(i, side) !== 'service') ? (
      <Name of={name} />
    ) : (
      <Link to={serviceLink(name)}>
        <Name of={name} />
      </Link>
    );
  };

  return (
    <Table
      caption={p.caption}
      small
      rows={p.rows.length}
      rowClass={(r) => (e.failed[p.rows[r]] > 0 ? 'has-errors' : '')}
      columns={[
        ...(p.name !== 'server' ? [{ key: 'client', label: 'Client', cell: (r: number) => end(p.rows[r], 'client') }] : []),
        ...(p.name !== 'client' ? [{ key: 'server', label: 'Server', cell: (r: number) => end(p.rows[r], 'server') }] : []),
        { key: 'count', label: 'Requests', num: true, cell: (r) => count(e.count[p.rows[r]]) },
        { key: 'rate', label: 'Rate', num: true, class: 'wide', cell: (r) => rate(e.rate[p.rows[r]]) },
        { key: 'failed', label: 'Failed', num: true, cell: (r) => count(e.failed[p.rows[r]]) },
        { key: 'client_p99', label: 'Client p99', num: true, class: 'wide', cell: (r) => seconds(e.client_p99[p.rows[r]]) },
        { key: 'server_p99', label: 'Server p99', num: true, class: 'wide', cell: (r) => seconds(e.server_p99[p.rows[r]]) },
        { key: 'network_p99', label: 'Network p99', num: true, class: 'wide', title: 'What the client waited longer than the server took', cell: (r) => seconds(e.network_p99[p.rows[r]]) },
      ]}
    />
  );
}

function Neighbours({ name, e }: { name: string; e: Edges }) {
  const rows = e.client.map((_, i) => i);
  const callers = rows.filter((i) => e.server[i] === name);
  const callees = rows.filter((i) => e.client[i] === name);

  return (
    <div class="halves">
      <Panel title="Called by" note={many(callers.length, 'client')}>
        {callers.length ? (
          <EdgeTable caption={'Clients of ' + name} rows={callers} e={e} name="client" />
        ) : (
          <Empty title="No client called it in this time">
            <p>An edge shows up when its requests have ended and both sides were matched, 15 seconds later at most.</p>
          </Empty>
        )}
      </Panel>
      <Panel title="Calls" note={many(callees.length, 'server')}>
        {callees.length ? (
          <EdgeTable caption={'Servers that ' + name + ' calls'} rows={callees} e={e} name="server" />
        ) : (
          <Empty title="It called no server in this time">
            <p>Only calls over HTTP that an agent sees are here; databases and queues are not.</p>
          </Empty>
        )}
      </Panel>
    </div>
  );
}

export function RouteView() {
  const p = params.value;
  const name = p.service || '';
  const what = 'route=' + encodeURIComponent(p.route || '') + '&method=' + encodeURIComponent(p.method || '');
  const answer = useAsk<Service>(
    'service?' + rangeQuery.value + '&' + query({ service: name, role: p.role }) + '&' + what + '&cells=1',
  );
  const d = answer.data;

  return (
    <>
      <div class="title">
        <Crumbs
          of={[
            ['Overview', link('overview')],
            [name, serviceLink(name, p.role ? { role: p.role } : {})],
            [(p.method || '–') + ' ' + (p.route || '–'), null],
          ]}
        />
        <div class="tools">
          <Link to={link('tail', { service: name, route: p.route || '' })} class="button">
            Tail
          </Link>
        </div>
      </div>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          {d.sum.count === 0 ? (
            <Panel title="Requests">
              <NoRequests d={d} what="This route" />
            </Panel>
          ) : (
            <>
              <RedTiles d={d} />
              <RedCharts d={d} />
              {d.cells && (
                <section class="panel" aria-label="Latency heatmap">
                  <Heatmap start={d.series.start} step={d.step} cells={d.cells} />
                  {p.at && <CellRequests d={d} />}
                </section>
              )}
              <Statuses d={d} />
            </>
          )}
        </div>
      )}
    </>
  );
}

/** The requests that a cell of the heatmap counted. */
function CellRequests({ d }: { d: Service }) {
  const p = params.value;
  const at = Number(p.at);
  const what = 'route=' + encodeURIComponent(p.route || '') + '&method=' + encodeURIComponent(p.method || '');
  const answer = useAsk<Requests>(
    'requests?' +
      query({ service: d.service, role: d.role, from: at, to: at + d.step, min: p.min, max: p.max, limit: 200 }) +
      '&' +
      what,
    true,
  );
  const r = answer.data;

  return (
    <div class="cell-requests">
      <header class="panel-head">
        <h3>
          {seconds(Number(p.min || 0))} to {seconds(Number(p.max))}
        </h3>
        {r && (
          <span class="muted">
            {many(r.matched, 'request')}
            {r.complete ? '' : ' so far'}
          </span>
        )}
        <div class="tools">
          <Link to={here({ at: '', min: '', max: '' })} class="button">
            Close
          </Link>
        </div>
      </header>
      <Trouble error={answer.error} again={answer.again} />
      {!r ? !answer.error && <Loading /> : <RequestTable r={r} />}
    </div>
  );
}
