// SPDX-License-Identifier: Apache-2.0
// Asking the aggregator: one request per view and refresh, none while the tab
// is hidden. An answer stays on the screen until the next one is there.

import { useEffect, useRef, useState } from 'preact/hooks';
import { useSignalEffect } from '@preact/signals';
import { refreshS, visible } from './state';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  let answer: Response;

  try {
    answer = await fetch('api/v1/' + path, { cache: 'no-cache', signal });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new ApiError(0, 'The aggregator does not answer.');
  }
  if (answer.ok) return answer.json();
  let why = answer.status + ' ' + answer.statusText;
  try {
    const body = await answer.json();

    why = body.error + (body.where ? ' (' + body.where + ')' : '');
  } catch {
    // Not from the API: the status has to do.
  }
  throw new ApiError(answer.status, why);
}

export interface Answer<T> {
  data?: T;
  /** For another question than this one: shown until its own is there. */
  stale: boolean;
  error?: ApiError;
  again: () => void;
}

const RETRY_MS = 5000;

/** Asks path, and again as often as the page refreshes. null: asks nothing. */
export function useAsk<T>(path: string | null, once = false): Answer<T> {
  const [state, set] = useState<{ path: string | null; data?: T; error?: ApiError }>({ path: null });
  const [turn, setTurn] = useState(0);
  const timer = useRef(0);
  const asked = useRef(0);

  useEffect(() => {
    if (path === null) return undefined;
    const abort = new AbortController();

    clearTimeout(timer.current);
    asked.current = Date.now();
    ask<T>(path, abort.signal).then(
      (data) => {
        set({ path, data });
        schedule(refreshS.peek() * 1000);
      },
      (error) => {
        if (abort.signal.aborted) return;
        set((old) => ({ path: old.path, data: old.data, error }));
        // What is wrong with the question stays wrong.
        if (!(error.status >= 400 && error.status < 500)) schedule(RETRY_MS);
      },
    );
    function schedule(ms: number) {
      if (ms > 0 && !once)
        timer.current = window.setTimeout(() => {
          timer.current = 0;
          if (visible.peek()) setTurn((n) => n + 1);
        }, ms);
    }
    return () => {
      abort.abort();
      clearTimeout(timer.current);
    };
  }, [path, turn]);

  // Back in sight, or the interval was changed: ask if it is time.
  const pathNow = useRef(path);
  pathNow.current = path;
  const first = useRef(true);
  useSignalEffect(() => {
    const every = refreshS.value * 1000;

    if (!visible.value) return;
    if (first.current) {
      first.current = false;
      return;
    }
    if (!(every > 0) || once || pathNow.current === null) return;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(
      () => {
        if (visible.peek()) setTurn((n) => n + 1);
      },
      Math.max(0, asked.current + every - Date.now()),
    );
  });

  return {
    data: state.data,
    error: state.error,
    stale: state.path !== path,
    again: () => setTurn((n) => n + 1),
  };
}

export function query(parts: Record<string, string | number | undefined | null>): string {
  const q = new URLSearchParams();

  for (const key of Object.keys(parts)) {
    const value = parts[key];

    if (value !== undefined && value !== null && value !== '') q.set(key, String(value));
  }
  return q.toString();
}
