// SPDX-License-Identifier: Apache-2.0
// What the views are built of.

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { ApiError } from './api';
import { count, NONE, percent } from './format';
import { go, here, link, params } from './state';

type Children = ComponentChildren;

export function Link(p: { to: string; class?: string; title?: string; current?: boolean; children: Children }) {
  return (
    <a href={p.to} data-in class={p.class} title={p.title} aria-current={p.current ? 'page' : undefined}>
      {p.children}
    </a>
  );
}

export function Panel(p: { title: string; note?: Children; tools?: Children; class?: string; children: Children }) {
  return (
    <section class={'panel ' + (p.class || '')} aria-label={p.title}>
      <header class="panel-head">
        <h2>{p.title}</h2>
        {p.note && <span class="muted">{p.note}</span>}
        {p.tools && <div class="tools">{p.tools}</div>}
      </header>
      {p.children}
    </section>
  );
}

/** Why there is nothing, and what to do. */
export function Empty(p: { title: string; children: Children }) {
  return (
    <div class="empty" role="status">
      <svg viewBox="0 0 48 48" width="40" height="40" aria-hidden="true">
        <circle cx="24" cy="24" r="21" class="empty-ring" />
        <path d="M9 26h8l4-10 6 18 4-8h8" class="empty-line" />
      </svg>
      <h3>{p.title}</h3>
      {p.children}
    </div>
  );
}

export function Loading() {
  return (
    <p class="loading" role="status">
      Loading…
    </p>
  );
}

/** What went wrong, above what is still shown. */
export function Trouble(p: { error?: ApiError; again: () => void }) {
  const e = p.error;

  if (!e) return null;
  const again = e.status === 0 || e.status >= 500;
  return (
    <div class="trouble" role="alert">
      <strong>{e.status === 0 ? 'No connection' : e.status === 401 ? 'Not logged in' : 'No answer'}</strong>
      <span>
        {e.message}
        {again ? ' What is shown is the last answer; it is asked for again every 5 seconds.' : ''}
      </span>
      <button type="button" onClick={p.again}>
        Try again
      </button>
    </div>
  );
}

export function Name(p: { of: string | null | undefined; overflow?: boolean }) {
  if (p.overflow) return <em title="Label sets beyond the budget are counted together here.">overflow</em>;
  const text = p.of || NONE;

  return <bdi title={text.length > 60 ? text : undefined}>{text}</bdi>;
}

export function Method(p: { of: string | null }) {
  return <span class={'method m-' + (p.of || 'none').toLowerCase().replace(/[^a-z]/g, '')}>{p.of || NONE}</span>;
}

export function statusClass(status: number | string | null, error?: string | null): string {
  const n = Number(status);

  if (!status || !n) return error ? 'sx' : 's2';
  return n >= 500 ? 's5' : n >= 400 ? 's4' : n >= 300 ? 's3' : n >= 200 ? 's2' : 's1';
}

export function Status(p: { status: number | string | null; error?: string | null }) {
  const text = p.status ? String(p.status) : p.error || 'none';

  return <span class={'status ' + statusClass(p.status, p.error)}>{text}</span>;
}

/** A ratio with a bar as wide; tones: errors are red, the rest is blue. */
export function Ratio(p: { of: number; tone?: string }) {
  const width = p.of <= 0 ? 0 : Math.max(2, Math.min(100, p.of * 100));

  return (
    <span class={'ratio ' + (p.of > 0 ? p.tone || 'bad' : '')} title={p.of * 100 + ' %'}>
      {percent(p.of)}
      <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="4" class="bar-back" />
        <rect width={width} height="4" class="bar-fill" />
      </svg>
    </span>
  );
}

/** A line of rates, and where some failed; drawn to its own height. */
export function Spark(p: { points: (number | null)[]; errors?: (number | null)[] }) {
  const points = p.points.filter((v) => v !== null);
  const n = points.length;
  const w = 120;
  const h = 26;
  const most = Math.max(...points) || 1;
  const x = (i: number) => (n < 2 ? w / 2 : (i * w) / (n - 1));
  const y = (v: number) => h - 1 - (v / most) * (h - 3);
  const line = points.map((v, i) => (i ? 'L' : 'M') + x(i).toFixed(1) + ' ' + y(v).toFixed(1)).join('');
  const bars = (p.errors || [])
    .map((v, i) => (v ? 'M' + x(i).toFixed(1) + ' ' + h + 'V' + Math.min(h - 3, y(v)).toFixed(1) : ''))
    .join('');

  return (
    <svg class="spark" viewBox={`0 0 ${w} ${h}`} width={w} height={h} preserveAspectRatio="none" aria-hidden="true">
      {n > 1 && <path class="spark-area" d={line + `L${w} ${h}L0 ${h}Z`} />}
      <path class="spark-line" d={line} />
      <path class="spark-bad" d={bars} />
    </svg>
  );
}

export interface Column {
  key: string;
  label: string;
  /** Numbers are on the right. */
  num?: boolean;
  /** What the API sorts by; absent: this column does not sort. */
  order?: string;
  title?: string;
  class?: string;
  cell: (row: number) => Children;
}

