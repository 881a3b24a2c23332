/** One number of a benchmark, beside what it has to reach. */
export interface Row {
  metric: string;
  value: number;
  unit: string;
  target: string;
  met: boolean;
  note: string;
}

export interface Suite {
  name: string;
  cases: readonly { name: string; run(): Row[] }[];
}
