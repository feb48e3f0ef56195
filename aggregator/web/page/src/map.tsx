// SPDX-License-Identifier: Apache-2.0
// Who calls whom: a service and its neighbours, or all of a small fleet, in
// layers. Beyond 150 nodes a map says nothing: then it is a table.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useAsk, query } from './api';
import { count, many, percent, rate, seconds } from './format';
import type { Placed, Wanted } from './layout';
import { EdgeTable } from './service';
import { here, link, params, rangeQuery } from './state';
import type { Edges, Graph } from './types';
import { Choice, Crumbs, Empty, Filter, Link, Loading, Panel, serviceLink, Toggle, Trouble } from './ui';

declare const LAYOUT_WORKER: string;

const MOST = 150;
const NODE_H = 44;

// A worker's address is a script to the browser: only this one may be.
interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown };
}
const policies = (self as unknown as { trustedTypes?: Policies }).trustedTypes;
const policy = policies?.createPolicy('redtap', {
  createScriptURL: (url) => {
    if (url !== LAYOUT_WORKER) throw new TypeError('not our worker');
    return url;
  },
});

let worker: Worker | null = null;
let turn = 0;

function ask(wanted: Wanted, then: (p: Placed) => void): () => void {
  const id = ++turn;
  const listen = (e: MessageEvent<{ id: number; placed: Placed }>) => {
    if (e.data.id === id) {
      stop();
      then(e.data.placed);
    }
  };
  const stop = () => worker?.removeEventListener('message', listen);

  worker ||= new Worker((policy ? policy.createScriptURL(LAYOUT_WORKER) : LAYOUT_WORKER) as string);
  worker.addEventListener('message', listen);
  worker.postMessage({ id, wanted });
  return stop;
}

function named(d: Graph): Edges {
  return {
    ...d.edges,
    client: d.edges.client.map((i) => d.nodes.name[i]),
    server: d.edges.server.map((i) => d.nodes.name[i]),
  };
}

/** Edges with less than one request in a hundred of their client's go together. */
function thin(d: Graph): { hidden: Set<number>; byClient: Map<number, number> } {
  const all = new Map<number, number>();
  const hidden = new Set<number>();
  const byClient = new Map<number, number>();

  d.edges.client.forEach((c, i) => all.set(c, (all.get(c) || 0) + d.edges.count[i]));
  d.edges.client.forEach((c, i) => {
    const e = d.edges;
    const focused = d.focus !== null && (d.nodes.name[c] === d.focus || d.nodes.name[e.server[i]] === d.focus);

    if (!focused && e.failed[i] === 0 && e.count[i] < 0.01 * all.get(c)!) hidden.add(i);
  });
  // One that would hide alone saves nothing.
  for (const i of hidden) byClient.set(d.edges.client[i], (byClient.get(d.edges.client[i]) || 0) + 1);
  for (const i of [...hidden])
    if (byClient.get(d.edges.client[i])! < 2) {
      hidden.delete(i);
      byClient.delete(d.edges.client[i]);
    }
  return { hidden, byClient };
}

export function MapView() {
  const p = params.value;
  const answer = useAsk<Graph>(
    'graph?' + rangeQuery.value + '&' + query({ focus: p.focus, hops: p.hops, by: p.by, errors: p.errors, limit: MOST + 1 }),
  );
  const d = answer.data;

  return (
    <>
      <div class="title">
        <Crumbs of={p.focus ? [['Map', link('map')], [p.focus, null]] : [['Map', null]]} />
        <div class="tools">
          {p.focus && (
            <Choice
              label="Hops"
              name="hops"
              none="1"
              of={[
                ['1', '1 hop'],
                ['2', '2 hops'],
                ['3', '3 hops'],
              ]}
            />
          )}
          <Choice
            label="Group by"
            name="by"
            none="service"
            of={[
              ['service', 'Services'],
              ['namespace', 'Namespaces'],
            ]}
          />
          <Toggle name="errors" label="Only errors" />
          {p.focus && (
            <Link to={serviceLink(p.focus)} class="button">
              Service
            </Link>
          )}
        </div>
      </div>
      <Trouble error={answer.error} again={answer.again} />
      {!d ? (
        !answer.error && <Loading />
      ) : (
        <div class={'view' + (answer.stale ? ' stale' : '')}>
          {d.total_edges === 0 ? (
            <Panel title="Map">
              <NoEdges d={d} />
            </Panel>
          ) : d.total_nodes > MOST ? (
            <TooMany d={d} />
          ) : (
            <Picture d={d} />
          )}
        </div>
      )}
    </>
  );
}

