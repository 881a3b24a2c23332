/** What we ourselves are called among the contestants. */
export const OURS = "ours";
