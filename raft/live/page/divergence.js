// Tails of logs that the leader does not have, and will have cut off.

const termAt = (log, last, index) => {
  if (index > last) return null;
  for (let at = log.length - 1; at >= 0; at -= 1) if (log[at][0] <= index) return log[at][1];
  return null;
};

// By node: from which entry on its log is another one than the leader's, up to its end, and that entry's term.
export function divergence(picture) {
  const found = new Map(), leader = picture?.nodes?.[picture.leader];
  if (!leader?.log?.length) return found;
  for (const node of Object.values(picture.nodes)) {
    if (node.id === leader.id || !node.log?.length) continue;
    const from = firstDifference(leader, node);
    if (from !== null) found.set(node.id, { from, to: node.last, term: termAt(node.log, node.last, from) });
  }
  return found;
}

// Terms change only where a run begins or a log ends, so only there can two logs part.
function firstDifference(leader, node) {
  const places = [...leader.log, ...node.log].map(([start]) => start).concat((leader.last ?? 0) + 1);
  const low = Math.max(leader.log[0][0], node.log[0][0]);
  for (const place of places.filter((one) => one >= low && one <= (node.last ?? 0)).sort((a, b) => a - b)) {
    const theirs = termAt(leader.log, leader.last ?? 0, place);
    if (theirs !== termAt(node.log, node.last, place)) {
      // A follower that is ahead of what was told of its leader, in that leader's own term, was only asked later.
      if (theirs === null && termAt(node.log, node.last, place) >= (leader.term ?? 0)) return null;
      return place;
    }
  }
  return null;
}