/**
 * A table whose order is in the URL, as parameter `sort`: the API sorts. With
 * j and k one goes from row to row: the first link of a row gets the focus.
 */
export function Table(p: {
  caption: string;
  columns: Column[];
  rows: number;
  order?: string;
  sort?: string;
  rowClass?: (row: number) => string;
  small?: boolean;
}) {
  const sort = p.sort || 'sort';
  const now = params.value[sort] || p.order || '';

  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={p.caption}>
      <table class={'rows' + (p.small ? ' small' : '')}>
        <caption class="off-screen">{p.caption}</caption>
        <thead>
          <tr>
            {p.columns.map((c) => {
              const key = c.order;
              const down = key !== undefined && now === key;
              const up = key !== undefined && now === '-' + key;
              const order = down ? '-' + key : key;

              return (
                <th
                  scope="col"
                  key={c.key}
                  class={(c.num ? 'num ' : '') + (c.class || '')}
                  title={c.title}
                  aria-sort={down ? 'descending' : up ? 'ascending' : undefined}
                >
                  {key ? (
                    <Link to={here({ [sort]: order === p.order ? '' : order! })}>
                      {c.label}
                      <span class="arrow" aria-hidden="true">
                        {down ? '▾' : up ? '▴' : ''}
                      </span>
                    </Link>
                  ) : (
                    c.label
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: p.rows }, (_, i) => (
            <tr key={i} class={p.rowClass?.(i)} data-row>
              {p.columns.map((c, k) =>
                k === 0 ? (
                  <th scope="row" key={c.key} class={(c.num ? 'num ' : '') + (c.class || '')}>
                    {c.cell(i)}
                  </th>
                ) : (
                  <td key={c.key} class={(c.num ? 'num ' : '') + (c.class || '')}>
                    {c.cell(i)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The text that rows are filtered by, kept in the URL. */
export function Filter(p: { label: string; name?: string }) {
  const name = p.name || 'filter';
  const input = useRef<HTMLInputElement>(null);
  const timer = useRef(0);
  const value = params.value[name] || '';

  // Back and forward change it, too; what is being typed stays.
  useEffect(() => {
    if (input.current && document.activeElement !== input.current) input.current.value = value;
  }, [value]);
  return (
    <label class="filter">
      <span class="off-screen">{p.label}</span>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <circle cx="7" cy="7" r="4.5" />
        <path d="m10.5 10.5 4 4" />
      </svg>
      <input
        ref={input}
        type="search"
        data-filter
        placeholder={p.label}
        defaultValue={value}
        autocomplete="off"
        spellcheck={false}
        onInput={(e) => {
          const text = e.currentTarget.value;

          clearTimeout(timer.current);
          timer.current = window.setTimeout(() => go(here({ [name]: text, limit: '' }), true), 150);
        }}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

/** Some choices of which one is taken, each a link. */
export function Choice(p: { label: string; name: string; of: [string, string][]; none?: string }) {
  const now = params.value[p.name] || p.none || '';

  return (
    <div class="choice" role="group" aria-label={p.label}>
      {p.of.map(([value, text]) => (
        <a
          key={value}
          data-in
          href={here({ [p.name]: value === p.none ? '' : value, limit: '' })}
          aria-current={value === now ? 'true' : undefined}
        >
          {text}
        </a>
      ))}
    </div>
  );
}

export function Toggle(p: { name: string; label: string }) {
  const on = params.value[p.name] === '1';

  return (
    <label class="toggle">
      <input
        type="checkbox"
        checked={on}
        onChange={(e) => go(here({ [p.name]: e.currentTarget.checked ? '1' : '', limit: '' }), true)}
      />
      <span>{p.label}</span>
    </label>
  );
}

/** How many of all are shown, and a link to more. */
export function More(p: { shown: number; total: number; what: string; step?: number }) {
  if (p.shown >= p.total) return null;
  const next = Math.min(1000, p.shown + (p.step || 50));

  return (
    <p class="more">
      {count(p.shown)} of {count(p.total)} {p.what}.{' '}
      {next > p.shown ? <Link to={here({ limit: String(next) })}>Show {count(next - p.shown)} more</Link> : 'Filter for the others.'}
    </p>
  );
}

export function Crumbs(p: { of: [string, string | null][] }) {
  return (
    <nav class="crumbs" aria-label="Where this is">
      {p.of.map(([text, to], i) => (
        <span key={i}>
          {i > 0 && (
            <span class="muted" aria-hidden="true">
              /
            </span>
          )}
          {to ? (
            <Link to={to}>
              <bdi>{text}</bdi>
            </Link>
          ) : (
            <bdi aria-current="page">{text}</bdi>
          )}
        </span>
      ))}
    </nav>
  );
}

export function serviceLink(name: string, more: Record<string, string> = {}): string {
  return link('service', { service: name, ...more });
}

export function Doc(p: { to: string; children: Children }) {
  return <code class="doc">{p.children || p.to}</code>;
}

export type Props<T extends keyof JSX.IntrinsicElements> = JSX.IntrinsicElements[T];