function NoEdges({ d }: { d: Graph }) {
  if (params.value.errors)
    return (
      <Empty title="No failed call in this time">
        <p>
          <Link to={here({ errors: '' })}>Show all calls</Link>
        </p>
      </Empty>
    );
  return (
    <Empty title={d.focus ? 'No calls to or from it in this time' : 'No calls in this time'}>
      <p>
        An edge is a request whose connection an agent saw, at one end at least. The two ends are put together when both have arrived, and an
        end that stays alone becomes an edge 15 seconds after its time, with the next traffic.{' '}
        <Link to={here({ range: '86400', from: '', to: '', focus: '' })}>Show the last 24 hours</Link>
      </p>
    </Empty>
  );
}

function TooMany({ d }: { d: Graph }) {
  const q = (params.value.filter || '').toLowerCase();
  const e = named(d);
  const rows = e.client
    .map((_, i) => i)
    .filter((i) => !q || (e.client[i] || '').toLowerCase().includes(q) || (e.server[i] || '').toLowerCase().includes(q))
    .slice(0, 200);

  return (
    <Panel
      title="Calls"
      note={many(d.total_nodes, 'node') + ' are too many for a map: choose a service, or group by namespace'}
      tools={<Filter label="Filter services" />}
    >
      <EdgeTable caption="Calls between services" rows={rows} e={e} name="both" kinds={(i, side) => d.nodes.kind[d.edges[side][i]]} />
    </Panel>
  );
}

function width(name: string): number {
  return Math.min(220, Math.max(96, 24 + name.length * 7.2));
}

function clip(name: string): string {
  return name.length > 27 ? name.slice(0, 26) + '…' : name;
}

const BAD = 0.01;

/** Red from this share of failures on, amber below. */
function toneOf(failed: number, total: number): string {
  return failed === 0 ? '' : failed >= BAD * total ? 'bad' : 'some';
}

function Legend() {
  const line = (tone: string) => (
    <svg width="26" height="8" aria-hidden="true">
      <path d="M1 4H25" class={'edge ' + tone} stroke-width="2.5" />
    </svg>
  );

  return (
    <p class="map-legend">
      <span>{line('bad')} 1 % or more failed</span>
      <span>{line('some')} some failed</span>
      <span>{line('one-sided')} only one side is watched</span>
      <span>The thicker, the more requests. A service leads to its neighbours.</span>
    </p>
  );
}

/** A smooth line through the points, bending halfway between each two. */
function path(points: { x: number; y: number }[]): string {
  if (points.length < 2) return '';
  let d = `M${points[0].x} ${points[0].y}`;

  for (let i = 1; i < points.length; i++) {
    const a = points[i - 1];
    const b = points[i];
    const mid = (a.x + b.x) / 2;

    d += `C${mid} ${a.y} ${mid} ${b.y} ${b.x} ${b.y}`;
  }
  return d;
}

function Picture({ d }: { d: Graph }) {
  const e = named(d);
  const { hidden, byClient } = useMemo(() => thin(d), [d]);
  const wanted = useMemo<Wanted>(() => {
    const order = d.nodes.name.map((_, i) => i).sort((a, b) => ((d.nodes.name[a] || '') < (d.nodes.name[b] || '') ? -1 : 1));
    const used = new Set<number>();

    d.edges.client.forEach((c, i) => {
      if (!hidden.has(i)) used.add(c).add(d.edges.server[i]);
    });
    const edges = d.edges.client
      .map((c, i) => ({ from: String(c), to: String(d.edges.server[i]), i }))
      .filter((x) => !hidden.has(x.i));
    for (const c of byClient.keys()) used.add(c);
    return {
      nodes: [
        ...order.filter((i) => used.has(i)).map((i) => ({ id: String(i), width: width(d.nodes.name[i] || ''), height: NODE_H })),
        ...[...byClient].map(([c]) => ({ id: 'other' + c, width: 96, height: 30 })),
      ],
      edges: [
        ...edges.map(({ from, to }) => ({ from, to })),
        ...[...byClient].map(([c]) => ({ from: String(c), to: 'other' + c })),
      ],
    };
  }, [d]);
  // Placed again only if nodes or edges have changed, not with each refresh.
  const key = JSON.stringify([
    wanted.nodes.map((n) => (n.id.startsWith('other') ? 'other ' + d.nodes.name[Number(n.id.slice(5))] : d.nodes.name[Number(n.id)])),
    wanted.edges.map((x) => [d.nodes.name[Number(x.from)], x.to.startsWith('other') ? x.to.slice(0, 5) : d.nodes.name[Number(x.to)]]),
  ]);
  const [placed, set] = useState<{ key: string; wanted: Wanted; at: Placed } | null>(null);
  const latest = useRef(wanted);
  latest.current = wanted;

  useEffect(() => ask(latest.current, (at) => set({ key, wanted: latest.current, at })), [key]);

  const shown = e.client.map((_, i) => i);
  return (
    <>
      <Panel
        title="Map"
        class="map-panel"
        note={`${many(d.total, 'request')}, ${many(d.total_nodes, 'node')}, ${many(d.total_edges, 'edge')}`}
      >
        {placed && placed.key === key ? (
          <>
            <Drawing d={d} wanted={wanted} at={placed.at} hidden={hidden} byClient={byClient} />
            <Legend />
          </>
        ) : (
          <Loading />
        )}
      </Panel>
      <Panel title="Calls" note="the same as a table">
        <EdgeTable caption="Calls between services" rows={shown} e={e} name="both" kinds={(i, side) => d.nodes.kind[d.edges[side][i]]} />
      </Panel>
    </>
  );
}

