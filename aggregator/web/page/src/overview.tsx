// SPDX-License-Identifier: Apache-2.0
// The first view: all services, those with errors first.

import { useAsk, query } from './api';
import { axis, Chart } from './chart';
import { change, count, exact, many, percent, rate, rates, seconds } from './format';
import { here, link, params, rangeQuery } from './state';
import type { Services } from './types';
import { Choice, Empty, Filter, Link, Loading, More, Name, Panel, Ratio, serviceLink, Spark, Table, Toggle, Trouble } from './ui';

/** Against the period before; `any`: whether there was a period before at all. */
export function Change(p: { now: number | null; before: number | null; bad?: boolean; any?: boolean }) {
  const text = p.before === 0 && !p.any ? '' : change(p.now, p.before);
  const up = (p.now ?? 0) > (p.before ?? 0);

  if (!text || text === '±0%') return <span class="change muted">{text}</span>;
  return (
    <span class={'change ' + (p.bad ? (up ? 'worse' : 'better') : 'muted')} title={'Before: ' + p.before}>
      {text}
    </span>
  );
}

export function Tiles(p: { children: preact.ComponentChildren }) {
  return <dl class="tiles">{p.children}</dl>;
}

export function Tile(p: { label: string; value: string; title?: string; tone?: string; children?: preact.ComponentChildren }) {
  return (
    <div class={'tile ' + (p.tone || '')}>
      <dt>{p.label}</dt>
      <dd title={p.title}>
        <span class="value">{p.value}</span>
        {p.children && <span class="sub">{p.children}</span>}
      </dd>
    </div>
  );
}

export function Overview() {
  const p = params.value;
  const answer = useAsk<Services>(
    'services?' +
      rangeQuery.value +
      '&' +
      query({ order: p.sort || 'errors', role: p.role, filter: p.filter, errors: p.errors, limit: p.limit || 50 }),
  );
  const d = answer.data;

  return (
    <>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          <Fleet d={d} />
          <div class="charts">
            <Chart
              title="Requests"
              start={d.series.start}
              step={d.step}
              format={axis.count}
              lines={[
                { label: 'per second', color: 'blue', area: true, values: rates(d.series.count, d) },
                { label: 'failed', color: 'bad', values: rates(d.series.errors, d) },
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
          <Panel
            title={d.role === 'client' ? 'Callers' : 'Services'}
            note={many(d.total, 'service')}
            tools={
              <>
                <Choice
                  label="Side"
                  name="role"
                  none="server"
                  of={[
                    ['server', 'Served'],
                    ['client', 'Called'],
                  ]}
                />
                <Toggle name="errors" label="Only errors" />
                <Filter label="Filter services" />
              </>
            }
          >
            {d.total === 0 ? <Nothing d={d} /> : <List d={d} />}
          </Panel>
        </div>
      )}
    </>
  );
}

function Fleet({ d }: { d: Services }) {
  const s = d.sum;
  const span = d.to - d.from;
  const lost = d.fleet.dropped;

  return (
    <Tiles>
      <Tile label="Requests" value={count(s.count)} title={count(s.count)}>
        {rate(s.count / span)} <Change now={s.count} before={s.count_before} />
      </Tile>
      <Tile label="Failed" value={count(s.errors)} tone={s.errors ? 'bad' : ''}>
        {percent(s.count ? s.errors / s.count : 0)} <Change now={s.errors} before={s.errors_before} bad />
      </Tile>
      <Tile label="Median" value={seconds(s.p50)} title={exact(s.p50)}>
        mean {seconds(s.mean)}
      </Tile>
      <Tile label="p99" value={seconds(s.p99)} title={exact(s.p99)}>
        p90 {seconds(s.p90)} <Change now={s.p99} before={s.p99_before} bad />
      </Tile>
      <Tile label="Agents up" value={d.fleet.up + ' / ' + d.fleet.agents} tone={d.fleet.up < d.fleet.agents ? 'warn' : ''}>
        <Link to={link('agents')}>{d.fleet.up < d.fleet.agents ? 'See who is down' : 'All agents'}</Link>
      </Tile>
      <Tile label="Lost, ever" value={count(lost)} tone={lost ? 'warn' : ''}>
        of {count(d.fleet.captured)} · <Link to={link('gaps')}>Gaps</Link>
      </Tile>
    </Tiles>
  );
}

