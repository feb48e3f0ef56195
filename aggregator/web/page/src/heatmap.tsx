// SPDX-License-Identifier: Apache-2.0
// Latency over time: one cell per point in time and bucket of durations, the
// darker the more requests ended there. A cell is a button: it lists its
// requests. The arrow keys go from cell to cell.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clock, count, seconds, tidy } from './format';
import { dark, go, here, params, utc } from './state';
import type { Cells } from './types';

const ROW_PX = 10;
const LEFT_PX = 64;
const BOTTOM_PX = 22;

interface Place {
  t: number;
  row: number;
}

/** Buckets from the lowest to the highest that has any, without holes. */
function ladder(cells: Cells): { lower: number; upper: number; at: number }[] {
  const out: { lower: number; upper: number; at: number }[] = [];

  cells.lower.forEach((lower, i) => {
    const before = out[out.length - 1];

    // Buckets that are empty all the time are one thin row in between.
    if (before && before.upper > 0 && lower > before.upper * 1.0001)
      out.push({ lower: before.upper, upper: lower, at: -1 });
    out.push({ lower, upper: cells.upper[i], at: i });
  });
  return out;
}

function shades(): string[] {
  const style = getComputedStyle(document.documentElement);

  return Array.from({ length: 9 }, (_, i) => style.getPropertyValue('--heat-' + i).trim());
}

