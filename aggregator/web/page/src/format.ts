// SPDX-License-Identifier: Apache-2.0
// Numbers and times as people read them. A dash stands for what is not there.

import { utc } from './state';
import type { Ranged } from './types';

export const NONE = '–';

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export function count(n: number | null | undefined): string {
  return n == null ? NONE : whole.format(n);
}

/** Three significant digits, never as 1e+3. */
export function digits(n: number): string {
  const abs = Math.abs(n);

  if (abs === 0) return '0';
  if (abs >= 999.5) return whole.format(n);
  if (abs >= 99.95) return n.toFixed(0);
  if (abs >= 9.995) return n.toFixed(1);
  if (abs >= 0.00995) return n.toFixed(2);
  return trim(n.toPrecision(1));
}

/** Without zeros at the end of a fraction, for axes: 1.50 s → 1.5 s. */
export function tidy(text: string): string {
  return text.replace(/(\.\d*?)0+(?!\d)/, '$1').replace(/\.(?!\d)/, '');
}

function trim(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** 12,345,678 → 12.3M, for axes and small places. */
export function short(n: number): string {
  const abs = Math.abs(n);

  if (abs >= 1e9) return trim((n / 1e9).toFixed(1)) + 'G';
  if (abs >= 1e6) return trim((n / 1e6).toFixed(1)) + 'M';
  if (abs >= 1e4) return trim((n / 1e3).toFixed(1)) + 'k';
  return digits(n);
}

export function rate(n: number | null | undefined): string {
  return n == null ? NONE : short(n) + '/s';
}

export function percent(ratio: number | null | undefined): string {
  if (ratio == null) return NONE;
  const p = ratio * 100;

  if (p === 0) return '0%';
  if (p < 0.01) return '<0.01%';
  if (p > 99.99 && p < 100) return '>99.99%';
  return digits(p) + '%';
}

export function seconds(s: number | null | undefined): string {
  if (s == null) return NONE;
  const abs = Math.abs(s);

  if (abs === 0) return '0';
  if (abs < 0.0009995) return digits(s * 1e6) + ' µs';
  if (abs < 0.9995) return digits(s * 1e3) + ' ms';
  if (abs < 119.5) return digits(s) + ' s';
  if (abs < 7200) return digits(s / 60) + ' min';
  if (abs < 172800) return digits(s / 3600) + ' h';
  return digits(s / 86400) + ' d';
}

export function bytes(n: number | null | undefined): string {
  if (n == null) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;

  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return digits(n) + ' ' + units[i];
}

/** Exact seconds, for titles: what a number was before it was rounded. */
export function exact(s: number | null | undefined): string {
  return s == null ? '' : s + ' s';
}

/** Change against the period before: +12%, new, or nothing if it is the same. */
export function change(now: number | null, before: number | null): string {
  if (now == null || before == null) return '';
  if (before === 0) return now === 0 ? '' : 'new';
  const p = (now / before - 1) * 100;

  if (Math.abs(p) < 0.5) return '±0%';
  if (p > 999) return '>+999%';
  return (p > 0 ? '+' : '−') + whole.format(Math.abs(Math.round(p))) + '%';
}

function zone(): 'UTC' | undefined {
  return utc.value ? 'UTC' : undefined;
}

export function clock(t: number, fraction = false): string {
  return new Date(t * 1000).toLocaleTimeString('en-GB', {
    timeZone: zone(),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hour12: false,
    ...(fraction ? { fractionalSecondDigits: 3 } : {}),
  } as Intl.DateTimeFormatOptions);
}

export function day(t: number): string {
  return new Date(t * 1000).toLocaleDateString('en-CA', { timeZone: zone() });
}

export function time(t: number | null | undefined, fraction = false): string {
  return t == null ? NONE : day(t) + ' ' + clock(t, fraction);
}

/** An age in words: 3 s ago. */
export function ago(then: number, now: number): string {
  const s = Math.max(0, now - then);

  return s < 1 ? 'now' : seconds(Math.round(s)) + ' ago';
}

/** One or more: 1 service, 2 services. */
export function many(n: number, one: string, more = one + 's'): string {
  return count(n) + ' ' + (n === 1 ? one : more);
}

const SETTLE_S = 5;

/** Counts per point as rates. A point that is not over counts for the time that it has, once it has enough. */
export function rates(counts: number[], d: Ranged): (number | null)[] {
  return counts.map((n, i) => {
    const has = Math.min(d.step, d.now - d.from - i * d.step);

    return has < SETTLE_S && counts.length > 1 ? null : n / Math.max(has, 1);
  });
}
