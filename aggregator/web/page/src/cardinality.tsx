// SPDX-License-Identifier: Apache-2.0
// Who makes the series: each view's budget, and which label and which service
// use it up.

import { useAsk, query } from './api';
import { count, many } from './format';
import { here, params } from './state';
import type { Cardinality } from './types';
import { Empty, Link, Loading, Name, Panel, Ratio, serviceLink, Table, Trouble } from './ui';

export function CardinalityView() {
  const answer = useAsk<Cardinality>('cardinality?' + query({ view: params.value.view }));
  const d = answer.data;

  return (
    <>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          <Views d={d} />
          {d.view && <One d={d} />}
        </div>
      )}
    </>
  );
}

function Views({ d }: { d: Cardinality }) {
  const v = d.views;
  const series = v.series.reduce((a, b) => a + b, 0);

  return (
    <Panel title="Cardinality" note={many(series, 'series', 'series') + ' in ' + many(v.name.length, 'metric')}>
      <Table
        caption="Metrics with their series and budgets"
        rows={v.name.length}
        rowClass={(i) => (v.overflowed[i] > 0 ? 'has-errors' : v.name[i] === d.view ? 'chosen' : '')}
        columns={[
          {
            key: 'name',
            label: 'Metric',
            cell: (i) => (
              <Link to={here({ view: v.name[i] })} class="strong mono">
                <bdi>{v.name[i]}</bdi>
              </Link>
            ),
          },
          { key: 'kind', label: 'Kind', class: 'wide', cell: (i) => v.kind[i] },
          { key: 'series', label: 'Series', num: true, cell: (i) => count(v.series[i]) },
          { key: 'limit', label: 'Budget', num: true, class: 'wide', cell: (i) => count(v.limit[i]) },
          { key: 'used', label: 'Used', num: true, cell: (i) => <Ratio of={v.limit[i] ? v.series[i] / v.limit[i] : 0} tone={v.series[i] > 0.8 * v.limit[i] ? 'bad' : 'ok'} /> },
          { key: 'demand', label: 'Asked for', num: true, class: 'wide', title: 'Distinct label sets ever asked for, estimated', cell: (i) => count(v.demand[i]) },
          { key: 'over', label: 'Overflowed', num: true, title: 'Requests that went to the overflow series', cell: (i) => count(v.overflowed[i]) },
          { key: 'idle', label: 'Idle', num: true, class: 'wide', title: 'Series that are not exposed because nothing was counted in them for long', cell: (i) => count(v.idle[i]) },
          { key: 'worst', label: 'Asks most', class: 'wide', cell: (i) => (v.worst_job[i] ? <Name of={v.worst_job[i]} /> : '') },
        ]}
      />
    </Panel>
  );
}

function One({ d }: { d: Cardinality }) {
  const l = d.labels;

  return (
    <>
      <h2 class="mono view-name">
        <bdi>{d.view}</bdi>
      </h2>
      <div class="halves">
        <Panel title="Labels" note="distinct values">
          <Table
            caption={'Labels of ' + d.view}
            small
            rows={l.label.length}
            columns={[
              { key: 'label', label: 'Label', class: 'mono', cell: (i) => l.label[i] },
              { key: 'values', label: 'Values', num: true, cell: (i) => count(l.values[i]) },
              { key: 'demand', label: 'Asked for', num: true, cell: (i) => count(l.demand[i]) },
              { key: 'limit', label: 'Budget', num: true, cell: (i) => count(l.limit[i]) },
              { key: 'used', label: 'Used', num: true, cell: (i) => <Ratio of={l.limit[i] ? l.values[i] / l.limit[i] : 0} tone={l.values[i] > 0.8 * l.limit[i] ? 'bad' : 'ok'} /> },
            ]}
          />
        </Panel>
        <Panel title="Services that ask for most" note="label sets, granted or not, estimated">
          {d.askers.job.length === 0 ? (
            <Empty title="No service asked yet">
              <p>This metric has no label for services, or nothing that it counts was seen.</p>
            </Empty>
          ) : (
            <Table
              caption="Services by label sets asked for"
              small
              rows={d.askers.job.length}
              columns={[
                {
                  key: 'job',
                  label: 'Service',
                  cell: (i) => (
                    <Link to={serviceLink(d.askers.job[i])}>
                      <Name of={d.askers.job[i]} />
                    </Link>
                  ),
                },
                { key: 'series', label: 'Label sets', num: true, cell: (i) => count(d.askers.series[i]) },
              ]}
            />
          )}
        </Panel>
      </div>
      <Panel title="Top values" note="by series">
        {d.values.label.length === 0 ? (
          <Empty title="No series yet">
            <p>This metric has no series: nothing that it counts was seen.</p>
          </Empty>
        ) : (
          <div class="values">
            {l.label.map((label) => {
              const rows = d.values.label.map((x, i) => (x === label ? i : -1)).filter((i) => i >= 0);
              const most = Math.max(1, ...rows.map((i) => d.values.series[i]));

              return (
                rows.length > 0 && (
                  <section key={label} aria-label={label}>
                    <h3 class="mono">{label}</h3>
                    <ol>
                      {rows.map((i) => (
                        <li key={i}>
                          <svg class="back-bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                            <rect width={(d.values.series[i] / most) * 100} height="10" class="fill-blue-light" />
                          </svg>
                          <Name of={d.values.value[i]} />
                          <b>{count(d.values.series[i])}</b>
                        </li>
                      ))}
                    </ol>
                  </section>
                )
              );
            })}
          </div>
        )}
      </Panel>
    </>
  );
}
