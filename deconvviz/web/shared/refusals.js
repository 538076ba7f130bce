// Questions without an answer.

/** Nobody needs the answer any more. */
export class Superseded extends Error {}

/** A sentence says why there is none. */
export class Refused extends Error {}