export function Heatmap(p: { start: number[]; step: number; cells: Cells }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [over, setOver] = useState<Place | null>(null);
  const [table, setTable] = useState(false);
  const rows = ladder(p.cells);
  const height = rows.length * ROW_PX + BOTTOM_PX;
  const most = Math.max(1, ...p.cells.count.map((c) => Math.max(0, ...c)));
  const cellW = (width - LEFT_PX) / Math.max(1, p.start.length);
  const isDark = dark.value;
  const isUtc = utc.value;
  const q = params.value;
  const chosen: Place | null = q.at
    ? { t: p.start.indexOf(Number(q.at)), row: rows.findIndex((r) => String(r.upper) === q.max) }
    : null;
  const mark = over || (chosen && chosen.t >= 0 && chosen.row >= 0 ? chosen : null);

  useLayoutEffect(() => {
    const el = box.current;

    if (!el) return undefined;
    const watch = new ResizeObserver(() => setWidth(el.clientWidth));

    setWidth(el.clientWidth);
    watch.observe(el);
    return () => watch.disconnect();
  }, [table]);

  useEffect(() => {
    const el = canvas.current;
    const g = el?.getContext('2d');

    if (!el || !g || !width) return;
    const scale = devicePixelRatio || 1;
    const style = getComputedStyle(document.documentElement);
    const shade = shades();

    el.width = width * scale;
    el.height = height * scale;
    g.scale(scale, scale);
    g.clearRect(0, 0, width, height);
    rows.forEach((row, r) => {
      const y = (rows.length - 1 - r) * ROW_PX;

      p.start.forEach((_, t) => {
        const n = row.at < 0 ? 0 : p.cells.count[row.at][t];
        const level = n === 0 ? 0 : 1 + Math.min(7, Math.floor((Math.log2(n + 1) / Math.log2(most + 1)) * 7.999));

        g.fillStyle = shade[level];
        g.fillRect(LEFT_PX + t * cellW, y, Math.max(1, cellW - 0.75), ROW_PX - 0.75);
      });
    });
    g.fillStyle = style.getPropertyValue('--muted');
    g.font = '11px system-ui, sans-serif';
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    const every = Math.max(1, Math.ceil(22 / ROW_PX));
    rows.forEach((row, r) => {
      if (r % every === 0 && row.at >= 0)
        g.fillText(tidy(seconds(row.upper)), LEFT_PX - 8, (rows.length - 1 - r) * ROW_PX + ROW_PX / 2);
    });
    g.textAlign = 'left';
    const ticks = Math.max(1, Math.ceil(70 / cellW));
    p.start.forEach((t, i) => {
      if (i % ticks === 0 && LEFT_PX + i * cellW < width - 40)
        g.fillText(clock(t).slice(0, p.step < 60 ? 8 : 5), LEFT_PX + i * cellW, height - BOTTOM_PX / 2);
    });
    if (mark) {
      g.strokeStyle = style.getPropertyValue('--text');
      g.lineWidth = 1.5;
      g.strokeRect(
        LEFT_PX + mark.t * cellW - 0.5,
        (rows.length - 1 - mark.row) * ROW_PX - 0.5,
        Math.max(2, cellW),
        ROW_PX,
      );
    }
  }, [p.cells, p.start, width, isDark, isUtc, mark?.t, mark?.row, table]);

  const place = (e: MouseEvent): Place | null => {
    const at = canvas.current!.getBoundingClientRect();
    const t = Math.floor((e.clientX - at.left - LEFT_PX) / cellW);
    const row = rows.length - 1 - Math.floor((e.clientY - at.top) / ROW_PX);

    return t >= 0 && t < p.start.length && row >= 0 && row < rows.length ? { t, row } : null;
  };
  const number = (c: Place) => (rows[c.row].at < 0 ? 0 : p.cells.count[rows[c.row].at][c.t]);
  const words = (c: Place) =>
    `${clock(p.start[c.t])}, ${seconds(rows[c.row].lower)} to ${seconds(rows[c.row].upper)}: ${count(number(c))}`;
  const choose = (c: Place | null) => {
    if (c && number(c) > 0) go(cellLink(p.start[c.t], rows[c.row].lower, rows[c.row].upper), true);
  };
  const onKey = (e: KeyboardEvent) => {
    const now = over || chosen || { t: p.start.length - 1, row: 0 };
    const step: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
    };

    if (e.key === 'Enter' || e.key === ' ') {
      e.preventDefault();
      choose(now);
    } else if (step[e.key]) {
      e.preventDefault();
      setOver({
        t: Math.min(p.start.length - 1, Math.max(0, now.t + step[e.key][0])),
        row: Math.min(rows.length - 1, Math.max(0, now.row + step[e.key][1])),
      });
    }
  };

  return (
    <figure class="chart heat">
      <figcaption>
        <strong>Latency</strong>
        <span class="legend" aria-live="polite">
          {mark ? <span>{words(mark)}</span> : <span class="muted">A cell lists its requests</span>}
        </span>
        <button type="button" class="quiet" aria-pressed={table} onClick={() => setTable(!table)}>
          {table ? 'Chart' : 'Table'}
        </button>
      </figcaption>
      {table ? (
        <HeatTable start={p.start} cells={p.cells} />
      ) : (
        <div ref={box} class="heat-box">
          <canvas
            ref={canvas}
            class="heat-canvas"
            height={height}
            tabIndex={0}
            role="application"
            aria-label={
              'Latency heatmap: ' +
              p.start.length +
              ' points in time, ' +
              p.cells.lower.length +
              ' ranges of durations. Arrow keys choose a cell, Enter lists its requests. The button Table shows all numbers.'
            }
            onMouseMove={(e) => setOver(place(e))}
            onMouseLeave={() => setOver(null)}
            onBlur={() => setOver(null)}
            onClick={(e) => choose(place(e))}
            onKeyDown={onKey}
          />
        </div>
      )}
    </figure>
  );
}

function cellLink(at: number, lower: number, upper: number): string {
  return here({ at: String(at), min: upper > 0 ? String(lower) : '', max: String(upper) });
}

function HeatTable(p: { start: number[]; cells: Cells }) {
  return (
    <div class="scroll twin" tabIndex={0} role="region" aria-label="Requests by time and duration">
      <table class="rows small">
        <caption class="off-screen">Requests by time and duration</caption>
        <thead>
          <tr>
            <th scope="col">Up to</th>
            {p.start.map((t) => (
              <th scope="col" class="num" key={t}>
                {clock(t)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {p.cells.upper.map((upper, r) => (
            <tr key={upper}>
              <th scope="row" title={upper + ' s'}>
                {seconds(upper)}
              </th>
              {p.start.map((t, i) => {
                const n = p.cells.count[r][i];

                return (
                  <td class="num" key={t}>
                    {n > 0 ? (
                      <a data-in href={cellLink(t, p.cells.lower[r], upper)}>
                        {count(n)}
                      </a>
                    ) : (
                      ''
                    )}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
