// SPDX-License-Identifier: Apache-2.0
// One row per node: whether its agent is up, and whether all it saw arrived.

import { useAsk, query } from './api';
import { ago, count, exact, many, seconds, time } from './format';
import { here, link, params } from './state';
import type { Agents } from './types';
import { Choice, Empty, Filter, Link, Loading, More, Name, Panel, Table, Trouble } from './ui';

export function AgentsView() {
  const p = params.value;
  const answer = useAsk<Agents>('agents?' + query({ order: p.sort, filter: p.filter, limit: p.limit || 100 }));
  const d = answer.data;

  return (
    <>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          <Panel
            title="Agents"
            note={d.up + ' of ' + many(d.total, 'agent') + ' up'}
            tools={
              <>
                <Choice
                  label="Order"
                  name="sort"
                  none="-node"
                  of={[
                    ['-node', 'By name'],
                    ['dropped', 'Losses first'],
                    ['-up', 'Down first'],
                  ]}
                />
                <Filter label="Filter nodes" />
              </>
            }
          >
            {d.total === 0 ? (
              p.filter ? (
                <Empty title="No node matches">
                  <p>
                    No agent’s name has “{p.filter}” in it. <Link to={here({ filter: '' })}>Show all agents</Link>
                  </p>
                </Empty>
              ) : (
                <Empty title="No agent has reported yet">
                  <p>
                    Run <code>redtap-agent run --to=tls+tcp://HOST:9471</code> on each node, or <code>redtap-agent run</code> on this
                    one. <Link to={link('gaps')}>Setup step by step</Link>
                  </p>
                </Empty>
              )
            ) : (
              <List d={d} />
            )}
          </Panel>
        </div>
      )}
    </>
  );
}

function lost(d: Agents, i: number): string {
  return Object.keys(d.dropped)
    .filter((stage) => d.dropped[stage][i] > 0)
    .map((stage) => stage + ' ' + count(d.dropped[stage][i]))
    .join(', ');
}

function List({ d }: { d: Agents }) {
  const a = d.agents;

  return (
    <>
      <Table
        caption="Agents by node"
        order="-node"
        rows={a.node.length}
        rowClass={(i) => (a.up[i] ? (a.dropped[i] > 0 ? 'has-warning' : '') : 'has-errors')}
        columns={[
          {
            key: 'node',
            label: 'Node',
            order: '-node',
            cell: (i) => (
              <Link to={link('requests', { node: a.node[i] })} class="strong">
                <Name of={a.node[i]} />
              </Link>
            ),
          },
          {
            key: 'up',
            label: 'State',
            order: '-up',
            cell: (i) => <span class={'state ' + (a.up[i] ? 'up' : 'down')}>{a.up[i] ? 'up' : 'down'}</span>,
          },
          {
            key: 'seen',
            label: 'Last heard',
            cell: (i) => <span title={time(a.last_seen[i], true)}>{ago(a.last_seen[i], d.now)}</span>,
          },
          { key: 'captured', label: 'Captured', num: true, order: 'captured', cell: (i) => count(a.captured[i]) },
          { key: 'counted', label: 'Counted', num: true, order: 'counted', cell: (i) => count(a.counted[i]) },
          {
            key: 'dropped',
            label: 'Lost',
            num: true,
            order: 'dropped',
            cell: (i) => (
              <span class={a.dropped[i] ? 'bad-text' : ''} title={lost(d, i)}>
                {count(a.dropped[i])}
              </span>
            ),
          },
          {
            key: 'flight',
            label: 'On the way',
            num: true,
            class: 'wide',
            title: 'Captured and neither counted nor lost: in the agent’s outbox',
            cell: (i) => count(a.in_flight[i]),
          },
          {
            key: 'skew',
            label: 'Clock',
            num: true,
            class: 'wide',
            title: 'The agent’s clock minus the aggregator’s',
            cell: (i) => (
              <span class={Math.abs(a.skew[i]) > 1 ? 'warn-text' : ''} title={exact(a.skew[i])}>
                {seconds(a.skew[i])}
              </span>
            ),
          },
          { key: 'capture', label: 'Capture', class: 'wide', cell: (i) => <Name of={a.capture[i]} /> },
          {
            key: 'probes',
            label: 'Probes',
            class: 'wide',
            cell: (i) => (
              <span title={a.probes_failed[i].join(', ')} class={a.probes_failed[i].length ? 'warn-text' : ''}>
                {a.probes[i] - a.probes_failed[i].length} of {a.probes[i]}
              </span>
            ),
          },
          { key: 'version', label: 'Version', class: 'wide', cell: (i) => <Name of={a.version[i]} /> },
          { key: 'kernel', label: 'Kernel', class: 'wide', cell: (i) => <Name of={a.kernel[i]} /> },
        ]}
      />
      <More shown={a.node.length} total={d.total} what="agents" step={100} />
    </>
  );
}
