// SPDX-License-Identifier: Apache-2.0
// The frame around the views: where one is, the time range, the keys.

import { render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { effect, signal } from '@preact/signals';
import { AgentsView } from './agents';
import { CardinalityView } from './cardinality';
import { seconds, time } from './format';
import { GapsView } from './gaps';
import { MapView } from './map';
import { Overview } from './overview';
import { RequestsView, RequestView } from './requests';
import { RouteView, ServiceView } from './service';
import { dark, fixed, go, here, link, params, RANGES, refreshS, setTheme, setUtc, theme, utc, view } from './state';
import { TailView } from './tail';
import { Link } from './ui';
import './style.css';

const root = document.getElementById('app')!;
const tailOff = root.dataset.tail === 'off';
const help = signal(false);

const TABS: [string, string, string][] = [
  ['overview', 'Overview', 'o'],
  ['map', 'Map', 'm'],
  ['agents', 'Agents', 'a'],
  ['tail', 'Tail', 't'],
  ['cardinality', 'Cardinality', 'c'],
  ['gaps', 'Gaps & setup', 'p'],
].filter(([name]) => name !== 'tail' || !tailOff) as [string, string, string][];

const SHOWS: Record<string, () => preact.VNode> = {
  overview: () => <Overview />,
  service: () => <ServiceView />,
  route: () => <RouteView />,
  requests: () => <RequestsView />,
  request: () => <RequestView />,
  map: () => <MapView />,
  agents: () => <AgentsView />,
  tail: () => <TailView />,
  cardinality: () => <CardinalityView />,
  gaps: () => <GapsView />,
};

/** Views that have no time range. */
const TIMELESS = new Set(['agents', 'tail', 'cardinality', 'gaps', 'request']);

function tabOf(v: string): string {
  return ['service', 'route', 'request', 'requests'].includes(v) ? 'overview' : v;
}

function Shell() {
  const v = SHOWS[view.value] ? view.value : 'overview';
  const main = useRef<HTMLElement>(null);
  const before = useRef('');

  // A new view begins at its top, also for those who cannot see that it is new.
  useEffect(() => {
    const p = params.value;
    const place = [v, p.service, p.route, p.id, p.focus].join('\n');
    const tab = TABS.find(([name]) => name === v);

    document.title = [p.route || p.id || p.focus || '', p.service || '', tab ? tab[1] : '', 'redtap'].filter(Boolean).join(' · ');
    if (before.current && before.current !== place) main.current?.focus({ preventScroll: true });
    before.current = place;
  });
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <Link to="./" class="brand" title="redtap">
          <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
            <rect width="32" height="32" rx="8" class="brand-back" />
            <path d="M5 17h5l3-8 5 15 3-7h6" class="brand-line" />
          </svg>
          <span>redtap</span>
        </Link>
        <nav class="tabs" aria-label="Views">
          {TABS.map(([name, label]) => (
            <Link key={name} to={link(name)} current={tabOf(v) === name}>
              {label}
            </Link>
          ))}
        </nav>
        <div class="controls">
          {!TIMELESS.has(v) && <Range />}
          {v !== 'request' && v !== 'tail' && <Refresh />}
          <button type="button" class="icon" title="Times in UTC or local time" aria-pressed={utc.value} onClick={() => setUtc(!utc.value)}>
            {utc.value ? 'UTC' : 'Local'}
          </button>
          <button
            type="button"
            class="icon"
            title="Light or dark"
            aria-label={dark.value ? 'Switch to light' : 'Switch to dark'}
            onClick={() => setTheme(dark.value ? 'light' : 'dark')}
          >
            <svg viewBox="0 0 16 16" width="15" height="15" aria-hidden="true">
              {dark.value ? (
                <>
                  <circle cx="8" cy="8" r="3" />
                  <path d="M8 1v2M8 13v2M1 8h2M13 8h2M3 3l1.4 1.4M11.6 11.6 13 13M3 13l1.4-1.4M11.6 4.4 13 3" />
                </>
              ) : (
                <path d="M13.5 9.8A6 6 0 0 1 6.2 2.5a6 6 0 1 0 7.3 7.3Z" />
              )}
            </svg>
          </button>
          <button type="button" class="icon" title="Keys" aria-label="Keys" onClick={() => (help.value = true)}>
            ?
          </button>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} aria-label={TABS.find(([name]) => name === tabOf(v))?.[1] || 'redtap'}>
        <h1 class="off-screen">{document.title}</h1>
        {SHOWS[v]()}
      </main>
      <Help />
    </>
  );
}

