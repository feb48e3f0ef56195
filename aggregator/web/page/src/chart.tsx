// SPDX-License-Identifier: Apache-2.0
// Lines over time by uPlot, with a legend that follows the pointer and a table
// of the same numbers for those who do not see lines.

import uPlot from 'uplot';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clock, day, NONE, short, tidy } from './format';
import { calm, dark, go, here, utc } from './state';

export interface Line {
  label: string;
  /** A custom property of the style sheet, without the dashes. */
  color: string;
  values: (number | null)[];
  area?: boolean;
  dash?: boolean;
}

const HEIGHT = 176;

function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
}

/** What is dragged over becomes the time range. */
function onSelect(step: number) {
  return (u: uPlot) => {
    if (u.select.width < 8) return;
    const from = Math.floor(u.posToVal(u.select.left, 'x') / step) * step;
    const to = Math.ceil(u.posToVal(u.select.left + u.select.width, 'x') / step) * step;

    go(here({ from: String(from), to: String(Math.max(to, from + step)), range: '' }));
  };
}

function options(
  lines: Line[],
  format: (v: number | null) => string,
  step: number,
  width: number,
  onCursor: (i: number | null) => void,
  stacked: boolean,
): uPlot.Options {
  const grid = { stroke: token('grid'), width: 1 };
  const text = token('muted');
  const font = '11px system-ui, sans-serif';

  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    tzDate: (t) => (utc.peek() ? uPlot.tzDate(new Date(t * 1000), 'UTC') : new Date(t * 1000)),
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, setScale: false }, sync: { key: 'redtap' } },
    scales: { y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.08 : 1] } },
    axes: [
      { stroke: text, grid: { show: false }, ticks: { ...grid, size: 4 }, font, size: 28, values: timeLabels },
      { stroke: text, grid, ticks: { show: false }, font, size: 62, values: (_u, v) => v.map((n) => tidy(format(n))) },
    ],
    series: [
      {},
      ...lines.map((l) => ({
        label: l.label,
        stroke: token(l.color),
        width: 1.75,
        fill: l.area ? token(l.color + '-fill') || undefined : undefined,
        dash: l.dash ? [5, 4] : undefined,
        points: { show: lines[0].values.length < 3 },
        spanGaps: !stacked,
      })),
    ],
    hooks: {
      setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
      setSelect: [onSelect(step)],
    },
  };
}

function timeLabels(_u: uPlot, at: number[]): string[] {
  const span = at.length > 1 ? at[at.length - 1] - at[0] : 0;
  let before = '';

  return at.map((t) => {
    const d = day(t);
    const c = clock(t);
    const text = span > 86400 * 2 ? d.slice(5) : c.slice(span < 600 ? 0 : 0, span < 300 ? 8 : 5);
    const out = before && d !== before && span <= 86400 * 2 ? d.slice(5) : text;

    before = d;
    return out;
  });
}

export function Chart(p: {
  title: string;
  start: number[];
  step: number;
  lines: Line[];
  format: (v: number | null) => string;
  stacked?: boolean;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const [table, setTable] = useState(false);
  const isDark = dark.value;
  const isUtc = utc.value;
  const names = p.lines.map((l) => l.label + l.color).join('|');
  const shape = names + isDark + isUtc + p.step + table;
  const data = (): uPlot.AlignedData => [p.start, ...p.lines.map((l) => l.values)] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;

  useLayoutEffect(() => {
    const el = box.current;

    if (!el || table) return undefined;
    const u = new uPlot(
      options(p.lines, p.format, p.step, Math.max(240, el.clientWidth), setAt, !!p.stacked),
      latest.current(),
      el,
    );
    const watch = new ResizeObserver(() => {
      if (el.clientWidth > 0) u.setSize({ width: Math.max(200, el.clientWidth), height: HEIGHT });
    });

    plot.current = u;
    watch.observe(el);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => {
    plot.current?.setData(latest.current());
  }, [p.start, p.lines]);

  const shown = at !== null && at < p.start.length ? at : null;
  return (
    <figure class="chart">
      <figcaption>
        <strong>{p.title}</strong>
        <span class="legend">
          {p.lines.map((l) => (
            <span key={l.label} class="key">
              <svg width="10" height="10" aria-hidden="true">
                <rect width="10" height="10" rx="2.5" class={'fill-' + l.color} />
              </svg>
              {l.label}
              <b>{shown === null ? '' : p.format(l.values[shown])}</b>
            </span>
          ))}
          {shown !== null && <span class="muted">{clock(p.start[shown])}</span>}
        </span>
        <button type="button" class="quiet" aria-pressed={table} onClick={() => setTable(!table)}>
          {table ? 'Chart' : 'Table'}
        </button>
      </figcaption>
      {table ? (
        <ChartTable {...p} />
      ) : (
        <div ref={box} class={'plot' + (calm ? ' calm' : '')} role="img" aria-label={p.title + ': ' + summary(p)} />
      )}
    </figure>
  );
}

function summary(p: { lines: Line[]; format: (v: number | null) => string; start: number[] }): string {
  return (
    p.lines
      .map((l) => {
        const v = l.values.filter((x): x is number => x !== null);

        return l.label + (v.length ? ' from ' + p.format(Math.min(...v)) + ' to ' + p.format(Math.max(...v)) : ' ' + NONE);
      })
      .join(', ') + '. The button Table shows all numbers.'
  );
}

function ChartTable(p: { title: string; start: number[]; lines: Line[]; format: (v: number | null) => string }) {
  return (
    <div class="scroll twin" tabIndex={0} role="region" aria-label={p.title}>
      <table class="rows small">
        <caption class="off-screen">{p.title}</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            {p.lines.map((l) => (
              <th scope="col" class="num" key={l.label}>
                {l.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {p.start.map((t, i) => (
            <tr key={t}>
              <th scope="row">
                {day(t).slice(5)} {clock(t)}
              </th>
              {p.lines.map((l) => (
                <td class="num" key={l.label}>
                  {p.format(l.values[i])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export const axis = {
  count: (v: number | null) => (v === null ? NONE : short(v)),
};
