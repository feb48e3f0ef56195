// SPDX-License-Identifier: Apache-2.0
// The URL is the state: the view and all that it shows are in the query, so a
// link shows the same to somebody else. Only taste (theme, time zone) is kept
// in the browser.

import { computed, signal } from '@preact/signals';

export type Params = Record<string, string>;

export const VIEWS = ['overview', 'map', 'agents', 'tail', 'cardinality', 'gaps'] as const;

function read(): Params {
  const out: Params = {};

  new URLSearchParams(location.search).forEach((value, key) => {
    out[key] = value;
  });
  return out;
}

export const params = signal<Params>(read());
export const view = computed(() => params.value.v || 'overview');

addEventListener('popstate', () => {
  params.value = read();
});

/** Of these, what every view keeps when one goes from one to another. */
const KEPT = ['range', 'from', 'to', 'refresh'];

function text(p: Params): string {
  const q = new URLSearchParams();

  for (const key of Object.keys(p)) if (p[key] !== '' || ROUTE_PARTS.has(key)) q.set(key, p[key]);
  return './' + (q.toString() ? '?' + q.toString() : '');
}

/** Parts of a route that may be empty texts: absent there, not left out. */
const ROUTE_PARTS = new Set(['route', 'method']);

/** The address of a view, with the time range that is shown now. */
export function link(v: string, more: Params = {}): string {
  const p: Params = v === 'overview' ? {} : { v };

  for (const key of KEPT) if (params.value[key]) p[key] = params.value[key];
  return text({ ...p, ...more });
}

/** The address of this view with other arguments; an empty text removes one. */
export function here(more: Params): string {
  return text({ ...params.value, ...more });
}

export function go(url: string, replace = false): void {
  if (replace) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  params.value = read();
  if (!replace) scrollTo(0, 0);
}

/** Clicks on our own links stay in this page. */
addEventListener('click', (e) => {
  const a = (e.target as Element).closest?.('a[data-in]');

  if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  e.preventDefault();
  go(a.getAttribute('href') || './');
});

// --- the time range

export const RANGES: [string, string][] = [
  ['300', 'Last 5 minutes'],
  ['900', 'Last 15 minutes'],
  ['3600', 'Last hour'],
  ['21600', 'Last 6 hours'],
  ['86400', 'Last 24 hours'],
  ['604800', 'Last 7 days'],
];

/** Fixed times show what was then, and are not asked for again. */
export const fixed = computed(() => !!params.value.from);

export const rangeQuery = computed(() => {
  const p = params.value;

  if (p.from) return 'from=' + encodeURIComponent(p.from) + (p.to ? '&to=' + encodeURIComponent(p.to) : '');
  return 'range=' + encodeURIComponent(p.range || '900');
});

export const refreshS = computed(() => {
  const s = Number(params.value.refresh || '10');

  return fixed.value || !Number.isFinite(s) ? 0 : s;
});

// --- taste

function kept(name: string): string | null {
  try {
    return localStorage.getItem('redtap.' + name);
  } catch {
    return null;
  }
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem('redtap.' + name, value);
  } catch {
    // Not kept, then.
  }
}

export const theme = signal(kept('theme') || 'auto');
export const utc = signal(kept('utc') === '1');

const prefersDark = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener('change', (e) => {
  systemDark.value = e.matches;
});

export const dark = computed(() => (theme.value === 'auto' ? systemDark.value : theme.value === 'dark'));

export function setTheme(name: string): void {
  theme.value = name;
  keep('theme', name);
}

export function setUtc(on: boolean): void {
  utc.value = on;
  keep('utc', on ? '1' : '0');
}

// --- whether somebody looks

export const visible = signal(!document.hidden);
document.addEventListener('visibilitychange', () => {
  visible.value = !document.hidden;
});

export const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