function Nothing({ d }: { d: Services }) {
  const p = params.value;

  if (p.filter || p.errors)
    return (
      <Empty title={p.errors && !p.filter ? 'No service had an error' : 'No service matches'}>
        <p>
          {p.errors && !p.filter
            ? 'Not one request failed in this time. '
            : 'No service with requests in this time has “' + (p.filter || '') + '” in its name. '}
          <Link to={here({ filter: '', errors: '' })}>Show all services</Link>
        </p>
      </Empty>
    );
  if (d.fleet.agents === 0)
    return (
      <Empty title="No agent has reported yet">
        <p>
          An agent on each node watches HTTP and sends what it sees to the ingest port. On this host, as root:{' '}
          <code>redtap-agent run</code>; on another one, with <code>--to=tls+tcp://HOST:9471</code>.{' '}
          <code>redtap-agent check</code> tells what a host can do.
        </p>
        <p>
          <Link to={link('gaps')}>Setup step by step</Link>
        </p>
      </Empty>
    );
  if (d.fleet.counted === 0)
    return (
      <Empty title="The agents have seen no HTTP request yet">
        <p>
          {many(d.fleet.agents, 'agent')} reported, and none of them saw a request. Send one, for example with{' '}
          <code>curl</code> to a server on such a node: it shows up here within 2 seconds. HTTP/2, unix sockets and some TLS
          libraries are not seen: <Link to={link('gaps')}>what is not captured here</Link>.
        </p>
      </Empty>
    );
  if (d.fleet.up === 0)
    return (
      <Empty title="No agent is up">
        <p>
          No request ended in this time, and no agent was heard of within the last seconds.{' '}
          <Link to={link('agents')}>See the agents</Link>, or <Link to={here({ range: '86400', from: '', to: '' })}>show the last 24 hours</Link>.
        </p>
      </Empty>
    );
  return (
    <Empty title={'No request was ' + (d.role === 'client' ? 'made' : 'served') + ' in this time'}>
      <p>
        {count(d.fleet.counted)} requests were counted since the agents started, none of them here.{' '}
        <Link to={here({ range: '86400', from: '', to: '' })}>Show the last 24 hours</Link>
        {d.role === 'client' ? (
          <>
            {' '}
            or <Link to={here({ role: '' })}>those that were served</Link>.
          </>
        ) : (
          <>
            {' '}
            or <Link to={here({ role: 'client' })}>those that were made by clients</Link>.
          </>
        )}
      </p>
    </Empty>
  );
}

function List({ d }: { d: Services }) {
  const s = d.services;
  const role: Record<string, string> = d.role === 'client' ? { role: 'client' } : {};

  return (
    <>
      <Table
        caption="Services with rate, errors and durations"
        order="errors"
        rows={s.service.length}
        rowClass={(i) => (s.errors[i] > 0 ? 'has-errors' : '')}
        columns={[
          {
            key: 'service',
            label: 'Service',
            order: '-service',
            cell: (i) =>
              s.overflow[i] ? (
                <Name of={null} overflow />
              ) : (
                <Link to={serviceLink(s.service[i] || '', role)} class="strong">
                  <Name of={s.service[i]} />
                </Link>
              ),
          },
          {
            key: 'spark',
            label: 'Trend',
            class: 'wide',
            cell: (i) => <Spark points={rates(d.points.count[i], d)} errors={rates(d.points.errors[i], d)} />,
          },
          { key: 'rate', label: 'Rate', num: true, order: 'count', cell: (i) => <span title={s.rate[i] + ' per second'}>{rate(s.rate[i])}</span> },
          { key: 'count', label: 'Requests', num: true, order: 'count', class: 'wide', cell: (i) => count(s.count[i]) },
          {
            key: 'change',
            label: 'Change',
            num: true,
            class: 'wide',
            title: 'Requests against the period before',
            cell: (i) => <Change now={s.count[i]} before={s.count_before[i]} any={d.sum.count_before > 0} />,
          },
          { key: 'errors', label: 'Failed', num: true, order: 'errors', cell: (i) => count(s.errors[i]) },
          { key: 'ratio', label: 'Error ratio', num: true, order: 'error_ratio', cell: (i) => <Ratio of={s.error_ratio[i]} /> },
          { key: 'p50', label: 'p50', num: true, order: 'p50', class: 'wide', cell: (i) => <span title={exact(s.p50[i])}>{seconds(s.p50[i])}</span> },
          { key: 'p99', label: 'p99', num: true, order: 'p99', cell: (i) => <span title={exact(s.p99[i])}>{seconds(s.p99[i])}</span> },
          {
            key: 'worst',
            label: 'Worst instance',
            class: 'wide',
            title: 'The instance with the highest error ratio; if none has errors, the one with the highest p99',
            cell: (i) =>
              s.instances[i] < 2 ? (
                <span class="muted">{s.instances[i] === 1 ? 'one instance' : ''}</span>
              ) : (
                <span class="worst">
                  <Name of={s.worst_instance[i]} />
                  <span class={s.worst_error_ratio[i] > 0 ? 'bad-text' : 'muted'}>
                    {s.worst_error_ratio[i] > 0 ? percent(s.worst_error_ratio[i]) : seconds(s.worst_p99[i])}
                  </span>
                </span>
              ),
          },
        ]}
      />
      <More shown={s.service.length} total={d.total} what="services" />
    </>
  );
}