function Range() {
  const p = params.value;

  if (fixed.value)
    return (
      <span class="range">
        <span class="range-fixed">
          {time(Number(p.from))} – {p.to ? time(Number(p.to)).slice(11) : 'now'}
        </span>
        <Link to={here({ from: '', to: '', at: '', min: '', max: '' })} class="icon" title="Back to now">
          Now
        </Link>
      </span>
    );
  return (
    <label class="range">
      <span class="off-screen">Time range</span>
      <select value={p.range || '900'} onChange={(e) => go(here({ range: e.currentTarget.value === '900' ? '' : e.currentTarget.value, at: '' }))}>
        {RANGES.map(([s, text]) => (
          <option key={s} value={s}>
            {text}
          </option>
        ))}
        {!RANGES.some(([s]) => s === (p.range || '900')) && <option value={p.range}>Last {seconds(Number(p.range))}</option>}
      </select>
    </label>
  );
}

function Refresh() {
  if (fixed.value) return null;
  return (
    <label class="refresh">
      <span class="off-screen">Refresh</span>
      <select value={String(refreshS.value)} onChange={(e) => go(here({ refresh: e.currentTarget.value === '10' ? '' : e.currentTarget.value }), true)}>
        <option value="0">Paused</option>
        <option value="2">every 2 s</option>
        <option value="10">every 10 s</option>
        <option value="60">every minute</option>
      </select>
    </label>
  );
}

const KEYS: [string, string][] = [
  ['/', 'Filter the list'],
  ['j, k', 'Next, previous row'],
  ['Enter', 'Open the row'],
  ['s', 'Sort: to the head of the table'],
  ...TABS.map(([, label, key]) => ['g ' + key, label] as [string, string]),
  ['h', 'Back'],
  ['?', 'These keys'],
  ['Esc', 'Close, leave the field'],
];

function Help() {
  const dialog = useRef<HTMLDialogElement>(null);
  const open = help.value;

  useEffect(() => {
    const d = dialog.current!;

    if (open && !d.open) d.showModal();
    if (!open && d.open) d.close();
  }, [open]);
  return (
    <dialog ref={dialog} aria-labelledby="help-title" onClose={() => (help.value = false)} onClick={(e) => e.target === dialog.current && (help.value = false)}>
      <div class="dialog">
        <header class="panel-head">
          <h2 id="help-title">Keys</h2>
          <div class="tools">
            <button type="button" class="button" onClick={() => (help.value = false)}>
              Close
            </button>
          </div>
        </header>
        <dl class="keys">
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                {key.split(/,? /).map((k) => (
                  <kbd key={k}>{k}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <p class="muted">
          Drag over a chart to see that time. The theme is {theme.value === 'auto' ? 'the system’s' : theme.value}
          {theme.value !== 'auto' && (
            <>
              {': '}
              <button type="button" class="quiet" onClick={() => setTheme('auto')}>
                Use the system’s
              </button>
            </>
          )}
        </p>
      </div>
    </dialog>
  );
}

// --- keys

let prefix = 0;

function typing(e: KeyboardEvent): boolean {
  return (e.target as Element).matches?.('input, select, textarea, [contenteditable]') ?? false;
}

/** The link that a row stands for: that of its head. */
function rowLinks(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>('tr[data-row]')]
    .map((row) => row.querySelector<HTMLElement>('a') || row)
    .filter((el) => el.offsetParent !== null);
}

function step(by: number): void {
  const all = rowLinks();
  const now = all.findIndex((el) => el.closest('tr') === document.activeElement?.closest('tr[data-row]'));
  const next = all[now < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, now + by))];

  if (!next) return;
  if (next.tagName === 'TR') next.tabIndex = -1;
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
}

addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (typing(e)) {
    if (e.key === 'Escape') (e.target as HTMLElement).blur();
    return;
  }
  if (help.value) return;
  if (prefix && Date.now() - prefix < 1500) {
    const tab = TABS.find(([, , key]) => key === e.key);

    prefix = 0;
    if (tab) {
      e.preventDefault();
      go(link(tab[0]));
      return;
    }
  }
  const filter = document.querySelector<HTMLInputElement>('[data-filter]');
  switch (e.key) {
    case 'g':
      prefix = Date.now();
      return;
    case 'j':
      step(1);
      return;
    case 'k':
      step(-1);
      return;
    case 's':
      document.querySelector<HTMLElement>('table.rows thead a')?.focus();
      return;
    case 'h':
      history.back();
      return;
    case '/':
      e.preventDefault();
      if (filter) filter.select();
      else go(link('overview'));
      filter?.focus();
      return;
    case '?':
      help.value = true;
      return;
    default:
  }
});

effect(() => {
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light';
});

root.textContent = '';
render(<Shell />, root);
