// SPDX-License-Identifier: Apache-2.0
// Requests as they are committed. It goes on where it was, so a pause or a
// restart of the aggregator leaves nothing out; what is not shown is counted.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ask, ApiError, query } from './api';
import { count, many } from './format';
import { here, params, visible } from './state';
import { requestColumns } from './requests';
import type { RequestColumns, Tail } from './types';
import { Empty, Filter, Link, Panel, Table, Toggle, Trouble } from './ui';
import { FilterChips } from './requests';

const KEEP = 500;
const RETRY_MS = 2000;

interface State {
  rows: RequestColumns | null;
  shown: number;
  skipped: number;
  lost: number;
  error?: ApiError;
}

const NOTHING: State = { rows: null, shown: 0, skipped: 0, lost: 0 };

/** Newest first, the oldest go. */
function add(old: RequestColumns | null, more: RequestColumns): RequestColumns {
  const out: Record<string, unknown[]> = {};

  for (const key of Object.keys(more) as (keyof RequestColumns)[])
    out[key] = ([...more[key]].reverse() as unknown[]).concat(old ? old[key] : []).slice(0, KEEP);
  return out as unknown as RequestColumns;
}

export function TailView() {
  const p = params.value;
  const [paused, pause] = useState(false);
  const [state, set] = useState<State>(NOTHING);
  const at = useRef<number | null>(null);
  const looks = visible.value;
  const filter = query({
    service: p.service,
    node: p.node,
    instance: p.instance,
    role: p.role,
    method: p.method,
    route: p.route,
    status: p.status,
    errors: p.errors,
    min: p.min,
    max: p.max,
  });

  useEffect(() => {
    at.current = null;
    set(NOTHING);
  }, [filter]);

  useEffect(() => {
    if (paused || !looks) return undefined;
    const abort = new AbortController();
    let timer = 0;

    async function turn() {
      try {
        const d = await ask<Tail>(
          'tail?' + query({ after: at.current, wait: 20, limit: 200 }) + (filter ? '&' + filter : ''),
          abort.signal,
        );

        at.current = d.next;
        set((s) => ({
          rows: d.shown ? add(s.rows, d.requests) : s.rows,
          shown: s.shown + d.shown,
          skipped: s.skipped + d.skipped,
          lost: s.lost + d.lost,
        }));
        // A breath, so that a flood is drawn a few times a second and not more.
        timer = window.setTimeout(turn, d.shown ? 250 : 0);
      } catch (e) {
        if (abort.signal.aborted) return;
        const error = e as ApiError;

        set((s) => ({ ...s, error }));
        if (error.status !== 403 && error.status !== 400) timer = window.setTimeout(turn, RETRY_MS);
      }
    }
    turn();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [filter, paused, looks]);

  if (state.error?.status === 403)
    return (
      <div class="view">
        <Panel title="Tail">
          <Empty title="The tail is switched off here">
            <p>
              The aggregator’s configuration says <code>web: &#123;tail: off&#125;</code>. Counts, durations and stored requests are in the
              other views.
            </p>
          </Empty>
        </Panel>
      </div>
    );
  return (
    <>
      <FilterChips />
      <Trouble error={state.error} again={() => pause(false)} />
      <div class="view">
        <Panel
          title="Tail"
          note={
            <span aria-live="off">
              <b data-shown>{count(state.shown)}</b> shown
              {state.skipped > 0 && (
                <>
                  , <b data-skipped>{count(state.skipped)}</b> more matched
                </>
              )}
              {state.lost > 0 && ', ' + many(state.lost, 'batch', 'batches') + ' gone before they were read'}
            </span>
          }
          tools={
            <>
              <Toggle name="errors" label="Only errors" />
              <Filter label="Service" name="service" />
              <button type="button" class={'button' + (paused ? ' primary' : '')} aria-pressed={paused} onClick={() => pause(!paused)}>
                {paused ? 'Go on' : 'Pause'}
              </button>
            </>
          }
        >
          {state.rows === null ? (
            <Empty title={paused ? 'Paused' : 'Waiting for requests'}>
              <p>
                {paused
                  ? 'Nothing was shown yet.'
                  : 'Each request that ends from now on shows up here within 2 seconds, if it matches. '}
                {!paused && (filter || p.errors) ? <Link to={here({ service: '', errors: '', route: '', method: '', status: '' })}>Drop the filters</Link> : ''}
              </p>
            </Empty>
          ) : (
            <Table
              caption="Requests as they end, newest first"
              small
              rows={state.rows.id.length}
              rowClass={(i) => (state.rows!.error[i] ? 'has-errors' : '')}
              columns={requestColumns(state.rows, true)}
            />
          )}
        </Panel>
      </div>
    </>
  );
}