function Drawing(p: { d: Graph; wanted: Wanted; at: Placed; hidden: Set<number>; byClient: Map<number, number> }) {
  const { d, at, wanted } = p;
  const edges = d.edges.client.map((_, i) => i).filter((i) => !p.hidden.has(i));
  const most = Math.max(1, ...edges.map((i) => d.edges.count[i]));
  const span = d.to - d.from;
  const [hot, setHot] = useState<string | null>(null);

  return (
    <div class="map-scroll" tabIndex={0} role="region" aria-label="Map of calls; the table below has the same">
      <svg class="map" viewBox={`0 0 ${at.width} ${at.height}`} width={at.width} height={at.height} role="group" aria-label="Map of calls" data-map>
        <defs>
          {['', '-some', '-bad'].map((tone) => (
            <marker key={tone} id={'arrow' + tone} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
              <path d="M0 0L8 4L0 8Z" class={'arrow-head' + tone} />
            </marker>
          ))}
        </defs>
        {at.edges.map((points, k) => {
          const i = edges[k];
          const other = i === undefined;
          const tone = other ? '' : toneOf(d.edges.failed[i], d.edges.count[i]);
          const ends = wanted.edges[k];
          const lit = hot !== null && (ends.from === hot || ends.to === hot);

          return (
            <path
              key={k}
              d={path(points)}
              class={'edge ' + tone + (other || d.edges.one_sided[i] ? ' one-sided' : '') + (hot && !lit ? ' dim' : '')}
              stroke-width={other ? 1 : 1.2 + 3.3 * Math.sqrt(d.edges.count[i] / most)}
              marker-end={tone ? `url(#arrow-${tone})` : 'url(#arrow)'}
            >
              <title>
                {other
                  ? 'Calls with less than 1 % of its requests'
                  : `${d.nodes.name[d.edges.client[i]]} → ${d.nodes.name[d.edges.server[i]]}: ${rate(d.edges.rate[i])}, ${percent(
                      d.edges.count[i] ? d.edges.failed[i] / d.edges.count[i] : 0,
                    )} failed, p99 ${seconds(d.edges.server_p99[i] ?? d.edges.client_p99[i])}`}
              </title>
            </path>
          );
        })}
        {wanted.nodes.map((n, k) => {
          const { x, y } = at.nodes[k];
          const left = x - n.width / 2;
          const top = y - n.height / 2;

          if (n.id.startsWith('other'))
            return (
              <g key={n.id} class="node other" transform={`translate(${left} ${top})`}>
                <rect width={n.width} height={n.height} rx="8" />
                <text x={n.width / 2} y="19" class="node-name">
                  other ({p.byClient.get(Number(n.id.slice(5)))})
                </text>
              </g>
            );
          const i = Number(n.id);
          const name = d.nodes.name[i] || '–';
          const kind = d.nodes.kind[i];
          const total = d.nodes.count[i];
          const ratio = total ? d.nodes.errors[i] / total : 0;
          const focus = name === d.focus;
          const body = (
            <g
              class={`node ${kind}${focus ? ' focus' : ''} ${toneOf(d.nodes.errors[i], total)}`}
              transform={`translate(${left} ${top})`}
              onMouseEnter={() => setHot(n.id)}
              onMouseLeave={() => setHot(null)}
            >
              <title>{`${name}: ${count(total)} requests, ${percent(ratio)} failed`}</title>
              <rect width={n.width} height={n.height} rx="9" />
              {ratio > 0 && <rect class="node-errors" x="0" y={n.height - 4} width={Math.max(6, n.width * ratio)} height="4" rx="2" />}
              <text x={n.width / 2} y={total ? 19 : 27} class="node-name">
                {clip(name)}
              </text>
              {total > 0 && (
                <text x={n.width / 2} y="33" class="node-sub">
                  {rate(total / span)}
                  {ratio > 0 ? ' · ' + percent(ratio) : ''}
                </text>
              )}
            </g>
          );

          return kind === 'service' || kind === 'namespace' ? (
            <a
              key={n.id}
              data-in
              data-node={name}
              data-at={x + ',' + y}
              href={kind === 'service' ? (focus ? serviceLink(name) : here({ focus: name, filter: '' })) : here({ by: '', focus: '', filter: name })}
            >
              {body}
            </a>
          ) : (
            <g key={n.id} data-node={name} data-at={x + ',' + y}>
              {body}
            </g>
          );
        })}
      </svg>
    </div>
  );
}
