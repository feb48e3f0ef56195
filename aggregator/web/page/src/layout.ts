// SPDX-License-Identifier: Apache-2.0
// The worker that places the nodes of the map, layer by layer. The same graph
// has the same places: dagre has no dice, and names come in one order.

import { Graph, layout } from '@dagrejs/dagre';

export interface Wanted {
  nodes: { id: string; width: number; height: number }[];
  edges: { from: string; to: string }[];
}

export interface Placed {
  width: number;
  height: number;
  nodes: { x: number; y: number }[];
  edges: { x: number; y: number }[][];
}

export function place(w: Wanted): Placed {
  const g = new Graph({ multigraph: true });

  g.setGraph({ rankdir: 'LR', nodesep: 18, ranksep: 90, edgesep: 10, marginx: 12, marginy: 12 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const n of w.nodes) g.setNode(n.id, { width: n.width, height: n.height });
  w.edges.forEach((e, i) => g.setEdge(e.from, e.to, {}, String(i)));
  layout(g);
  const size = g.graph() as { width?: number; height?: number };
  return {
    width: Math.ceil(size.width || 0),
    height: Math.ceil(size.height || 0),
    nodes: w.nodes.map((n) => {
      const at = g.node(n.id) as { x: number; y: number };

      return { x: Math.round(at.x), y: Math.round(at.y) };
    }),
    edges: w.edges.map((e, i) =>
      ((g.edge(e.from, e.to, String(i)) as { points?: { x: number; y: number }[] })?.points || []).map((q) => ({
        x: Math.round(q.x),
        y: Math.round(q.y),
      })),
    ),
  };
}

self.onmessage = (e: MessageEvent<{ id: number; wanted: Wanted }>) => {
  (self as unknown as Worker).postMessage({ id: e.data.id, placed: place(e.data.wanted) });
};
