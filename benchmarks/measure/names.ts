/** What we ourselves are called among the contestants. */
export const OURS = "ours";

/** What the points of a curve are measured in turn with. */
export const FIRST = "first of the curve";

/** What memory-bound cases are measured in turn with: a copy that moves as many bytes. */
export const COPY = "copy";
