// SPDX-License-Identifier: Apache-2.0
// What is not seen or not counted, and why; and how to set things up.

import { useAsk } from './api';
import { bytes, count, many, seconds, time } from './format';
import { link } from './state';
import type { Gaps, Status } from './types';
import { Empty, Link, Loading, Name, Panel, Table, Trouble } from './ui';

export function GapsView() {
  const answer = useAsk<Gaps>('gaps');
  const d = answer.data;

  return (
    <>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class="view">
          <Panel title="Gaps" note={d.gaps.code.length ? many(d.gaps.code.length, 'finding') : undefined}>
            {d.agents === 0 ? (
              <Empty title="No agent has reported yet">
                <p>What is not captured is told by the agents. The steps below bring the first one up.</p>
              </Empty>
            ) : d.gaps.code.length === 0 ? (
              <Empty title="Nothing is known to be missing">
                <p>All probes are attached, nothing was lost, and no agent met traffic that it cannot read.</p>
              </Empty>
            ) : (
              <List d={d} />
            )}
          </Panel>
          <Setup agents={d.agents} />
        </div>
      )}
    </>
  );
}

function List({ d }: { d: Gaps }) {
  const g = d.gaps;
  const c = d.codes;

  return (
    <>
      {c.code.map((code, k) => {
        const rows = g.code.map((x, i) => (x === code ? i : -1)).filter((i) => i >= 0);
        const severity = g.severity[rows[0]];
        const total = rows.reduce((a, i) => a + g.count[i], 0);

        return (
          <details key={code} class={'gap ' + severity} open={k < 3}>
            <summary>
              <span class={'tag ' + severity}>{severity === 'loss' ? 'lost' : severity === 'gap' ? 'not seen' : 'note'}</span>
              <strong>{c.title[k]}</strong>
              <span class="muted">
                {count(total)} on {many(rows.length, 'node')}
              </span>
            </summary>
            <p>{c.what[k]}</p>
            <p>
              <strong>What to do: </strong>
              {c.advice[k]} <span class="muted">See {c.doc[k]}.</span>
            </p>
            <Table
              caption={c.title[k] + ' by node'}
              small
              rows={Math.min(rows.length, 20)}
              columns={[
                { key: 'node', label: 'Node', cell: (r) => <Name of={g.node[rows[r]]} /> },
                { key: 'count', label: 'Count', num: true, cell: (r) => count(g.count[rows[r]]) },
                { key: 'detail', label: 'Detail', cell: (r) => <Name of={g.detail[rows[r]]} /> },
              ]}
            />
          </details>
        );
      })}
    </>
  );
}

function Setup({ agents }: { agents: number }) {
  const answer = useAsk<Status>('status');
  const d = answer.data;
  const job = `scrape_configs:
  - job_name: redtap
    honor_labels: true
    metrics_path: ${d ? d.telemetry_path : '/metrics'}
    static_configs: [{targets: ['${location.host}']}]`;

  return (
    <div class="halves">
      <Panel title="Setup">
        <ol class="steps">
          <li class={agents > 0 ? 'done' : ''}>
            <strong>An agent on each node</strong>
            <p>
              <code>redtap-agent check</code> tells what a host can do, <code>redtap-agent run --to=tls+tcp://HOST:9471</code> watches it.
              Beyond one host the ingest port needs TLS: docs/man/redtap-aggregator.8, “Flags”.
            </p>
          </li>
          <li class={d && d.requests.counted > 0 ? 'done' : ''}>
            <strong>Requests</strong>
            <p>
              Any HTTP request of a watched node shows up within 2 seconds. None? <Link to={link('agents')}>Are the agents up</Link>, and
              do their probes attach?
            </p>
          </li>
          <li>
            <strong>Prometheus</strong>
            <p>One target for the whole fleet; rules, alerts and a dashboard are in deploy/prometheus and deploy/grafana.</p>
            <pre tabIndex={0} aria-label="Scrape configuration">
              {job}
            </pre>
          </li>
          <li>
            <strong>The first five minutes</strong>
            <p>
              Connections that are older than the agent count from their next request on; edges appear when both sides were matched, 15
              seconds later; changes against the period before need two periods.
            </p>
          </li>
        </ol>
      </Panel>
      <Panel title="This aggregator">
        <Trouble error={answer.error} again={answer.again} />
        {d && (
          <dl class="facts">
            <Fact name="State">
              <span class={'state ' + (d.ready ? 'up' : 'down')}>{d.ready ? 'ready' : 'not ready'}</span> {d.why}
            </Fact>
            <Fact name="Version">
              {d.version} ({d.revision})
            </Fact>
            <Fact name="Up">{seconds(Math.round(d.now - d.started))}</Fact>
            <Fact name="Configuration">
              {d.config.successful ? 'in force since ' : 'the last reload failed; in force since '}
              {time(d.config.loaded)}
            </Fact>
            <Fact name="Agents">
              {d.agents.up} of {d.agents.total} up
            </Fact>
            <Fact name="Requests">
              {count(d.requests.captured)} captured, {count(d.requests.counted)} counted, {count(d.requests.dropped)} lost
            </Fact>
            <Fact name="Store">{bytes(d.store.bytes)}</Fact>
            <Fact name="Raw log">
              {bytes(d.store.log_bytes)} in {many(d.store.log_batches, 'batch', 'batches')}
              {d.store.log_first !== null && ' since ' + time(d.store.log_first)}; kept for {seconds(d.store.retention.log_s)} or{' '}
              {bytes(d.store.retention.log_bytes)}
            </Fact>
            <Fact name="Windows">
              {count(d.store.windows)} rows
              {d.store.windows_first !== null && ' since ' + time(d.store.windows_first)}; kept for {seconds(d.store.retention.windows_s)} or{' '}
              {bytes(d.store.retention.windows_bytes)}
            </Fact>
            <Fact name="Series">
              {count(d.views.series.reduce((a, b) => a + b, 0))} in {many(d.views.name.length, 'metric')}:{' '}
              <Link to={link('cardinality')}>Cardinality</Link>
            </Fact>
          </dl>
        )}
      </Panel>
    </div>
  );
}

function Fact(p: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{p.name}</dt>
      <dd>{p.children}</dd>
    </div>
  );
}
